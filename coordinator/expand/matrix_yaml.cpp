// YAML text -> yaml::Node. The only file that sees yaml-cpp; its exceptions stop here.
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <map>
#include <sstream>
#include <utility>

#include "coordinator/expand/text.h"
#include "coordinator/expand/yaml_node.h"

namespace bitsweep::yaml {
namespace {

using expand_text::error_at;
using expand_text::shown;

struct Refused {
    At at;
    std::string message;
};

At place(const YAML::Mark& mark) {
    return {mark.line + 1, mark.column + 1};
}

// Whether `value` stands in the source after `mark` as it is, so that a place inside it is known.
bool stands_at(std::string_view source, const YAML::Mark& mark, bool quoted,
               const std::string& value) {
    const auto start = static_cast<std::size_t>(mark.pos) + (quoted ? 1 : 0);
    return value.find('\n') == std::string::npos && start <= source.size() &&
           source.substr(start, value.size()) == value;
}

std::size_t count_nodes(const Node& node) {
    std::size_t count = 1;
    for (const Node& item : node.items) {
        count += count_nodes(item);
    }
    for (const auto& [key, value] : node.entries) {
        count += count_nodes(key) + count_nodes(value);
    }
    return count;
}

// Builds the tree from the parser's events rather than from the library's own nodes: aliases are
// counted before they are copied, duplicate keys are seen, and places survive.
class Builder : public YAML::EventHandler {
 public:
    Builder(std::string_view source, int file) : source_(source), file_(file) {}

    void OnDocumentStart(const YAML::Mark& mark) override {
        if (documents_++ > 0) {
            throw Refused{place(mark), "a second document: an experiment is one document"};
        }
    }
    void OnDocumentEnd() override {}

    void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        Node node;
        node.at = here(mark);
        remember(anchor, node, 1);
        add(std::move(node), 1);
    }

    void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  const std::string& value) override {
        refuse_tag(mark, tag);
        if (value.find('\0') != std::string::npos) {
            throw Refused{place(mark),
                          "a text cannot hold the character of number 0 (`\\0`): leave it out"};
        }
        Node node;
        node.kind = Kind::scalar;
        node.quoted = tag == "!";
        node.at = here(mark);
        node.text = value;
        node.verbatim = stands_at(source_, mark, node.quoted, value);
        remember(anchor, node, 1);
        add(std::move(node), 1);
    }

    void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        const auto found = anchors_.find(anchor);
        if (found == anchors_.end()) {
            throw Refused{place(mark), "this alias stands inside its own anchor"};
        }
        if (nodes_ + found->second.nodes > max_yaml_nodes) {
            throw Refused{place(mark), "aliases expand to more than " +
                                           std::to_string(max_yaml_nodes) +
                                           " values: write the lists out or use a range"};
        }
        // Depth is bounded too: the copied part may be deep itself.
        if (open_.size() + found->second.depth > max_yaml_depth) {
            throw Refused{place(mark), too_deep()};
        }
        Node copy = found->second.node;
        copy.at = here(mark);
        copy.verbatim = false;  // its text stands at the anchor
        add(std::move(copy), found->second.nodes);
    }

    void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                         YAML::EmitterStyle::value) override {
        refuse_tag(mark, tag);
        open(Kind::list, mark, anchor);
    }
    void OnSequenceEnd() override { close(); }

    void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                    YAML::EmitterStyle::value) override {
        refuse_tag(mark, tag);
        open(Kind::map, mark, anchor);
    }
    void OnMapEnd() override { close(); }

    Node take() { return std::move(root_); }

 private:
    struct Open {
        Node node;
        YAML::anchor_t anchor = 0;
        bool has_key = false;
        Node key;
    };
    struct Anchor {
        Node node;
        std::size_t nodes = 0;
        std::size_t depth = 0;
    };

    At here(const YAML::Mark& mark) const {
        At at = place(mark);
        at.file = file_;
        return at;
    }

    static std::string too_deep() {
        return "nested deeper than " + std::to_string(max_yaml_depth) +
               " levels: no experiment needs that";
    }

    static void refuse_tag(const YAML::Mark& mark, const std::string& tag) {
        if (tag != "?" && tag != "!" && !tag.empty()) {
            throw Refused{place(mark),
                          "the tag `" + shown(tag) + "` means nothing here: remove it"};
        }
    }

    static std::size_t depth_of(const Node& node) {
        std::size_t depth = 0;
        for (const Node& item : node.items) {
            depth = std::max(depth, depth_of(item));
        }
        for (const auto& [key, value] : node.entries) {
            depth = std::max(depth, depth_of(value));
        }
        return depth + (node.kind == Kind::list || node.kind == Kind::map ? 1 : 0);
    }

    void remember(YAML::anchor_t anchor, const Node& node, std::size_t nodes) {
        if (anchor != 0) {
            anchors_[anchor] = {node, nodes, depth_of(node)};
        }
    }

    void open(Kind kind, const YAML::Mark& mark, YAML::anchor_t anchor) {
        if (open_.size() >= max_yaml_depth) {
            throw Refused{place(mark), too_deep()};
        }
        Open frame;
        frame.node.kind = kind;
        frame.node.at = here(mark);
        frame.anchor = anchor;
        open_.push_back(std::move(frame));
    }

    void close() {
        Open frame = std::move(open_.back());
        open_.pop_back();
        if (frame.anchor != 0) {
            remember(frame.anchor, frame.node, count_nodes(frame.node));
        }
        add(std::move(frame.node), 1);
    }

    void add(Node node, std::size_t nodes) {
        nodes_ += nodes;
        if (nodes_ > max_yaml_nodes) {
            throw Refused{node.at,
                          "more than " + std::to_string(max_yaml_nodes) + " values: use a range"};
        }
        if (open_.empty()) {
            root_ = std::move(node);
            return;
        }
        Open& parent = open_.back();
        if (parent.node.kind == Kind::list) {
            parent.node.items.push_back(std::move(node));
        } else if (!parent.has_key) {
            add_key(parent, std::move(node));
        } else {
            parent.node.entries.push_back({std::move(parent.key), std::move(node)});
            parent.has_key = false;
        }
    }

    static void add_key(Open& parent, Node key) {
        if (key.kind != Kind::scalar) {
            throw Refused{key.at, "a key must be one word, not " + std::string(describe(key))};
        }
        if (key.text == "<<" && !key.quoted) {
            throw Refused{key.at,
                          "merge keys (`<<`) are not supported: use an alias for the value"};
        }
        if (parent.node.entries.size() >= max_yaml_keys) {
            throw Refused{key.at,
                          "more than " + std::to_string(max_yaml_keys) + " keys in one map"};
        }
        if (const Node* before = parent.node.find(key.text)) {
            throw Refused{key.at, "`" + shown(key.text) +
                                      "` stands here a second time; the first " +
                                      "value is in line " + std::to_string(before->at.line)};
        }
        parent.key = std::move(key);
        parent.has_key = true;
    }

    std::string_view source_;
    int file_;
    int documents_ = 0;
    std::size_t nodes_ = 0;
    std::vector<Open> open_;
    std::map<YAML::anchor_t, Anchor> anchors_;
    Node root_;
};

