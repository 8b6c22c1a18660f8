// Inside the codec only: from text straight to a noun, by the lists of fields in codec_fields.h,
// judged on the way by the compiled schemas. False: not plain and right, or not known here; then
// the library reads the text again and says why. Never true for what the library refuses
// (tests/schemas/quick_test.cpp holds the two together).
#pragma once

#include "schemas/codec_accept.h"
#include "schemas/codec_fields.h"
#include "schemas/codec_scan.h"

namespace bitsweep::codec {

bool read(Scanner& in, const SchemaNode& node, std::string& out);
bool read(Scanner& in, const SchemaNode& node, bool& out);
bool read(Scanner& in, const SchemaNode& node, double& out);
bool read(Scanner& in, const SchemaNode& node, std::int64_t& out);
bool read(Scanner& in, const SchemaNode& node, std::uint64_t& out);

template <class T>
requires std::is_integral_v<T>
bool read(Scanner& in, const SchemaNode& node, T& out) {
    std::int64_t wide = 0;
    if (!read(in, node, wide) || wide < std::numeric_limits<T>::min() ||
        wide > static_cast<std::int64_t>(std::numeric_limits<T>::max())) {
        return false;
    }
    out = static_cast<T>(wide);
    return true;
}
inline bool read(Scanner& in, const SchemaNode& node, Attempt& out) {
    return read(in, node, out.value);
}
inline bool read(Scanner& in, const SchemaNode& node, Duration& out) {
    return read(in, node, out.ms);
}
template <class Tag>
bool read(Scanner& in, const SchemaNode& node, StringId<Tag>& out) {
    return read(in, node, out.value) && (out.value.empty() || is_plain_name(out.value));
}
template <class E>
requires std::is_enum_v<E>
bool read(Scanner& in, const SchemaNode& node, E& out) {
    std::string word;
    if (!read(in, node, word)) {
        return false;
    }
    const std::optional<E> value = enum_from(word, E{});
    out = value.value_or(out);
    return value.has_value();
}
template <class T>
requires std::is_class_v<T>
bool read(Scanner& in, const SchemaNode& node, T& out);

template <class T>
bool read(Scanner& in, const SchemaNode& at, std::vector<T>& out) {
    const SchemaNode& node = at.target();
    out.clear();
    if (!node.understood || (node.types & SchemaNode::array_type) == 0 || !node.values.empty() ||
        node.items == nullptr || !in.take('[')) {
        return false;
    }
    if (!in.take(']')) {
        do {
            if (out.size() >= node.max_size || !read(in, *node.items, out.emplace_back())) {
                return false;
            }
        } while (in.take(','));
        if (!in.take(']')) {
            return false;
        }
    }
    return out.size() >= node.min_size;
}

bool read(Scanner& in, const SchemaNode& at, std::vector<Cell>& out);  // codec_cells.cpp

template <class T>
bool read(Scanner& in, const SchemaNode& at, std::map<std::string, T>& out) {
    const SchemaNode& node = at.target();
    out.clear();
    if (!node.understood || (node.types & SchemaNode::object_type) == 0 || !node.values.empty() ||
        !node.members.empty() || node.others == nullptr || !in.take('{')) {
        return false;
    }
    if (in.take('}')) {
        return true;
    }
    do {
        std::string name;
        if (!in.text(name) || !in.take(':') ||
            (node.names != nullptr && !node.names->accepts_text(name))) {
            return false;
        }
        const auto [entry, is_new] = out.try_emplace(std::move(name));
        if (!is_new || out.size() > node.max_properties || !read(in, *node.others, entry->second)) {
            return false;
        }
    } while (in.take(','));
    return in.take('}');
}

// Finds the field of one name and reads it.
struct FieldReader {
    Scanner& in;
    const SchemaNode& node;
    std::string_view wanted;
    std::size_t first = 0;  // fields before it are not looked at
    std::size_t passed = 0;
    bool found = false;
    bool right = false;

    template <std::size_t N, class T>
    void operator()(const char (&name)[N], T& value) {
        if (is_it(name)) {
            right = read(in, node, value);
        }
    }
    template <std::size_t N, class T>
    void operator()(const char (&name)[N], std::optional<T>& value) {
        if (is_it(name)) {
            value.reset();
            const bool may_be_null =
                node.target().understood && (node.target().types & SchemaNode::null_type) != 0;
            right = (may_be_null && in.literal("null")) || read(in, node, value.emplace());
        }
    }

 private:
    template <std::size_t N>
    bool is_it(const char (&name)[N]) {
        if (found || passed++ < first) {
            return false;
        }
        found = wanted == std::string_view(name, N - 1);
        return found;
    }
};

// Behind the opening brace; `missing` are the members that must still come. `seen`: those that
// came, for a member that comes twice is left to the library.
template <class T>
bool read_members(Scanner& in, const SchemaNode& node, T& out, std::uint64_t seen) {
    std::size_t next = 0;  // members mostly come in the order of the fields
    do {
        std::string_view name;
        if (!in.name(name) || !in.take(':')) {
            return false;
        }
        const std::size_t member = node.find(name);
        if (member == node.members.size() || ((seen >> member) & 1) != 0) {
            return false;
        }
        seen |= std::uint64_t{1} << member;
        FieldReader reader{in, *node.members[member].node, name, next};
        fields(reader, out);
        if (!reader.found && next > 0) {
            reader.first = reader.passed = 0;
            fields(reader, out);
        }
        if (!reader.right) {
            return false;
        }
        next = reader.passed;
    } while (in.take(','));
    return in.take('}') && (node.required & ~seen) == 0;
}

template <class T>
requires std::is_class_v<T>
bool read(Scanner& in, const SchemaNode& at, T& out) {
    const SchemaNode& node = at.target();
    if (!node.understood || (node.types & SchemaNode::object_type) == 0 || !node.values.empty() ||
        node.names != nullptr || node.max_properties < node.members.size() || !in.take('{')) {
        return false;
    }
    return in.take('}') ? node.required == 0 : read_members(in, node, out, 0);
}

}  // namespace bitsweep::codec
