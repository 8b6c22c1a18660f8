// Text -> Expression: recursive descent, types checked on the way.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>

#include "coordinator/expand/expression_names.h"
#include "coordinator/expand/fields.h"
#include "coordinator/expand/text.h"

namespace bitsweep {
namespace {

using expand_text::shown;

struct Operator {
    std::string_view sign;
    ExprOp op;
};
// Longer signs first.
constexpr std::array<Operator, 6> comparisons = {{{"==", ExprOp::equal},
                                                  {"!=", ExprOp::not_equal},
                                                  {"<=", ExprOp::less_equal},
                                                  {">=", ExprOp::greater_equal},
                                                  {"<", ExprOp::less},
                                                  {">", ExprOp::greater}}};
constexpr std::array<Operator, 2> sums = {{{"+", ExprOp::add}, {"-", ExprOp::subtract}}};
constexpr std::array<Operator, 4> products = {{{"//", ExprOp::floor_divide},
                                               {"*", ExprOp::multiply},
                                               {"/", ExprOp::divide},
                                               {"%", ExprOp::remainder}}};

struct Function {
    std::string_view name;
    ExprOp op;
    std::size_t least;
    std::size_t most;
};
constexpr std::array<Function, 10> functions = {{{"min", ExprOp::minimum, 1, 16},
                                                 {"max", ExprOp::maximum, 1, 16},
                                                 {"log2", ExprOp::log2, 1, 1},
                                                 {"round", ExprOp::round, 1, 1},
                                                 {"floor", ExprOp::floor, 1, 1},
                                                 {"ceil", ExprOp::ceil, 1, 1},
                                                 {"abs", ExprOp::abs, 1, 1},
                                                 {"sqrt", ExprOp::sqrt, 1, 1},
                                                 {"matches", ExprOp::matches, 2, 2},
                                                 {"if", ExprOp::choose, 3, 3}}};

bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

std::string plural(ExprType type) {
    return type == ExprType::number ? "numbers" : type == ExprType::text ? "texts" : "conditions";
}

class Parser {
 public:
    Parser(Expression& out, std::span<const DerivedName> derived, const Files& file)
        : out_(out), text_(out.text), derived_(derived), file_(file) {}

    Status parse() {
        out_.root = TRY(disjunction());
        skip_blanks();
        if (at_ == text_.size()) {
            return {};
        }
        if (text_[at_] == '=') {
            return error(at_, "`=` sets nothing here: compare with `==`");
        }
        return error(at_,
                     "`" + word_here() + "` does not belong here: the expression ended before it");
    }

 private:
    // Keeps `depth_` right on every way out.
    class Nested {
     public:
        explicit Nested(int& depth) : depth_(++depth) {}
        ~Nested() { --depth_; }
        Nested(const Nested&) = delete;
        Nested& operator=(const Nested&) = delete;

     private:
        int& depth_;
    };

    Error error(std::size_t offset, const std::string& message) const {
        const bool exact = out_.source.verbatim || out_.source.at.line == 0 || offset == 0;
        return expand_text::error_at(
            file_, yaml::place_in(out_.source, offset),
            exact ? message
                  : message + " (character " + std::to_string(offset + 1) + " of the expression)");
    }

    // ---- characters

    void skip_blanks() {
        while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) {
            ++at_;
        }
    }
    bool take(std::string_view sign) {
        skip_blanks();
        if (!text_.substr(at_).starts_with(sign)) {
            return false;
        }
        at_ += sign.size();
        return true;
    }
    std::string_view peek_word() {
        skip_blanks();
        std::size_t end = at_;
        while (end < text_.size() &&
               (is_letter(text_[end]) || (end > at_ && is_digit(text_[end])))) {
            ++end;
        }
        return text_.substr(at_, end - at_);
    }
    bool take_word(std::string_view word) {
        if (peek_word() != word) {
            return false;
        }
        at_ += word.size();
        return true;
    }
    std::string word_here() {
        const std::string_view word = peek_word();
        return shown(word.empty() ? text_.substr(at_, 1) : word);
    }

    // ---- nodes

    Result<std::size_t> add(ExprNode node) {
        if (out_.nodes.size() >= max_expression_nodes) {
            return error(node.offset, "this expression has more than " +
                                          std::to_string(max_expression_nodes) +
                                          " parts: split it with `derive`");
        }
        out_.nodes.push_back(std::move(node));
        return out_.nodes.size() - 1;
    }
    ExprType type_of(std::size_t node) const { return out_.nodes[node].type; }

