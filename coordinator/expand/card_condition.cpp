#include "coordinator/expand/card_condition.h"

#include <algorithm>
#include <charconv>

#include "schemas/catalog/cards.h"

namespace bitsweep {
namespace {

constexpr double gib = 1024.0 * 1024.0 * 1024.0;

// Reads back as the same number.
std::string literal(double number) {
    char digits[32];
    const auto end = std::to_chars(digits, digits + sizeof digits, number);
    const std::string text(digits, end.ptr);
    return number < 0 ? "(" + text + ")" : text;
}

struct Spelling {
    ExprOp op;
    bool infix;
    std::string_view word;
};
// Operators of two inputs, and functions.
constexpr Spelling spelling[] = {
    {ExprOp::logical_and, true, "and"},
    {ExprOp::logical_or, true, "or"},
    {ExprOp::add, true, "+"},
    {ExprOp::subtract, true, "-"},
    {ExprOp::multiply, true, "*"},
    {ExprOp::divide, true, "/"},
    {ExprOp::floor_divide, true, "//"},
    {ExprOp::remainder, true, "%"},
    {ExprOp::equal, true, "=="},
    {ExprOp::not_equal, true, "!="},
    {ExprOp::less, true, "<"},
    {ExprOp::less_equal, true, "<="},
    {ExprOp::greater, true, ">"},
    {ExprOp::greater_equal, true, ">="},
    {ExprOp::matches, false, "matches"},
    {ExprOp::minimum, false, "min"},
    {ExprOp::maximum, false, "max"},
    {ExprOp::round, false, "round"},
    {ExprOp::floor, false, "floor"},
    {ExprOp::ceil, false, "ceil"},
    {ExprOp::abs, false, "abs"},
    {ExprOp::log2, false, "log2"},
    {ExprOp::sqrt, false, "sqrt"},
    {ExprOp::choose, false, "if"},
};

// Writes an expression with what is known put in. Fully parenthesised: read by machines first.
class Writer {
 public:
    Writer(const Expression& expression, const Lookup& lookup, std::span<const Derive> derives,
           const Files& file)
        : expression_(expression), lookup_(lookup), derives_(derives), file_(file) {}

    // Whether what was written asks for a fact of the card.
    bool reads_the_card() const { return reads_the_card_; }

    // nullopt: it cannot be written.
    std::optional<std::string> write(std::size_t index) {
        const Result<ExprValue> value = evaluate_part(expression_, index, lookup_, file_);
        if (value && !std::holds_alternative<Unknown>(*value)) {
            return known(*value);
        }
        const ExprNode& node = expression_.nodes[index];
        if (node.op == ExprOp::name) {
            return name(node);
        }
        std::vector<std::string> inputs;
        for (const std::size_t input : node.inputs) {
            std::optional<std::string> one = write(input);
            if (!one) {
                return std::nullopt;
            }
            inputs.push_back(std::move(*one));
        }
        return joined(node, inputs);
    }

 private:
    static std::optional<std::string> known(const ExprValue& value) {
        if (const auto* number = std::get_if<double>(&value)) {
            return literal(*number);
        }
        if (const auto* truth = std::get_if<bool>(&value)) {
            return *truth ? "true" : "false";
        }
        const std::string& text = std::get<std::string>(value);
        for (const char quote : {'\'', '"'}) {
            if (text.find(quote) == std::string::npos) {
                return quote + text + quote;
            }
        }
        return std::nullopt;
    }

    std::optional<std::string> name(const ExprNode& node) {
        if (node.name.fact != Fact::derived) {
            const std::span<const Field> behind = fields_behind(node.name);
            reads_the_card_ |= std::ranges::find(behind, Field::gpu) != behind.end();
            return node.text;
        }
        for (const Derive& derive : derives_) {
            if (!derive.field && derive.index == node.name.derived) {
                Writer inner(derive.expression, lookup_, derives_, file_);
                auto text = inner.write(derive.expression.root);
                reads_the_card_ |= inner.reads_the_card_;
                return text;
            }
        }
        return std::nullopt;
    }

    static std::string listed(const std::vector<std::string>& inputs, std::size_t from) {
        std::string text;
        for (std::size_t i = from; i < inputs.size(); ++i) {
            text += (i > from ? ", " : "") + inputs[i];
        }
        return text;
    }

