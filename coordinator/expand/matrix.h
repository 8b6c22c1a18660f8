// Matrix: what was asked, every value with its place in the file. Made by parse_matrix, read by
// expand. Nothing here knows YAML.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "coordinator/expand/expression.h"
#include "coordinator/expand/extends.h"
#include "coordinator/expand/field.h"
#include "coordinator/expand/place.h"
#include "schemas/catalog/methods.h"
#include "schemas/job.h"
#include "schemas/time.h"

namespace bitsweep {

// What `eval:` and `calibration:` say; what is left out comes from the protocol and the model.
struct EvalValue {
    std::optional<std::string> text;
    std::optional<std::int64_t> offset;
    std::optional<std::int64_t> tokens;
    std::optional<std::int64_t> window;
    std::optional<std::int64_t> seed;
};

struct ModelValue {
    std::string name;  // of the table of shapes, or of a folder or GGUF file
    std::string path;  // empty: found by name
    std::optional<WeightsSource> weights;
    std::optional<std::uint64_t> weights_seed;
};

struct Value {
    std::variant<std::int64_t, double, bool, std::string, ModelValue, EvalValue> data;
    std::string key;  // normal form: equal keys are equal values; patterns match it
    At at;
    const MethodRow* method = nullptr;  // of a method's name: its row in the table
};

// `{when: EXPRESSION, values: [...]}`
struct Branch {
    Expression when;
    std::vector<Value> values;
};

// One axis, of one of three kinds. Plain: `values`. Dependent: `by` names the axis to the left
// whose value selects the case. Conditional: the first branch that holds. Where no case or branch
// fits, `otherwise`; a conditional axis without it is then absent, a dependent one is a mistake.
struct Axis {
    Field field = Field::model;
    At at;
    std::vector<Value> values;
    std::optional<Field> by;
    std::vector<std::pair<Value, std::vector<Value>>> cases;  // value of `by` -> values
    std::vector<Branch> branches;
    std::optional<std::vector<Value>> otherwise;

    bool is_plain() const { return !by && branches.empty(); }
};

// Whether the axis has the value of this key somewhere, in a case or a branch if it has such.
bool may_take(const Axis& axis, const std::string& key);

// Axes that move together; an ordinary axis is a group of one.
struct AxisGroup {
    At at;
    std::vector<Axis> axes;
};

// `llama-*`, `>=16`, `nf4`, or a list of those (any of them).
struct Test {
    enum class Kind { glob, equal, not_equal, less, less_equal, greater, greater_equal };
    Kind kind = Kind::glob;
    std::string glob;
    double number = 0;
    At at;
};
struct Condition {
    Field field = Field::model;
    At at;
    std::vector<Test> any_of;
};
struct Exclude {
    At at;
    std::vector<Condition> all_of;
};

struct FieldValue {
    Field field = Field::model;
    Value value;
};
struct Include {
    At at;
    std::vector<FieldValue> values;
};

// A condition that each cell must not fail. What it cannot tell (a card not yet met) is kept.
struct Where {
    At at;
    Expression expression;
};

// `derive: {name: EXPRESSION}`: sets a field, or names a value for what stands below it.
struct Derive {
    At at;
    std::optional<Field> field;
    std::string name;
    Expression expression;
    std::size_t index = 0;  // among the derived names; unused for a field
};

enum class OrderKind { shuffled, listed, interleaved };

struct Matrix {
    Files file;
    BaseTexts bases;  // what it extends, nearest first
    BaseReader read;  // of policy files, beside the experiment's; empty: none can be read
    std::string experiment;
    std::string question;
    std::string hypothesis;
    std::string cost;
    std::optional<std::int64_t> jobs;  // how many cells the author expects
    bool overridden = false;           // --set was given: `jobs` need not hold
    std::vector<std::pair<std::string, std::string>> tags;

    std::vector<FieldValue> defaults;
    std::optional<std::int64_t> repeats;  // `repeat: N`; absent: by protocol
    std::vector<AxisGroup> groups;        // first slowest
    std::vector<Exclude> excludes;
    std::vector<Include> includes;
    std::vector<Where> wheres;
    std::vector<Derive> derives;
    std::vector<DerivedName> derived_names;

    OrderKind order = OrderKind::shuffled;
    Field interleave = Field::method;
    std::optional<std::uint64_t> order_seed;  // `shuffled(7)`; absent: the default of `seed`
    JobPolicy policy;
    std::optional<std::int64_t> max_fails;
    At matrix_at;
};

}  // namespace bitsweep
