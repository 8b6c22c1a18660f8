#include "schemas/codec_read.h"

#include <algorithm>

namespace bitsweep::codec {
namespace {

bool allows(const SchemaNode& node, unsigned types) {
    return node.understood && (node.types & types) != 0;
}

template <class T>
bool is_a_value_of(const SchemaNode& node, const T& value) {
    return node.values.empty() ||
           std::any_of(node.values.begin(), node.values.end(), [&](const Json& allowed) {
               if constexpr (std::is_same_v<T, std::string>) {
                   return allowed.is_string() && allowed.get_ref<const std::string&>() == value;
               } else {
                   return allowed.is_number_integer() && allowed == value;
               }
           });
}

template <class T>
bool read_integer(Scanner& in, const SchemaNode& at, T& out) {
    const SchemaNode& node = at.target();
    return allows(node, SchemaNode::integer_type | SchemaNode::number_type) && in.integer(out) &&
           node.accepts_number(static_cast<double>(out)) && is_a_value_of(node, out);
}

}  // namespace

bool read(Scanner& in, const SchemaNode& at, std::string& out) {
    const SchemaNode& node = at.target();
    return allows(node, SchemaNode::string_type) && in.text(out) && node.accepts_text(out) &&
           is_a_value_of(node, out);
}

bool read(Scanner& in, const SchemaNode& at, bool& out) {
    const SchemaNode& node = at.target();
    if (!allows(node, SchemaNode::boolean_type) || !node.values.empty()) {
        return false;
    }
    out = in.literal("true");
    return out || in.literal("false");
}

bool read(Scanner& in, const SchemaNode& at, double& out) {
    const SchemaNode& node = at.target();
    if (!node.understood || !node.values.empty()) {
        return false;
    }
    if (in.literal("null")) {
        out = std::numeric_limits<double>::quiet_NaN();
        return allows(node, SchemaNode::null_type);
    }
    bool as_integer = false;
    return in.number(out, as_integer) &&
           allows(node, as_integer ? SchemaNode::integer_type | SchemaNode::number_type
                                   : SchemaNode::number_type) &&
           node.accepts_number(out);
}

bool read(Scanner& in, const SchemaNode& at, std::int64_t& out) {
    return read_integer(in, at, out);
}

bool read(Scanner& in, const SchemaNode& at, std::uint64_t& out) {
    return read_integer(in, at, out);
}

}  // namespace bitsweep::codec