    Result<std::size_t> combine(ExprOp op, ExprType type, std::size_t offset,
                                std::vector<std::size_t> inputs) {
        ExprNode node;
        node.op = op;
        node.type = type;
        node.offset = offset;
        node.inputs = std::move(inputs);
        return add(std::move(node));
    }

    // `what` is "`+` computes with".
    Status want(std::size_t node, ExprType type, const std::string& what) {
        if (type_of(node) == type) {
            return {};
        }
        return error(out_.nodes[node].offset,
                     what + " " + plural(type) + ", not " + std::string(to_string(type_of(node))));
    }

    // ---- the grammar, loosest first

    Result<std::size_t> disjunction() {
        const Nested nested(depth_);
        if (depth_ > max_expression_depth) {
            return error(at_, "nested deeper than " + std::to_string(max_expression_depth) +
                                  " levels: split it with `derive`");
        }
        std::size_t left = TRY(conjunction());
        while (true) {
            skip_blanks();
            const std::size_t offset = at_;
            if (!take_word("or") && !take("||")) {
                return left;
            }
            const std::size_t right = TRY(conjunction());
            TRY(want(left, ExprType::truth, "`or` joins"));
            TRY(want(right, ExprType::truth, "`or` joins"));
            left = TRY(combine(ExprOp::logical_or, ExprType::truth, offset, {left, right}));
        }
    }

    Result<std::size_t> conjunction() {
        std::size_t left = TRY(negation());
        while (true) {
            skip_blanks();
            const std::size_t offset = at_;
            if (!take_word("and") && !take("&&")) {
                return left;
            }
            const std::size_t right = TRY(negation());
            TRY(want(left, ExprType::truth, "`and` joins"));
            TRY(want(right, ExprType::truth, "`and` joins"));
            left = TRY(combine(ExprOp::logical_and, ExprType::truth, offset, {left, right}));
        }
    }

    Result<std::size_t> negation() {
        skip_blanks();
        const std::size_t offset = at_;
        const bool sign =
            text_.substr(at_).starts_with('!') && !text_.substr(at_).starts_with("!=");
        if (!take_word("not") && !(sign && take("!"))) {
            return comparison();
        }
        const Nested nested(depth_);
        if (depth_ > max_expression_depth) {
            return error(offset, "too many `not`");
        }
        const std::size_t inner = TRY(negation());
        TRY(want(inner, ExprType::truth, "`not` turns"));
        return combine(ExprOp::logical_not, ExprType::truth, offset, {inner});
    }

    const Operator* take_comparison() {
        skip_blanks();
        for (const Operator& one : comparisons) {
            if (take(one.sign)) {
                return &one;
            }
        }
        return nullptr;
    }

    Result<std::size_t> comparison() {
        const std::size_t left = TRY(sum());
        skip_blanks();
        const std::size_t offset = at_;
        if (take_word("in")) {
            return membership(left, offset, false);
        }
        if (peek_word() == "not") {
            take_word("not");
            if (!take_word("in")) {
                return error(offset, "`not` after a value begins `not in [...]`");
            }
            return membership(left, offset, true);
        }
        const Operator* op = take_comparison();
        if (op == nullptr) {
            return left;
        }
        const std::size_t right = TRY(sum());
        const bool ordered = op->op != ExprOp::equal && op->op != ExprOp::not_equal;
        if (ordered) {
            const std::string what = "`" + std::string(op->sign) + "` compares";
            TRY(want(left, ExprType::number, what));
            TRY(want(right, ExprType::number, what));
        } else if (type_of(left) != type_of(right)) {
            return error(offset, "`" + std::string(op->sign) + "` compares " +
                                     std::string(to_string(type_of(left))) + " with " +
                                     std::string(to_string(type_of(right))) +
                                     ": they are never equal");
        }
        const std::size_t second = at_;
        if (const Operator* next = take_comparison()) {
            return error(second, "comparisons do not chain: write `a " + std::string(op->sign) +
                                     " b and b " + std::string(next->sign) + " c`");
        }
        return combine(op->op, ExprType::truth, offset, {left, right});
    }

    // value in [a, b, ...]
    Result<std::size_t> membership(std::size_t left, std::size_t offset, bool negated) {
        if (!take("[")) {
            return error(at_, "`in` needs a list such as `[4, 8]`");
        }
        std::vector<std::size_t> inputs = {left};
        do {
            const std::size_t item = TRY(sum());
            TRY(want(item, type_of(left), "a list beside such a value holds"));
            inputs.push_back(item);
        } while (take(","));
        if (!take("]")) {
            return error(at_, "`]` is missing at the end of the list");
        }
        const std::size_t found =
            TRY(combine(ExprOp::one_of, ExprType::truth, offset, std::move(inputs)));
        return negated ? combine(ExprOp::logical_not, ExprType::truth, offset, {found})
                       : Result<std::size_t>(found);
    }

