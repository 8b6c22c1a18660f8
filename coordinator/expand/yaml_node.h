// A YAML document as a plain tree with places: what matrix_yaml.cpp hands to the readers, so that
// the YAML library is seen in one file.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "coordinator/expand/place.h"
#include "schemas/status.h"

namespace bitsweep::yaml {

enum class Kind { null, scalar, list, map };

struct Entry;

struct Node {
    Kind kind = Kind::null;
    bool quoted = false;    // "16" is text, 16 is a number
    bool verbatim = false;  // `text` stands in the file as it is, in one line, after `at`
    At at;
    std::string text;
    std::vector<Node> items;     // of a list
    std::vector<Entry> entries;  // of a map, in the order of the file

    // What an Entry is must be known first.
    Node();
    ~Node();
    Node(const Node& other);
    Node(Node&& other) noexcept;
    Node& operator=(const Node& other);
    Node& operator=(Node&& other) noexcept;

    const Node* find(std::string_view key) const;  // nullptr when absent or no map
    Node* find(std::string_view key);
};

struct Entry {
    Node key;
    Node value;
};

inline Node::Node() = default;
inline Node::~Node() = default;
inline Node::Node(const Node& other) = default;
inline Node::Node(Node&& other) noexcept = default;
inline Node& Node::operator=(const Node& other) = default;
inline Node& Node::operator=(Node&& other) noexcept = default;

// "a list", "text", "a map", "nothing"
std::string_view describe(const Node& node);

inline constexpr std::size_t max_yaml_bytes = 1 << 20;
inline constexpr int max_yaml_depth = 16;           // the deepest key of the grammar has 6
inline constexpr std::size_t max_yaml_keys = 4096;  // of one map: finding a duplicate is quadratic
inline constexpr std::size_t max_yaml_nodes = 600'000;  // after aliases; 1 MiB holds 524,288 digits

// The document of one file. invalid_input: "file:line:column: ..." for anything that is not YAML,
// tabs that indent, duplicate keys, tags, a second document, and the three limits above. `index`
// becomes At::file of every node.
Result<Node> read_document(std::string_view text, const std::string& file, int index = 0);

// The place of byte `offset` of a scalar's text; the scalar's own place where the text is folded,
// escaped or of several lines.
At place_in(const Node& node, std::size_t offset);

// Compact JSON of the tree, for the schema: plain numbers, true and false are themselves,
// everything else is a string.
std::string to_json(const Node& node);

}  // namespace bitsweep::yaml