    static std::optional<std::string> joined(const ExprNode& node,
                                             const std::vector<std::string>& inputs) {
        if (node.op == ExprOp::negate) {
            return "(-" + inputs[0] + ")";
        }
        if (node.op == ExprOp::logical_not) {
            return "(not " + inputs[0] + ")";
        }
        if (node.op == ExprOp::one_of) {
            return "(" + inputs[0] + " in [" + listed(inputs, 1) + "])";
        }
        // `false or x` and `true and x` are x; the other constants have decided already.
        const char* neutral = node.op == ExprOp::logical_or    ? "false"
                              : node.op == ExprOp::logical_and ? "true"
                                                               : "";
        if (inputs[0] == neutral || (inputs.size() == 2 && inputs[1] == neutral)) {
            return inputs[inputs[0] == neutral ? 1 : 0];
        }
        const auto written = std::ranges::find(spelling, node.op, &Spelling::op);
        if (written == std::end(spelling)) {
            return std::nullopt;  // a name or a constant: written already
        }
        const std::string word(written->word);
        return written->infix ? "(" + inputs[0] + " " + word + " " + inputs[1] + ")"
                              : word + "(" + listed(inputs, 0) + ")";
    }

    const Expression& expression_;
    const Lookup& lookup_;
    std::span<const Derive> derives_;
    const Files& file_;
    bool reads_the_card_ = false;
};

ExprValue of(const std::optional<double>& number) {
    return number ? ExprValue(*number) : ExprValue(Unknown{});
}

ExprValue value_of(const Name& name, const CardFacts& card) {
    switch (name.fact) {
        case Fact::vram_gib:
            return of(card.vram_gib);
        case Fact::bandwidth_gbs:
            return of(card.bandwidth_gbs);
        case Fact::sm:
            return of(card.sm);
        case Fact::field:
            return name.field == Field::gpu ? ExprValue(card.kind) : ExprValue(Unknown{});
        default:
            return Unknown{};
    }
}

// Outer parentheses say nothing to a reader.
std::string without_outer(const std::string& text) {
    if (!text.starts_with('(') || !text.ends_with(')')) {
        return text;
    }
    int depth = 0;
    for (std::size_t i = 0; i + 1 < text.size(); ++i) {
        depth += text[i] == '(' ? 1 : text[i] == ')' ? -1 : 0;
        if (depth == 0) {
            return text;
        }
    }
    return text.substr(1, text.size() - 2);
}

}  // namespace

std::string left_to_the_card(const Expression& expression, const Lookup& lookup,
                             std::span<const Derive> derives, const Files& file) {
    Writer writer(expression, lookup, derives, file);
    const auto text = writer.write(expression.root);
    const bool fits = text && text->size() <= max_expression_bytes;
    return fits && writer.reads_the_card() ? without_outer(*text) : "";
}

std::string both_conditions(const std::string& first, const std::string& second) {
    return first.empty() ? second : second.empty() ? first : "(" + first + ") and (" + second + ")";
}

CardFacts card_facts(const DeviceInfo& device) {
    CardFacts facts;
    facts.kind = device.kind;
    if (device.kind == "cpu") {
        return facts;
    }
    const Card* card = find_card(device.kind);
    if (device.memory_bytes > 0) {
        facts.vram_gib = static_cast<double>(device.memory_bytes) / gib;
    } else if (card != nullptr) {
        facts.vram_gib = card->vram_gib;
    }
    if (card != nullptr) {
        facts.bandwidth_gbs = card->bandwidth_gbs;
        facts.sm = card->sm;
    }
    return facts;
}

CardVerdict decide_for_card(const std::string& condition, const CardFacts& card) {
    if (condition.empty()) {
        return {};
    }
    yaml::Node node;
    node.kind = yaml::Kind::scalar;
    node.text = condition;
    const Files file("where");
    const Result<Expression> expression = read_expression(node, {}, file);
    if (!expression) {
        return {true, "`" + condition + "` cannot be read: " + expression.error().message};
    }
    if (expression->type() != ExprType::truth) {
        return {true, "`" + condition + "` is no condition"};
    }
    const Lookup lookup = [&](const Name& name) { return value_of(name, card); };
    const std::string read = "`" + condition + "` (" + values_in_words(*expression, lookup) + ")";
    const Result<ExprValue> value = evaluate(*expression, lookup, file);
    if (!value) {
        return {true, read + " cannot be computed: " + value.error().message};
    }
    const auto* truth = std::get_if<bool>(&*value);
    return {truth == nullptr || *truth, read};
}

}  // namespace bitsweep