// Tabs that indent look like spaces and are none; the library's own message does not say so.
Status check_tabs(std::string_view text, const std::string& file) {
    int line = 1;
    bool leading = true;
    int column = 1;
    for (const char c : text) {
        if (c == '\n') {
            ++line;
            leading = true;
            column = 1;
            continue;
        }
        if (leading && c == '\t') {
            return error_at(file, {line, column}, "a tab indents this line: YAML wants spaces");
        }
        leading = leading && c == ' ';
        ++column;
    }
    return {};
}

// Length of the UTF-8 sequence at `i`, 0 when the bytes are none.
std::size_t utf8_length(std::string_view text, std::size_t i) {
    const auto byte = [&](std::size_t k) {
        return k < text.size() ? static_cast<unsigned char>(text[k]) : 0u;
    };
    const unsigned first = byte(i);
    if (first < 0x80) {
        return 1;
    }
    const std::size_t length = first >= 0xF0 && first < 0xF5   ? 4
                               : first >= 0xE0 && first < 0xF0 ? 3
                               : first >= 0xC2 && first < 0xE0 ? 2
                                                               : 0;
    for (std::size_t k = 1; k < length; ++k) {
        if ((byte(i + k) & 0xC0) != 0x80) {
            return 0;
        }
    }
    const bool overlong =
        (first == 0xE0 && byte(i + 1) < 0xA0) || (first == 0xF0 && byte(i + 1) < 0x90);
    const bool surrogate = first == 0xED && byte(i + 1) >= 0xA0;
    const bool beyond = first == 0xF4 && byte(i + 1) >= 0x90;
    return overlong || surrogate || beyond ? 0 : length;
}

Status check_characters(std::string_view text, const std::string& file) {
    At at{1, 1};
    for (std::size_t i = 0; i < text.size();) {
        const auto byte = static_cast<unsigned char>(text[i]);
        const std::size_t length = utf8_length(text, i);
        if (length == 0) {
            return error_at(file, at, "these bytes are not UTF-8: save the file as UTF-8");
        }
        if (byte < 0x20 && byte != '\n' && byte != '\r' && byte != '\t') {
            return error_at(file, at,
                            "a control character (byte " + std::to_string(byte) +
                                ") stands here: is this a text file?");
        }
        at = byte == '\n' ? At{at.line + 1, 1} : At{at.line, at.column + 1};
        i += length;
    }
    return {};
}

}  // namespace

std::string_view describe(const Node& node) {
    switch (node.kind) {
        case Kind::null:
            return "nothing";
        case Kind::scalar:
            return node.quoted ? "text" : "one value";
        case Kind::list:
            return "a list";
        case Kind::map:
            return "a map";
    }
    return "";
}

const Node* Node::find(std::string_view key) const {
    for (const auto& [name, value] : entries) {
        if (name.text == key) {
            return &value;
        }
    }
    return nullptr;
}

Node* Node::find(std::string_view key) {
    return const_cast<Node*>(std::as_const(*this).find(key));
}

At place_in(const Node& node, std::size_t offset) {
    At at = node.at;
    if (at.line > 0 && node.verbatim) {
        at.column += static_cast<int>(offset) + (node.quoted ? 1 : 0);
    }
    return at;
}

Result<Node> read_document(std::string_view text, const std::string& file, int index) {
    if (text.size() > max_yaml_bytes) {
        return make_error(ErrorCode::invalid_input,
                          file + ": " + std::to_string(text.size()) +
                              " bytes; an experiment has at most 1 MiB: use ranges");
    }
    TRY(check_characters(text, file));
    TRY(check_tabs(text, file));
    Builder builder(text, index);
    try {
        std::istringstream stream{std::string(text)};
        YAML::Parser parser(stream);
        while (parser.HandleNextDocument(builder)) {
        }
    } catch (const Refused& refused) {
        return error_at(file, refused.at, refused.message);
    } catch (const YAML::Exception& error) {
        return error_at(file, place(error.mark), "not YAML: " + shown(error.msg));
    }
    return builder.take();
}

}  // namespace bitsweep::yaml
