#include "coordinator/expand/gate.h"

#include <charconv>
#include <cmath>

#include "coordinator/expand/text.h"
#include "schemas/codec.h"

namespace bitsweep {
namespace yaml {
namespace {

void append_string(std::string& out, std::string_view text) {
    static constexpr char hex[] = "0123456789abcdef";
    out += '"';
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (byte < 0x20) {
            out += "\\u00";
            out += hex[byte >> 4];
            out += hex[byte & 15];
        } else {
            out += c;
        }
    }
    out += '"';
}

void append_scalar(std::string& out, const Node& node) {
    const char* end = node.text.data() + node.text.size();
    std::int64_t whole = 0;
    double real = 0;
    if (node.quoted || node.text.empty()) {
        append_string(out, node.text);
    } else if (node.text == "true" || node.text == "false") {
        out += node.text;
    } else if (const auto read = std::from_chars(node.text.data(), end, whole);
               read.ec == std::errc{} && read.ptr == end) {
        out += std::to_string(whole);
    } else if (const auto parsed = std::from_chars(node.text.data(), end, real);
               parsed.ec == std::errc{} && parsed.ptr == end && std::isfinite(real)) {
        // 1e3 is no whole number to our readers, so it must not become one here.
        char digits[32];
        const auto done = std::to_chars(digits, digits + sizeof digits, real);
        out.append(digits, done.ptr);
        if (std::string_view(digits, done.ptr).find_first_of(".e") == std::string_view::npos) {
            out += ".0";
        }
    } else {
        append_string(out, node.text);
    }
}

void append(std::string& out, const Node& node) {
    switch (node.kind) {
        case Kind::null:
            out += "null";
            return;
        case Kind::scalar:
            append_scalar(out, node);
            return;
        case Kind::list:
            out += '[';
            for (const Node& item : node.items) {
                out += out.back() == '[' ? "" : ",";
                append(out, item);
            }
            out += ']';
            return;
        case Kind::map:
            out += '{';
            for (const auto& [key, value] : node.entries) {
                out += out.back() == '{' ? "" : ",";
                append_string(out, key.text);
                out += ':';
                append(out, value);
            }
            out += '}';
            return;
    }
}

}  // namespace

std::string to_json(const Node& node) {
    std::string out;
    append(out, node);
    return out;
}

}  // namespace yaml

namespace {

// The node that "matrix.batch[0]" names, or the deepest one on the way.
const yaml::Node& node_at(const yaml::Node& root, std::string_view path) {
    const yaml::Node* node = &root;
    while (!path.empty()) {
        if (path.front() == '[') {
            std::size_t index = 0;
            const std::size_t end = path.find(']');
            std::from_chars(path.data() + 1, path.data() + path.size(), index);
            if (end == std::string_view::npos || index >= node->items.size()) {
                break;
            }
            node = &node->items[index];
            path.remove_prefix(end + 1);
            continue;
        }
        path.remove_prefix(path.front() == '.' ? 1 : 0);
        const std::size_t end = path.find_first_of(".[");
        const yaml::Node* next = node->find(path.substr(0, end));
        if (next == nullptr) {
            break;
        }
        node = next;
        path.remove_prefix(end == std::string_view::npos ? path.size() : end);
    }
    return *node;
}

}  // namespace

Status check_schema(const yaml::Node& root, const Files& file) {
    const Status valid = validate(Noun::experiment, yaml::to_json(root));
    if (valid.ok()) {
        return {};
    }
    const std::string& words = valid.error().message;
    const std::size_t colon = words.find(": ");
    const std::string path = colon == std::string::npos ? "" : words.substr(0, colon);
    return expand_text::error_at(file, node_at(root, path).at,
                                 "the schema refuses it: " + words + " (`bitsweep schema`)");
}

}  // namespace bitsweep
