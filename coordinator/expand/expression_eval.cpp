// Expression -> value, for one cell.
#include <algorithm>
#include <cmath>

#include "coordinator/expand/expression.h"
#include "coordinator/expand/text.h"

namespace bitsweep {
namespace {

using expand_text::number_text;

bool is_unknown(const ExprValue& value) {
    return std::holds_alternative<Unknown>(value);
}

// Texts are names of models, methods and cards: without case.
bool equal(const ExprValue& a, const ExprValue& b) {
    if (const auto* text = std::get_if<std::string>(&a)) {
        return expand_text::lower_case(*text) == expand_text::lower_case(std::get<std::string>(b));
    }
    if (const auto* truth = std::get_if<bool>(&a)) {
        return *truth == std::get<bool>(b);
    }
    return std::get<double>(a) == std::get<double>(b);
}

class Evaluation {
 public:
    Evaluation(const Expression& expression, const Lookup& lookup, const Files& file)
        : expression_(expression), lookup_(lookup), file_(file) {}

    Result<ExprValue> value(std::size_t index) {
        const ExprNode& node = expression_.nodes[index];
        switch (node.op) {
            case ExprOp::number:
                return ExprValue(node.number);
            case ExprOp::text:
                return ExprValue(node.text);
            case ExprOp::truth:
                return ExprValue(node.truth);
            case ExprOp::name:
                return lookup_(node.name);
            case ExprOp::known:
                return ExprValue(!is_unknown(lookup_(node.name)));
            case ExprOp::logical_and:
                return junction(node, false);
            case ExprOp::logical_or:
                return junction(node, true);
            case ExprOp::choose:
                return choose(node);
            case ExprOp::one_of:
                return one_of(node);
            default:
                return strict(node);
        }
    }

 private:
    Error error(const ExprNode& node, const std::string& message) const {
        return expand_text::error_at(file_, yaml::place_in(expression_.source, node.offset),
                                     message + " (" + values_in_words(expression_, lookup_) + ")");
    }

    // and (deciding: false), or (deciding: true): the deciding value on either side is the answer.
    Result<ExprValue> junction(const ExprNode& node, bool deciding) {
        const ExprValue left = TRY(value(node.inputs[0]));
        if (!is_unknown(left) && std::get<bool>(left) == deciding) {
            return left;
        }
        const ExprValue right = TRY(value(node.inputs[1]));
        if (!is_unknown(right) && std::get<bool>(right) == deciding) {
            return right;
        }
        return is_unknown(left) ? left : right;
    }

    Result<ExprValue> choose(const ExprNode& node) {
        const ExprValue condition = TRY(value(node.inputs[0]));
        if (is_unknown(condition)) {
            return condition;
        }
        return value(node.inputs[std::get<bool>(condition) ? 1 : 2]);
    }

    Result<ExprValue> one_of(const ExprNode& node) {
        const ExprValue wanted = TRY(value(node.inputs[0]));
        if (is_unknown(wanted)) {
            return wanted;
        }
        bool open = false;
        for (std::size_t i = 1; i < node.inputs.size(); ++i) {
            const ExprValue item = TRY(value(node.inputs[i]));
            if (is_unknown(item)) {
                open = true;
            } else if (equal(wanted, item)) {
                return ExprValue(true);
            }
        }
        return open ? ExprValue(Unknown{}) : ExprValue(false);
    }

    // Operators of which an unknown input makes an unknown result.
    Result<ExprValue> strict(const ExprNode& node) {
        std::vector<ExprValue> inputs;
        inputs.reserve(node.inputs.size());
        for (const std::size_t input : node.inputs) {
            inputs.push_back(TRY(value(input)));
            if (is_unknown(inputs.back())) {
                return ExprValue(Unknown{});
            }
        }
        switch (node.op) {
            case ExprOp::logical_not:
                return ExprValue(!std::get<bool>(inputs[0]));
            case ExprOp::equal:
                return ExprValue(equal(inputs[0], inputs[1]));
            case ExprOp::not_equal:
                return ExprValue(!equal(inputs[0], inputs[1]));
            case ExprOp::matches:
                return ExprValue(expand_text::glob_matches(std::get<std::string>(inputs[1]),
                                                           std::get<std::string>(inputs[0])));
            default:
                return numeric(node, inputs);
        }
    }

