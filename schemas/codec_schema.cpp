// The JSON Schemas, compiled once, and the check of a value against one of them. The validator
// library is seen here alone; what it throws, it throws at our own schema files, in the first call.
#include <array>
#include <map>
#include <memory>
#include <utility>
#include <valijson/adapters/nlohmann_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validator.hpp>

#include "schemas/codec.h"
#include "schemas/codec_accept.h"
#include "schemas/codec_fields.h"
#include "schemas/embedded_schemas.h"

namespace bitsweep {

std::string_view schema_text(Noun noun) {
    switch (noun) {
        case Noun::experiment:
            return embedded::experiment_schema_json;
        case Noun::job:
            return embedded::job_schema_json;
        case Noun::result:
            return embedded::result_schema_json;
        case Noun::message:
            return embedded::message_schema_json;
    }
    return {};
}

namespace codec {
namespace {

constexpr std::array<std::pair<Noun, std::string_view>, 4> noun_names = {
    {{Noun::experiment, "experiment"},
     {Noun::job, "job"},
     {Noun::result, "result"},
     {Noun::message, "message"}}};

// References between the four files become references inside one document that holds them all:
// "#/x" of job.schema.json is "#/job/x", "job.schema.json#/x" of any file likewise.
void rewrite_references(Json& node, const std::string& file) {
    if (node.is_array()) {
        for (Json& child : node) {
            rewrite_references(child, file);
        }
        return;
    }
    if (!node.is_object()) {
        return;
    }
    for (auto& [key, child] : node.items()) {
        if (key != "$ref" || !child.is_string()) {
            rewrite_references(child, file);
            continue;
        }
        const std::string target = child.get<std::string>();
        const std::size_t hash = target.find('#');
        const std::string document = target.substr(0, hash);
        const std::string pointer = hash == std::string::npos ? "" : target.substr(hash + 1);
        child = "#/" + (document.empty() ? file : document.substr(0, document.find('.'))) + pointer;
    }
}

Json all_schemas() {
    Json all = Json::object();
    for (const auto& [noun, name] : noun_names) {
        Json one = Json::parse(schema_text(noun));
        rewrite_references(one, std::string(name));
        all[std::string(name)] = std::move(one);
    }
    return all;
}

// The compiled schema at a JSON pointer of that document. Throws only when our own files are wrong.
std::unique_ptr<valijson::Schema> compile_schema(const std::string& pointer) {
    Json document = all_schemas();
    document["$ref"] = "#" + pointer;
    auto schema = std::make_unique<valijson::Schema>();
    valijson::SchemaParser parser;
    const valijson::adapters::NlohmannJsonAdapter adapter(document);
    parser.populateSchema(adapter, *schema);
    return schema;
}

// Compiled once per process, read-only afterwards.
const valijson::Schema* schema_at(const std::string& pointer) {
    static const std::map<std::string, std::unique_ptr<valijson::Schema>> compiled = [] {
        std::map<std::string, std::unique_ptr<valijson::Schema>> out;
        for (const auto& [noun, name] : noun_names) {
            if (noun != Noun::message) {
                const std::string root = "/" + std::string(name);
                out[root] = compile_schema(root);
            }
        }
        for (const std::string& type : codec::message_types()) {
            const std::string root = "/message/definitions/" + type;
            out[root] = compile_schema(root);
        }
        return out;
    }();
    const auto found = compiled.find(pointer);
    return found == compiled.end() ? nullptr : found->second.get();
}

// Where a value stands, and what stands there.
struct Place {
    std::string path;  // "spec.batch", "devices[0].id"; empty at the top
    const Json* value = nullptr;
};

// From the library's "<root>", "[devices]", "[0]", "[id]".
Place place_of(const std::vector<std::string>& context, const Json& root) {
    Place place{"", &root};
    for (const std::string& step : context) {
        if (step.size() < 2 || step.front() != '[') {
            continue;
        }
        const std::string name = step.substr(1, step.size() - 2);
        const bool index = place.value->is_array();
        place.path += index ? step : (place.path.empty() ? "" : ".") + name;
        const Json* next = nullptr;
        if (index && name.find_first_not_of("0123456789") == std::string::npos &&
            name.size() < 10 && std::stoul(name) < place.value->size()) {
            next = &(*place.value)[std::stoul(name)];
        } else if (const auto found = place.value->find(name); found != place.value->end()) {
            next = &*found;
        }
        if (next == nullptr) {
            break;
        }
        place.value = next;
    }
    return place;
}

std::string quoted_part(std::string_view description) {
    const std::size_t end = description.rfind('\'');
    const std::size_t start = description.rfind('\'', end == 0 ? 0 : end - 1);
    return end == std::string_view::npos || start == end
               ? ""
               : std::string(description.substr(start, end - start + 1));
}

// The library's words are about its constraints; people want to read about their value.
std::string sentence(const Place& place, const std::string& description) {
    const std::string at = place.path.empty() ? "" : place.path + ": ";
    if (description.starts_with("Object contains a property that could not be validated")) {
        return at + "no such field " + quoted_part(description);
    }
    if (description.starts_with("Missing required property")) {
        return at + "the field " + quoted_part(description) + " is missing";
    }
    std::string value = place.value->dump(-1, ' ', true, Json::error_handler_t::replace);
    if (value.size() > 60) {
        value = value.substr(0, 60) + "...";
    }
    return at + value + " is refused: " + description;
}

}  // namespace

std::string_view name_of(Noun noun) {
    return noun_names.at(static_cast<std::size_t>(noun)).second;
}

Status check_against(const std::string& pointer, const Json& json) {
    return accepts_quickly(pointer, json) ? Status{} : judge_by_library(pointer, json);
}

namespace {

const Acceptor& acceptor() {
    static const Acceptor compiled_once(all_schemas());
    return compiled_once;
}

}  // namespace

bool accepts_quickly(const std::string& pointer, const Json& json) {
    return acceptor().accepts(pointer, json);
}

const SchemaNode* compiled(const std::string& pointer) {
    return acceptor().at(pointer);
}

Status judge_by_library(const std::string& pointer, const Json& json) {
    const valijson::Schema* schema = schema_at(pointer);
    if (schema == nullptr) {
        return make_error(ErrorCode::internal, "no schema at " + pointer);
    }
    // Strong types: "16" is not 16.
    valijson::Validator validator(valijson::Validator::kStrongTypes);
    valijson::ValidationResults results;
    const valijson::adapters::NlohmannJsonAdapter adapter(json);
    if (validator.validate(*schema, adapter, &results)) {
        return {};
    }
    // The deepest complaint is the cause, the others say that something inside them failed.
    valijson::ValidationResults::Error error;
    valijson::ValidationResults::Error deepest;
    while (results.popError(error)) {
        if (deepest.context.size() < error.context.size()) {
            deepest = error;
        }
    }
    return make_error(ErrorCode::invalid_input,
                      sentence(place_of(deepest.context, json), deepest.description));
}

constexpr std::array<bool, 256> name_characters = [] {
    std::array<bool, 256> known{};
    for (const char c :
         std::string_view("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")) {
        known[static_cast<unsigned char>(c)] = true;
    }
    return known;
}();

bool is_plain_name(std::string_view text) {
    if (text.empty() || text.size() > 128 || text.front() == '.' || text.front() == '-') {
        return false;
    }
    return std::all_of(text.begin(), text.end(),
                       [](char c) { return name_characters[static_cast<unsigned char>(c)]; });
}

}  // namespace codec
}  // namespace bitsweep
