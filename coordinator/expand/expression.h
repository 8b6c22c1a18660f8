// The expressions of `where`, `derive` and `when`: a small language, total and pure (README.md has
// it on one page). Types are known when the file is read, so that what is left to fail for a cell
// is a division by zero and the like.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "coordinator/expand/field.h"
#include "coordinator/expand/place.h"
#include "coordinator/expand/yaml_node.h"
#include "schemas/status.h"

namespace bitsweep {

// A person writes fifty; the limits keep reading and evaluating within microseconds.
inline constexpr std::size_t max_expression_bytes = 4096;
inline constexpr std::size_t max_expression_nodes = 512;
inline constexpr int max_expression_depth = 32;

enum class ExprType { number, text, truth };

std::string_view to_string(ExprType type);  // "a number", "text", "a condition"

// What a name means: a field of the cell, a fact of its model or card, a size that follows from
// several, or a value that `derive` named.
enum class Fact {
    field,
    params,
    params_b,
    family,
    layers,
    width,
    heads,
    kv_heads,
    head_dim,
    ffn,
    vocabulary,
    positions,
    weight_gib,
    kv_gib,
    memory_gib,
    vram_gib,
    bandwidth_gbs,
    sm,
    derived,
};

struct Name {
    Fact fact = Fact::field;
    Field field = Field::model;  // of Fact::field
    std::size_t derived = 0;     // of Fact::derived: its index
    ExprType type = ExprType::number;
};

// Unknown: the method reads no threshold, the table has no such model, the card is not yet met.
// What is computed from it is unknown too, except where the other side decides (`false and x`).
struct Unknown {};
using ExprValue = std::variant<Unknown, double, bool, std::string>;

enum class ExprOp {
    number,
    text,
    truth,
    name,
    known,
    negate,
    logical_not,
    logical_and,
    logical_or,
    add,
    subtract,
    multiply,
    divide,
    floor_divide,
    remainder,
    equal,
    not_equal,
    less,
    less_equal,
    greater,
    greater_equal,
    one_of,
    matches,
    minimum,
    maximum,
    round,
    floor,
    ceil,
    abs,
    log2,
    sqrt,
    choose,
};

struct ExprNode {
    ExprOp op = ExprOp::number;
    ExprType type = ExprType::number;
    std::size_t offset = 0;  // where it stands in the text: the operator or the first character
    double number = 0;       // of a number
    bool truth = false;      // of true and false
    std::string text;        // of a text, and a name as written
    Name name;
    std::vector<std::size_t> inputs;  // indices of nodes before this one
};

struct Expression {
    std::string text;
    yaml::Node source;  // for places; without children
    std::vector<ExprNode> nodes;
    std::size_t root = 0;

    ExprType type() const { return nodes[root].type; }
};

// A name that `derive` made, of use to what stands below it.
struct DerivedName {
    std::string name;
    ExprType type = ExprType::number;
};

// Reads one expression. invalid_input with the exact place: anything that is not the language, an
// unknown name (with the nearest), types that do not fit, the limits above.
Result<Expression> read_expression(const yaml::Node& node, std::span<const DerivedName> derived,
                                   const Files& file);

// The value of a name in the cell at hand.
using Lookup = std::function<ExprValue(const Name&)>;

// At most max_expression_nodes steps. invalid_input with the place: a division by zero, the
// logarithm or root of what has none, a number too large.
Result<ExprValue> evaluate(const Expression& expression, const Lookup& lookup, const Files& file);

// The same of one of its nodes.
Result<ExprValue> evaluate_part(const Expression& expression, std::size_t node,
                                const Lookup& lookup, const Files& file);

// The fields that a value of `name` depends on; of a derived one, none.
std::span<const Field> fields_behind(const Name& name);

// Every name that an expression can read, besides derived ones; for messages and the README's test.
std::vector<std::string_view> expression_names();
std::vector<std::string_view> expression_functions();

// "vram_gib, threshold": the names that are unknown, each once.
std::string unknown_in_words(const Expression& expression, const Lookup& lookup);

// "batch 4, vram_gib 15": the names that it reads with their values, each once.
std::string values_in_words(const Expression& expression, const Lookup& lookup);

}  // namespace bitsweep