    Result<ExprValue> numeric(const ExprNode& node, const std::vector<ExprValue>& inputs) {
        const double a = std::get<double>(inputs[0]);
        const double b = inputs.size() > 1 ? std::get<double>(inputs[1]) : 0;
        switch (node.op) {
            case ExprOp::less:
                return ExprValue(a < b);
            case ExprOp::less_equal:
                return ExprValue(a <= b);
            case ExprOp::greater:
                return ExprValue(a > b);
            case ExprOp::greater_equal:
                return ExprValue(a >= b);
            case ExprOp::divide:
            case ExprOp::floor_divide:
            case ExprOp::remainder:
                if (b == 0) {
                    return error(node, "division by zero");
                }
                break;
            case ExprOp::log2:
                if (a <= 0) {
                    return error(node, "log2 of " + number_text(a) + ", which has none");
                }
                break;
            case ExprOp::sqrt:
                if (a < 0) {
                    return error(node, "sqrt of " + number_text(a) + ", which has none");
                }
                break;
            default:
                break;
        }
        const double result = computed(node.op, a, b, inputs);
        if (!std::isfinite(result)) {
            return error(node, "the result is too large to compute with");
        }
        return ExprValue(result);
    }

    static double computed(ExprOp op, double a, double b, const std::vector<ExprValue>& inputs) {
        const auto extreme = [&](bool largest) {
            double best = a;
            for (const ExprValue& input : inputs) {
                const double one = std::get<double>(input);
                best = largest ? std::max(best, one) : std::min(best, one);
            }
            return best;
        };
        switch (op) {
            case ExprOp::negate:
                return -a;
            case ExprOp::add:
                return a + b;
            case ExprOp::subtract:
                return a - b;
            case ExprOp::multiply:
                return a * b;
            case ExprOp::divide:
                return a / b;
            case ExprOp::floor_divide:
                return std::floor(a / b);
            case ExprOp::remainder:
                return a - b * std::floor(a / b);
            case ExprOp::minimum:
                return extreme(false);
            case ExprOp::maximum:
                return extreme(true);
            case ExprOp::round:
                return std::round(a);
            case ExprOp::floor:
                return std::floor(a);
            case ExprOp::ceil:
                return std::ceil(a);
            case ExprOp::abs:
                return std::abs(a);
            case ExprOp::log2:
                return std::log2(a);
            default:
                return std::sqrt(a);
        }
    }

    const Expression& expression_;
    const Lookup& lookup_;
    const Files& file_;
};

// Each name once, in the order of the text.
std::vector<const ExprNode*> names_of(const Expression& expression) {
    std::vector<const ExprNode*> out;
    for (const ExprNode& node : expression.nodes) {
        const bool is_name = node.op == ExprOp::name || node.op == ExprOp::known;
        if (is_name && std::ranges::none_of(
                           out, [&](const ExprNode* one) { return one->text == node.text; })) {
            out.push_back(&node);
        }
    }
    return out;
}

std::string in_words(const ExprValue& value) {
    if (const auto* number = std::get_if<double>(&value)) {
        // Four digits are enough to see why: 13.5, not 13.499999046325684.
        char text[32];
        std::snprintf(text, sizeof text, "%.4g", *number);
        return std::abs(*number) >= 1e4 ? number_text(*number) : text;
    }
    if (const auto* truth = std::get_if<bool>(&value)) {
        return *truth ? "true" : "false";
    }
    if (const auto* text = std::get_if<std::string>(&value)) {
        return expand_text::shown(*text);
    }
    return "unknown";
}

}  // namespace

Result<ExprValue> evaluate(const Expression& expression, const Lookup& lookup, const Files& file) {
    return Evaluation(expression, lookup, file).value(expression.root);
}

Result<ExprValue> evaluate_part(const Expression& expression, std::size_t node,
                                const Lookup& lookup, const Files& file) {
    return Evaluation(expression, lookup, file).value(node);
}

std::string values_in_words(const Expression& expression, const Lookup& lookup) {
    std::string out;
    for (const ExprNode* node : names_of(expression)) {
        out += (out.empty() ? "" : ", ") + node->text + " " + in_words(lookup(node->name));
    }
    return out.empty() ? "it reads no name" : out;
}

std::string unknown_in_words(const Expression& expression, const Lookup& lookup) {
    std::string out;
    for (const ExprNode* node : names_of(expression)) {
        if (is_unknown(lookup(node->name))) {
            out += (out.empty() ? "" : ", ") + node->text;
        }
    }
    return out;
}

}  // namespace bitsweep