    template <std::size_t Count>
    const Operator* take_any(const std::array<Operator, Count>& operators) {
        for (const Operator& one : operators) {
            if (take(one.sign)) {
                return &one;
            }
        }
        return nullptr;
    }

    Result<std::size_t> sum() {
        std::size_t left = TRY(product());
        while (true) {
            skip_blanks();
            const std::size_t offset = at_;
            const Operator* op = take_any(sums);
            if (op == nullptr) {
                return left;
            }
            left = TRY(arithmetic(*op, left, TRY(product()), offset));
        }
    }

    Result<std::size_t> product() {
        std::size_t left = TRY(factor());
        while (true) {
            skip_blanks();
            const std::size_t offset = at_;
            if (text_.substr(at_).starts_with("**") || text_.substr(at_).starts_with('^')) {
                return error(at_, "there are no powers: multiply, or use log2 on the other side");
            }
            const Operator* op = take_any(products);
            if (op == nullptr) {
                return left;
            }
            left = TRY(arithmetic(*op, left, TRY(factor()), offset));
        }
    }

    Result<std::size_t> arithmetic(const Operator& op, std::size_t left, std::size_t right,
                                   std::size_t offset) {
        const std::string what = "`" + std::string(op.sign) + "` computes with";
        TRY(want(left, ExprType::number, what));
        TRY(want(right, ExprType::number, what));
        return combine(op.op, ExprType::number, offset, {left, right});
    }

    Result<std::size_t> factor() {
        skip_blanks();
        const std::size_t offset = at_;
        if (!take("-")) {
            return primary();
        }
        const Nested nested(depth_);
        if (depth_ > max_expression_depth) {
            return error(offset, "too many signs");
        }
        const std::size_t inner = TRY(factor());
        TRY(want(inner, ExprType::number, "`-` computes with"));
        return combine(ExprOp::negate, ExprType::number, offset, {inner});
    }

    Result<std::size_t> primary() {
        skip_blanks();
        if (at_ == text_.size()) {
            return error(at_, "the expression ends where a value was expected");
        }
        const char c = text_[at_];
        if (c == '(') {
            ++at_;
            const std::size_t inner = TRY(disjunction());
            if (!take(")")) {
                return error(at_, "`)` is missing");
            }
            return inner;
        }
        if (is_digit(c) || c == '.') {
            return number();
        }
        if (c == '"' || c == '\'') {
            return quoted(c);
        }
        if (is_letter(c)) {
            return word();
        }
        return error(at_, "`" + word_here() + "` cannot begin a value");
    }

    Result<std::size_t> number() {
        ExprNode node;
        node.offset = at_;
        const char* begin = text_.data() + at_;
        const auto parsed = std::from_chars(begin, text_.data() + text_.size(), node.number);
        if (parsed.ec != std::errc{} || !std::isfinite(node.number)) {
            return error(at_, "this is no number that can be computed with");
        }
        at_ += static_cast<std::size_t>(parsed.ptr - begin);
        if (at_ < text_.size() && is_letter(text_[at_])) {
            return error(at_,
                         "a number has no unit here: sizes are in GiB, counts are plain (8e9)");
        }
        return add(std::move(node));
    }

    Result<std::size_t> quoted(char quote) {
        ExprNode node;
        node.op = ExprOp::text;
        node.type = ExprType::text;
        node.offset = at_;
        const std::size_t end = text_.find(quote, at_ + 1);
        if (end == std::string_view::npos) {
            return error(at_, "this text has no closing quote");
        }
        node.text = std::string(text_.substr(at_ + 1, end - at_ - 1));
        at_ = end + 1;
        return add(std::move(node));
    }

    Result<std::size_t> word() {
        const std::string_view name = peek_word();
        ExprNode node;
        node.offset = at_;
        node.text = std::string(name);
        at_ += name.size();
        if (name == "true" || name == "false") {
            node.op = ExprOp::truth;
            node.type = ExprType::truth;
            node.truth = name == "true";
            return add(std::move(node));
        }
        if (name == "known") {
            return known(node.offset);
        }
        for (const Function& function : functions) {
            if (function.name == name) {
                return call(function, node.offset);
            }
        }
        node.op = ExprOp::name;
        node.name = TRY(resolve(name, node.offset));
        node.type = node.name.type;
        return add(std::move(node));
    }

