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

#include "schemas/job.h"
#include "schemas/time.h"

namespace bitsweep {

// 1-based. Line 0: not from the file but from --set.
struct At {
    int line = 0;
    int column = 0;
    auto operator<=>(const At&) const = default;
};

// Everything that a cell is made of and that an axis can vary. `bits` selects methods and `weights`
// belongs to the model; the others are fields of JobSpec.
enum class Field {
    model,
    bits,
    method,
    threshold,
    head,
    kv,
    gpu,
    batch,
    prompt,
    prompt_tokens,
    new_tokens,
    stop_at_eos,
    warmup,
    protocol,
    quality,
    eval,
    calibration,
    weights,
    weights_seed,
    threads,
    seed,
    repeat,
};
inline constexpr std::size_t field_count = 22;

std::string_view to_string(Field field);

// What `eval:` and `calibration:` say; what is left out comes from the protocol and the model.
struct EvalValue {
    std::optional<std::string> text;
    std::optional<std::int64_t> offset;
    std::optional<std::int64_t> tokens;
    std::optional<std::int64_t> window;
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
};

// One axis. Dependent: `by` names the axis to the left whose value selects the case.
struct Axis {
    Field field = Field::model;
    At at;
    std::vector<Value> values;  // empty when dependent
    std::optional<Field> by;
    std::vector<std::pair<Value, std::vector<Value>>> cases;  // value of `by` -> values
};

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

enum class OrderKind { shuffled, listed, interleaved };

struct Matrix {
    std::string file;  // as messages name it
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

    OrderKind order = OrderKind::shuffled;
    Field interleave = Field::method;
    JobPolicy policy;
    std::optional<std::int64_t> max_fails;
    At matrix_at;
};

}  // namespace bitsweep
