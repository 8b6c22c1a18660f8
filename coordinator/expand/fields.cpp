#include "coordinator/expand/fields.h"

#include <array>
#include <charconv>
#include <cmath>

#include "coordinator/expand/text.h"
#include "schemas/catalog/methods.h"
#include "schemas/catalog/shapes.h"

namespace bitsweep {
namespace {

using expand_text::error_at;
using expand_text::number_text;
using expand_text::one_of;
using expand_text::shown;
using expand_text::suggestion;
using yaml::Kind;
using yaml::Node;

constexpr std::int64_t max_seed = 9'007'199'254'740'991;  // 2^53 - 1: exact in every JSON reader

constexpr std::array<std::string_view, 9> bits_words = {"2", "3", "4",  "5", "6",
                                                        "7", "8", "16", "32"};
constexpr std::array<std::string_view, 3> head_words = {"16", "8", "4"};
constexpr std::array<std::string_view, 3> kv_words = {"16", "int8", "fp8"};
constexpr std::array<std::string_view, 4> protocol_words = {"seed-report", "quick", "standard",
                                                            "headline"};
constexpr std::array<std::string_view, 3> quality_words = {"off", "once", "layers"};
constexpr std::array<std::string_view, 2> weights_words = {"real", "random"};

constexpr std::array<FieldRow, field_count> table = {{
    {Field::model, "model", FieldType::model, 0, 0, {}},
    {Field::bits, "bits", FieldType::integer, 2, 32, bits_words},
    {Field::method, "method", FieldType::method, 0, 0, {}},
    {Field::threshold, "threshold", FieldType::number, 0, 1'000'000, {}},
    {Field::head, "head", FieldType::integer, 4, 16, head_words},
    {Field::kv, "kv", FieldType::word, 0, 0, kv_words},
    {Field::gpu, "gpu", FieldType::gpu, 0, 0, {}},
    {Field::batch, "batch", FieldType::integer, 1, 4096, {}},
    {Field::prompt, "prompt", FieldType::text, 1, 1 << 20, {}},
    {Field::prompt_tokens, "prompt_tokens", FieldType::integer, 0, 1 << 20, {}},
    {Field::new_tokens, "new_tokens", FieldType::integer, 1, 1 << 20, {}},
    {Field::stop_at_eos, "stop_at_eos", FieldType::boolean, 0, 0, {}},
    {Field::warmup, "warmup", FieldType::integer, 0, 1000, {}},
    {Field::protocol, "protocol", FieldType::word, 0, 0, protocol_words},
    {Field::quality, "quality", FieldType::word, 0, 0, quality_words},
    {Field::eval, "eval", FieldType::eval, 0, 0, {}},
    {Field::calibration, "calibration", FieldType::eval, 0, 0, {}},
    {Field::alpha, "alpha", FieldType::number, 0, 1, {}},
    {Field::policy, "policy", FieldType::text, 1, 1000, {}},
    {Field::weights, "weights", FieldType::word, 0, 0, weights_words},
    {Field::weights_seed, "weights_seed", FieldType::integer, 0, max_seed, {}},
    {Field::threads, "threads", FieldType::integer, 0, 1024, {}},
    {Field::seed, "seed", FieldType::integer, 0, max_seed, {}},
    {Field::repeat, "repeat", FieldType::integer, 1, 1000, {}},
}};

std::string quoted(std::string_view name) {
    return "`" + std::string(name) + "`";
}

// `what` is "`threshold` must be a number from 0 to 1000000".
Error wrong(const Node& node, const std::string& what, const Files& file) {
    const std::string found = node.kind == Kind::scalar
                                  ? (node.quoted ? "the text " : "") + quoted(shown(node.text))
                                  : std::string(yaml::describe(node));
    return error_at(file, node.at, what + ", not " + found);
}

std::optional<std::int64_t> whole_number(const Node& node) {
    std::int64_t value = 0;
    const char* end = node.text.data() + node.text.size();
    const auto parsed = std::from_chars(node.text.data(), end, value);
    const bool whole = !node.text.empty() && parsed.ec == std::errc{} && parsed.ptr == end;
    if (node.kind != Kind::scalar || node.quoted || !whole) {
        return std::nullopt;
    }
    return value;
}

std::optional<double> plain_number(const Node& node) {
    double value = 0;
    const char* end = node.text.data() + node.text.size();
    const auto parsed = std::from_chars(node.text.data(), end, value);
    const bool number = !node.text.empty() && parsed.ec == std::errc{} && parsed.ptr == end;
    if (node.kind != Kind::scalar || node.quoted || !number || !std::isfinite(value)) {
        return std::nullopt;
    }
    return value;
}

// ---- one value

Result<Value> integer_value(const FieldRow& row, const Node& node, const Files& file) {
    const std::optional<std::int64_t> value = whole_number(node);
    if (!row.words.empty()) {
        const std::string key = value ? std::to_string(*value) : "";
        for (const std::string_view word : row.words) {
            if (word == key) {
                return Value{*value, key, node.at};
            }
        }
        return wrong(node, quoted(row.name) + " must be " + one_of(row.words), file);
    }
    if (!value || *value < row.least || *value > row.most) {
        return wrong(node,
                     quoted(row.name) + " must be a whole number from " +
                         std::to_string(row.least) + " to " + std::to_string(row.most),
                     file);
    }
    return Value{*value, std::to_string(*value), node.at};
}

Result<Value> number_value(const FieldRow& row, const Node& node, const Files& file) {
    const std::optional<double> value = plain_number(node);
    if (!value || *value < static_cast<double>(row.least) ||
        *value > static_cast<double>(row.most)) {
        return wrong(node,
                     quoted(row.name) + " must be a number from " + std::to_string(row.least) +
                         " to " + std::to_string(row.most),
                     file);
    }
    return Value{*value, number_text(*value), node.at};
}

Result<Value> method_value(const Node& node, const Files& file) {
    if (node.kind != Kind::scalar) {
        return wrong(node, "`method` must be the name of a method", file);
    }
    Result<MethodId> id = parse_method(shown(node.text));
    if (!id) {
        return error_at(file, node.at, id.error().message);
    }
    return Value{id->text, id->text, node.at, &method_row(*id)};
}

std::string stem_of(std::string_view path) {
    while (path.size() > 1 && path.ends_with('/')) {
        path.remove_suffix(1);
    }
    const std::size_t slash = path.rfind('/');
    std::string name(slash == std::string_view::npos ? path : path.substr(slash + 1));
    if (expand_text::lower_case(name).ends_with(".gguf")) {
        name.resize(name.size() - 5);
    }
    return name;
}

// The table's spelling for a known name; a hub name is not a name of the table.
Result<std::string> model_name(const Node& node, const Files& file) {
    if (node.kind != Kind::scalar || node.text.empty() || node.text.size() > 200) {
        return wrong(node, "a model is a name of at most 200 characters or {path: ...}", file);
    }
    if (node.text.find('/') != std::string::npos) {
        return error_at(file, node.at,
                        quoted(shown(node.text)) + " is a path or a hub name: write `{path: " +
                            shown(node.text) + "}` for a folder, or the name `" +
                            nearest_shape(stem_of(node.text)) + "`");
    }
    for (const char c : node.text) {
        if (static_cast<unsigned char>(c) < 0x20 || c == '\\' || c == '*') {
            return wrong(node, "a model's name has no control character, backslash or *", file);
        }
    }
    const ModelShape* shape = find_shape(node.text);
    return shape != nullptr ? std::string(shape->name) : node.text;
}

Result<Value> model_value(const Node& node, const Files& file) {
    ModelValue model;
    if (node.kind != Kind::map) {
        model.name = TRY(model_name(node, file));
        return Value{model, model.name, node.at};
    }
    static constexpr std::array<std::string_view, 4> keys = {"path", "name", "weights",
                                                             "weights_seed"};
    TRY(check_keys(node, keys, file));
    std::string key;
    if (const Node* path = node.find("path")) {
        model.path = TRY(read_text("path", *path, 4096, file));
        model.name = stem_of(model.path);
        if (model.name.empty() || model.name == "." || model.name == "..") {
            return wrong(*path, "`path` must end in the folder or GGUF file of the model", file);
        }
        key = "@" + model.path;
    }
    if (const Node* name = node.find("name")) {
        model.name = TRY(model_name(*name, file));
    }
    if (model.name.empty()) {
        return error_at(file, node.at, "a model needs `name` or `path`");
    }
    if (const Node* weights = node.find("weights")) {
        const Value word = TRY(read_value(Field::weights, *weights, file));
        model.weights = weights_source_from_string(word.key);
        key += "#" + word.key;
    }
    if (const Node* seed = node.find("weights_seed")) {
        const Value number = TRY(read_value(Field::weights_seed, *seed, file));
        model.weights_seed = static_cast<std::uint64_t>(std::get<std::int64_t>(number.data));
        key += "#" + number.key;
    }
    return Value{model, model.name + key, node.at};
}

Result<Value> eval_value(const FieldRow& row, const Node& node, const Files& file) {
    if (node.kind != Kind::map) {
        return wrong(node, quoted(row.name) + " must be a map of text, tokens and window", file);
    }
    static constexpr std::array<std::string_view, 3> eval_keys = {"text", "tokens", "window"};
    static constexpr std::array<std::string_view, 5> calibration_keys = {"text", "offset", "tokens",
                                                                         "window", "seed"};
    const bool evaluates = row.field == Field::eval;
    TRY(check_keys(
        node, evaluates ? std::span<const std::string_view>(eval_keys) : calibration_keys, file));
    EvalValue eval;
    std::string key;
    if (const Node* text = node.find("text")) {
        eval.text = TRY(read_text("text", *text, 200, file));
        if (eval.text->empty() || eval.text->find('/') != std::string::npos) {
            return wrong(*text, "`text` must be the name of a text in the data folder", file);
        }
        key += "text=" + *eval.text + ";";
    }
    const auto number = [&](const char* name, std::int64_t least, std::int64_t most,
                            std::optional<std::int64_t>& out) -> Status {
        if (const Node* value = node.find(name)) {
            out = TRY(read_integer(name, *value, least, most, file));
            key += std::string(name) + "=" + std::to_string(*out) + ";";
        }
        return {};
    };
    TRY(number("offset", 0, 1'000'000'000, eval.offset));
    TRY(number("tokens", evaluates ? 0 : 1, 1'000'000'000, eval.tokens));
    TRY(number("seed", 0, max_seed, eval.seed));
    TRY(number("window", 2, 1 << 20, eval.window));
    return Value{eval, key, node.at};
}

Result<Value> gpu_value(const Node& node, const Files& file) {
    const bool word = node.kind == Kind::scalar && !node.text.empty() && node.text.size() <= 200 &&
                      node.text.find_first_of(" \t\n*") == std::string::npos;
    if (!word) {
        return wrong(node, "`gpu` must be `cpu`, a kind of card such as `T4`, or `{each: any}`",
                     file);
    }
    const std::string lower = expand_text::lower_case(node.text);
    return Value{lower == "cpu" ? lower : node.text, lower, node.at};
}

}  // namespace

// ---- the table

std::span<const FieldRow> field_table() {
    return table;
}

const FieldRow& field_row(Field field) {
    return table.at(static_cast<std::size_t>(field));
}

std::string_view to_string(Field field) {
    return field_row(field).name;
}

std::optional<Field> field_from_string(std::string_view name) {
    for (const FieldRow& row : table) {
        if (row.name == name) {
            return row.field;
        }
    }
    return std::nullopt;
}

std::vector<std::string_view> field_names() {
    std::vector<std::string_view> out;
    for (const FieldRow& row : table) {
        out.push_back(row.name);
    }
    return out;
}

// ---- readers

Result<Field> read_field_name(const Node& key, const Files& file) {
    if (const std::optional<Field> field = field_from_string(key.text)) {
        return *field;
    }
    return error_at(
        file, key.at,
        "unknown field " + quoted(shown(key.text)) + suggestion(key.text, field_names()));
}

Result<Value> read_value(Field field, const Node& node, const Files& file) {
    const FieldRow& row = field_row(field);
    switch (row.type) {
        case FieldType::integer:
            return integer_value(row, node, file);
        case FieldType::number:
            return number_value(row, node, file);
        case FieldType::method:
            return method_value(node, file);
        case FieldType::model:
            return model_value(node, file);
        case FieldType::eval:
            return eval_value(row, node, file);
        case FieldType::gpu:
            return gpu_value(node, file);
        case FieldType::boolean:
            if (node.kind == Kind::scalar && !node.quoted &&
                (node.text == "true" || node.text == "false")) {
                return Value{node.text == "true", node.text, node.at};
            }
            return wrong(node, quoted(row.name) + " must be `true` or `false`", file);
        case FieldType::word:
            for (const std::string_view word : row.words) {
                if (node.kind == Kind::scalar && node.text == word) {
                    return Value{node.text, node.text, node.at};
                }
            }
            return wrong(node, quoted(row.name) + " must be " + one_of(row.words), file);
        case FieldType::text:
            break;
    }
    std::string text = TRY(read_text(row.name, node, static_cast<std::size_t>(row.most), file));
    if (text.empty()) {
        return wrong(node, quoted(row.name) + " must not be empty", file);
    }
    return Value{text, text, node.at};
}

Result<std::int64_t> read_integer(std::string_view name, const Node& node, std::int64_t least,
                                  std::int64_t most, const Files& file) {
    const std::optional<std::int64_t> value = whole_number(node);
    if (!value || *value < least || *value > most) {
        return wrong(node,
                     quoted(name) + " must be a whole number from " + std::to_string(least) +
                         " to " + std::to_string(most),
                     file);
    }
    return *value;
}

Result<std::string> read_text(std::string_view name, const Node& node, std::size_t most,
                              const Files& file) {
    if (node.kind == Kind::scalar && node.text.size() > most) {
        return error_at(file, node.at,
                        quoted(name) + " has " + std::to_string(node.text.size()) +
                            " bytes; the limit is " + std::to_string(most));
    }
    if (node.kind != Kind::scalar) {
        return wrong(node, quoted(name) + " must be text", file);
    }
    return node.text;
}

Status check_keys(const Node& map, std::span<const std::string_view> known, const Files& file) {
    for (const auto& [key, value] : map.entries) {
        bool found = false;
        for (const std::string_view name : known) {
            found = found || name == key.text;
        }
        if (!found) {
            return error_at(file, key.at,
                            "unknown key " + quoted(shown(key.text)) + suggestion(key.text, known));
        }
    }
    return {};
}

}  // namespace bitsweep