    Result<Name> resolve(std::string_view name, std::size_t offset) {
        for (std::size_t i = derived_.size(); i-- > 0;) {
            if (derived_[i].name == name) {
                return Name{Fact::derived, Field::model, i, derived_[i].type};
            }
        }
        if (const std::optional<Field> field = field_from_string(name)) {
            if (const std::optional<ExprType> type = expression_type(*field)) {
                return Name{Fact::field, *field, 0, *type};
            }
            return error(offset, "`" + std::string(name) +
                                     "` is several values and cannot be read by an expression");
        }
        for (const FactRow& row : fact_table()) {
            if (row.name == name) {
                return Name{row.fact, Field::model, 0, row.type};
            }
        }
        std::vector<std::string_view> known = expression_names();
        for (const std::string_view function : expression_functions()) {
            known.push_back(function);
        }
        for (const DerivedName& one : derived_) {
            known.push_back(one.name);
        }
        const std::string near = expand_text::near(name, known);
        return error(offset, "unknown name `" + shown(name) + "`" +
                                 (near.empty() ? ": it is no field, no fact of model or card, and "
                                                 "not derived above"
                                               : near) +
                                 " (a text stands in quotes)");
    }

    Result<std::size_t> known(std::size_t offset) {
        if (!take("(")) {
            return error(at_, "`known` needs a name: `known(threshold)`");
        }
        skip_blanks();
        const std::size_t inner = at_;
        const std::string_view name = peek_word();
        if (name.empty()) {
            return error(at_, "`known` needs a name: `known(threshold)`");
        }
        at_ += name.size();
        ExprNode node;
        node.op = ExprOp::known;
        node.type = ExprType::truth;
        node.offset = offset;
        node.text = std::string(name);
        node.name = TRY(resolve(name, inner));
        if (!take(")")) {
            return error(at_, "`)` is missing");
        }
        return add(std::move(node));
    }

    Result<std::size_t> call(const Function& function, std::size_t offset) {
        const std::string name = "`" + std::string(function.name) + "`";
        if (!take("(")) {
            return error(at_,
                         name + " is a function: write `" + std::string(function.name) + "(...)`");
        }
        std::vector<std::size_t> inputs;
        skip_blanks();
        while (!take(")")) {
            if (!inputs.empty() && !take(",")) {
                return error(at_, "`,` or `)` is missing in " + name);
            }
            inputs.push_back(TRY(disjunction()));
        }
        if (inputs.size() < function.least || inputs.size() > function.most) {
            return error(offset, name + " takes " +
                                     (function.least == function.most
                                          ? std::to_string(function.least)
                                          : std::to_string(function.least) + " to " +
                                                std::to_string(function.most)) +
                                     " values, not " + std::to_string(inputs.size()));
        }
        ExprType type = ExprType::number;
        if (function.op == ExprOp::choose) {
            type = type_of(inputs[1]);
            TRY(want(inputs[0], ExprType::truth, "`if` chooses by"));
            TRY(want(inputs[2], type, "both values of `if` are alike:"));
        } else {
            const bool text = function.op == ExprOp::matches;
            for (const std::size_t input : inputs) {
                TRY(want(input, text ? ExprType::text : ExprType::number, name + " takes"));
            }
            type = text ? ExprType::truth : ExprType::number;
        }
        return combine(function.op, type, offset, std::move(inputs));
    }

    Expression& out_;
    std::string_view text_;
    std::span<const DerivedName> derived_;
    const Files& file_;
    std::size_t at_ = 0;
    int depth_ = 0;
};

}  // namespace

std::string_view to_string(ExprType type) {
    switch (type) {
        case ExprType::number:
            return "a number";
        case ExprType::text:
            return "a text";
        case ExprType::truth:
            return "a condition";
    }
    return "";
}

std::vector<std::string_view> expression_functions() {
    std::vector<std::string_view> out = {"known"};
    for (const Function& function : functions) {
        out.push_back(function.name);
    }
    return out;
}

Result<Expression> read_expression(const yaml::Node& node, std::span<const DerivedName> derived,
                                   const Files& file) {
    Expression expression;
    expression.text = TRY(read_text("expression", node, max_expression_bytes, file));
    expression.source = node;
    TRY(Parser(expression, derived, file).parse());
    return expression;
}

}  // namespace bitsweep
