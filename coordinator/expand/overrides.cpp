#include "coordinator/expand/overrides.h"

#include <algorithm>

#include "coordinator/expand/fields.h"
#include "coordinator/expand/text.h"

namespace bitsweep {
namespace {

using expand_text::error_at;
using expand_text::shown;
using yaml::Kind;
using yaml::Node;

void forget_places(Node& node) {
    node.at = from_set;
    for (Node& item : node.items) {
        forget_places(item);
    }
    for (auto& [key, value] : node.entries) {
        forget_places(key);
        forget_places(value);
    }
}

Node key_node(const std::string& name) {
    Node key;
    key.kind = Kind::scalar;
    key.at = from_set;
    key.text = name;
    return key;
}

// The map `name` of the root, made when missing.
Node& section(Node& root, const std::string& name) {
    if (Node* found = root.find(name)) {
        return *found;
    }
    Node map;
    map.kind = Kind::map;
    map.at = from_set;
    root.entries.push_back({key_node(name), std::move(map)});
    return root.entries.back().value;
}

void put(Node& map, const std::string& name, Node value) {
    if (Node* found = map.find(name)) {
        *found = std::move(value);
        return;
    }
    map.entries.push_back({key_node(name), std::move(value)});
}

bool in_zip(const Node& root, const std::string& field) {
    const Node* zip = root.find("zip");
    return zip != nullptr && std::ranges::any_of(zip->items, [&](const Node& group) {
               return group.find(field) != nullptr;
           });
}

Error unknown(const std::string& name) {
    std::vector<std::string_view> known = field_names();
    for (const std::string_view key : top_level_keys()) {
        known.push_back(key);
    }
    return error_at("", {},
                    "unknown key `" + shown(name) + "`" + expand_text::suggestion(name, known));
}

Status put_path(Node& root, const std::string& name, std::size_t dot, Node value) {
    const std::string outer = name.substr(0, dot);
    const std::string inner = name.substr(dot + 1);
    if (outer != "defaults" && outer != "matrix" && outer != "derive" && outer != "retries" &&
        outer != "tags") {
        return error_at("", {},
                        "`" + shown(name) +
                            "` names nothing: a path begins with `defaults`, "
                            "`matrix`, `derive`, `retries` or `tags`");
    }
    if ((outer == "defaults" || outer == "matrix") && !field_from_string(inner)) {
        return unknown(inner);
    }
    Node& map = section(root, outer);
    if (map.kind != Kind::map) {
        return error_at("", {}, "`" + outer + "` is no map in the file");
    }
    put(map, inner, std::move(value));
    return {};
}

Status put_field(Node& root, const std::string& name, Node value) {
    Node* matrix = root.find("matrix");
    if (in_zip(root, name)) {
        return error_at("", {},
                        "`" + name +
                            "` moves together with other axes (zip): change the "
                            "file instead");
    }
    if (matrix != nullptr && matrix->find(name) != nullptr) {
        put(*matrix, name, std::move(value));
        return {};
    }
    // What was derived is now said.
    if (Node* derive = root.find("derive")) {
        std::erase_if(derive->entries, [&](const auto& entry) { return entry.key.text == name; });
    }
    // A list is an axis; the slowest one would regroup the run, so it goes to the end.
    const bool axis = value.kind == Kind::list || value.kind == Kind::map;
    Node& map = section(root, axis && matrix != nullptr ? "matrix" : "defaults");
    if (map.kind != Kind::map) {
        return error_at("", {}, "`defaults` is no map in the file");
    }
    put(map, name, std::move(value));
    return {};
}

}  // namespace

Status apply_overrides(Node& root,
                       const std::vector<std::pair<std::string, std::string>>& overrides) {
    const std::vector<std::string_view> keys = top_level_keys();
    for (const auto& [name, text] : overrides) {
        Result<Node> read = yaml::read_document(text, "--set " + shown(name));
        if (!read) {
            return read.error();
        }
        if (name == "extends") {
            return error_at("", {}, "`extends` is followed before --set: write it in the file");
        }
        Node value = std::move(read).value();
        forget_places(value);
        const std::size_t dot = name.find('.');
        if (dot != std::string::npos) {
            TRY(put_path(root, name, dot, std::move(value)));
        } else if (field_from_string(name)) {
            TRY(put_field(root, name, std::move(value)));
        } else if (std::ranges::find(keys, name) != keys.end()) {
            put(root, name, std::move(value));
        } else {
            return unknown(name);
        }
    }
    return {};
}

}  // namespace bitsweep
