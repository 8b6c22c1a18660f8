#include "schemas/codec_accept.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <set>
#include <utility>
#include <vector>

namespace bitsweep::codec {

using Json = nlohmann::json;

namespace {

constexpr std::size_t most_members = 64;  // one bit each; the largest noun has 20

unsigned type_of(const std::string& word) {
    static const std::map<std::string, unsigned> words = {
        {"null", SchemaNode::null_type},       {"boolean", SchemaNode::boolean_type},
        {"integer", SchemaNode::integer_type}, {"number", SchemaNode::number_type},
        {"string", SchemaNode::string_type},   {"array", SchemaNode::array_type},
        {"object", SchemaNode::object_type}};
    const auto found = words.find(word);
    return found == words.end() ? 0 : found->second;
}

unsigned types_of(const Json& value) {
    switch (value.type()) {
        case Json::value_t::null:
            return SchemaNode::null_type;
        case Json::value_t::boolean:
            return SchemaNode::boolean_type;
        case Json::value_t::number_integer:
        case Json::value_t::number_unsigned:
            return SchemaNode::integer_type | SchemaNode::number_type;
        case Json::value_t::number_float:
            return SchemaNode::number_type;
        case Json::value_t::string:
            return SchemaNode::string_type;
        case Json::value_t::array:
            return SchemaNode::array_type;
        case Json::value_t::object:
            return SchemaNode::object_type;
        default:
            return 0;
    }
}

// What this file understands; a schema with any other keyword is left to the library.
bool is_understood(const std::string& keyword) {
    static const std::set<std::string> keywords = {"$schema",
                                                   "title",
                                                   "description",
                                                   "definitions",
                                                   "$ref",
                                                   "type",
                                                   "const",
                                                   "enum",
                                                   "minimum",
                                                   "maximum",
                                                   "minLength",
                                                   "maxLength",
                                                   "minItems",
                                                   "maxItems",
                                                   "maxProperties",
                                                   "items",
                                                   "required",
                                                   "properties",
                                                   "additionalProperties",
                                                   "propertyNames"};
    return keywords.count(keyword) > 0;
}

std::size_t size_in(const Json& schema, const char* keyword, std::size_t otherwise) {
    const auto found = schema.find(keyword);
    return found == schema.end() ? otherwise : found->get<std::size_t>();
}

}  // namespace

// A character has one to four bytes, so bytes bound characters from both sides.
bool SchemaNode::accepts_text(std::string_view text) const {
    const bool long_enough = min_size <= 1 ? text.size() >= min_size : text.size() / 4 >= min_size;
    return long_enough && text.size() <= max_size;
}

bool SchemaNode::accepts_items(const Json& value) const {
    if (value.size() < min_size || value.size() > max_size) {
        return false;
    }
    return items == nullptr || std::all_of(value.begin(), value.end(),
                                           [&](const Json& item) { return items->accepts(item); });
}

bool SchemaNode::accepts_members(const Json& value) const {
    if (value.size() > max_properties) {
        return false;
    }
    std::uint64_t missing = required;
    for (const auto& [name, member] : value.get_ref<const Json::object_t&>()) {
        if (names != nullptr && !names->accepts_text(name)) {
            return false;
        }
        const std::size_t known = find(name);
        if (known == members.size()) {
            if (!others_allowed || (others != nullptr && !others->accepts(member))) {
                return false;
            }
            continue;
        }
        missing &= ~(std::uint64_t{1} << known);
        if (!members[known].node->accepts(member)) {
            return false;
        }
    }
    return missing == 0;
}

bool SchemaNode::accepts(const Json& value) const {
    if (!understood) {
        return false;
    }
    if (same_as != nullptr) {
        return same_as->accepts(value);
    }
    const unsigned its_types = types_of(value);
    if ((its_types & types) == 0) {
        return false;
    }
    if (!values.empty() && std::none_of(values.begin(), values.end(), [&](const Json& allowed) {
            return types_of(allowed) == its_types && allowed == value;
        })) {
        return false;
    }
    if ((its_types & number_type) != 0) {
        return accepts_number(value.get<double>());
    }
    switch (its_types) {
        case string_type:
            return accepts_text(value.get_ref<const std::string&>());
        case array_type:
            return accepts_items(value);
        case object_type:
            return accepts_members(value);
        default:
            return true;
    }
}

// ---- compiling

Acceptor::Acceptor(const Json& document) : document_(&document) {
    for (const auto& [name, schema] : document.items()) {
        compile_at("/" + name);
        if (const auto definitions = schema.find("definitions"); definitions != schema.end()) {
            for (const auto& [part, ignored] : definitions->items()) {
                compile_at("/" + name + "/definitions/" + part);
            }
        }
    }
    document_ = nullptr;
}

bool Acceptor::accepts(const std::string& pointer, const Json& value) const {
    const SchemaNode* node = at(pointer);
    return node != nullptr && node->accepts(value);
}

const SchemaNode* Acceptor::at(const std::string& pointer) const {
    const auto found = by_pointer_.find(pointer);
    return found == by_pointer_.end() ? nullptr : &found->second->target();
}

const SchemaNode* Acceptor::compile_at(const std::string& pointer) {
    if (const auto known = by_pointer_.find(pointer); known != by_pointer_.end()) {
        return known->second;
    }
    // Known before its parts are: a schema may refer to itself.
    auto* node = nodes_.emplace_back(std::make_unique<SchemaNode>()).get();
    by_pointer_[pointer] = node;
    node->same_as = compile(document_->at(Json::json_pointer(pointer)));
    return node;
}

const SchemaNode* Acceptor::compile(const Json& schema) {
    auto* node = nodes_.emplace_back(std::make_unique<SchemaNode>()).get();
    if (!schema.is_object()) {
        node->understood = false;
        return node;
    }
    for (const auto& [keyword, ignored] : schema.items()) {
        node->understood = node->understood && is_understood(keyword);
    }
    if (!node->understood) {
        return node;
    }
    if (const auto reference = schema.find("$ref"); reference != schema.end()) {
        node->same_as = compile_at(reference->get<std::string>().substr(1));
        return node;
    }
    read_limits(*node, schema);
    read_children(*node, schema);
    return node;
}

void Acceptor::read_limits(SchemaNode& node, const Json& schema) {
    if (const auto type = schema.find("type"); type != schema.end()) {
        node.types = 0;
        for (const Json& word : type->is_array() ? *type : Json::array({*type})) {
            const unsigned known = type_of(word.get<std::string>());
            node.understood = node.understood && known != 0;
            node.types |= known;
        }
    }
    if (const auto constant = schema.find("const"); constant != schema.end()) {
        node.values.push_back(*constant);
    }
    if (const auto allowed = schema.find("enum"); allowed != schema.end()) {
        node.values.insert(node.values.end(), allowed->begin(), allowed->end());
    }
    node.minimum = schema.value("minimum", node.minimum);
    node.maximum = schema.value("maximum", node.maximum);
    node.min_size = std::max(size_in(schema, "minLength", 0), size_in(schema, "minItems", 0));
    node.max_size = std::min(size_in(schema, "maxLength", node.max_size),
                             size_in(schema, "maxItems", node.max_size));
    node.max_properties = size_in(schema, "maxProperties", node.max_properties);
}

void Acceptor::read_children(SchemaNode& node, const Json& schema) {
    if (const auto items = schema.find("items"); items != schema.end()) {
        node.items = compile(*items);
    }
    if (const auto names = schema.find("propertyNames"); names != schema.end()) {
        node.names = compile(*names);
        node.understood = node.understood && node.names->same_as == nullptr;
    }
    if (const auto others = schema.find("additionalProperties"); others != schema.end()) {
        if (others->is_boolean()) {
            node.others_allowed = others->get<bool>();
        } else {
            node.others = compile(*others);
        }
    }
    if (const auto properties = schema.find("properties"); properties != schema.end()) {
        for (const auto& [name, part] : properties->items()) {
            node.members.push_back({name, compile(part), false});
        }
        node.understood = node.understood && node.members.size() <= most_members;
    }
    if (const auto required = schema.find("required"); required != schema.end()) {
        for (const Json& name : *required) {
            const std::size_t known = node.find(name.get<std::string>());
            node.understood = node.understood && known < node.members.size();
            if (node.understood) {
                node.members[known].required = true;
                node.required |= std::uint64_t{1} << known;
            }
        }
    }
}

}  // namespace bitsweep::codec
