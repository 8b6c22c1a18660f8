// Inside the codec only: a quick yes. Most of what arrives is right, and the validator library
// takes more time to say so than everything else that a message costs (measured:
// tests/bench/dispatch). What this does not accept, or does not understand, the library judges and
// puts into words.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace bitsweep::codec {

// One place of a schema, compiled: what a value there may be.
struct SchemaNode {
    enum Type : unsigned {
        null_type = 1,
        boolean_type = 2,
        integer_type = 4,
        number_type = 8,
        string_type = 16,
        array_type = 32,
        object_type = 64,
        any_type = 127,
    };
    struct Member {
        std::string name;
        const SchemaNode* node = nullptr;
        bool required = false;
    };

    bool understood = true;
    const SchemaNode* same_as = nullptr;  // of a "$ref"
    unsigned types = any_type;
    std::vector<nlohmann::json> values;  // const, enum; empty: any
    double minimum = -std::numeric_limits<double>::infinity();
    double maximum = std::numeric_limits<double>::infinity();
    std::size_t min_size = 0;  // characters or items
    std::size_t max_size = std::numeric_limits<std::size_t>::max();
    std::size_t max_properties = std::numeric_limits<std::size_t>::max();
    const SchemaNode* items = nullptr;
    std::vector<Member> members;
    std::uint64_t required = 0;  // bit i: members[i] must be there
    bool others_allowed = true;
    const SchemaNode* others = nullptr;
    const SchemaNode* names = nullptr;

    // Behind the references.
    const SchemaNode& target() const { return same_as == nullptr ? *this : same_as->target(); }
    // Position in `members`, or their number.
    std::size_t find(std::string_view name) const {
        std::size_t i = 0;
        while (i < members.size() && members[i].name != name) {
            ++i;
        }
        return i;
    }

    bool accepts(const nlohmann::json& value) const;
    bool accepts_text(std::string_view text) const;  // its length alone
    bool accepts_number(double value) const { return value >= minimum && value <= maximum; }

 private:
    bool accepts_items(const nlohmann::json& value) const;
    bool accepts_members(const nlohmann::json& value) const;
};

class Acceptor {
 public:
    // `document` holds every schema; all "$ref" in it are pointers into it ("#/job/...").
    explicit Acceptor(const nlohmann::json& document);

    // True: the schema at this JSON pointer accepts the value. False: not known here.
    bool accepts(const std::string& pointer, const nlohmann::json& value) const;
    // nullptr: no schema is there.
    const SchemaNode* at(const std::string& pointer) const;

 private:
    const SchemaNode* compile(const nlohmann::json& schema);
    const SchemaNode* compile_at(const std::string& pointer);
    static void read_limits(SchemaNode& node, const nlohmann::json& schema);
    void read_children(SchemaNode& node, const nlohmann::json& schema);

    const nlohmann::json* document_;  // while compiling
    std::map<std::string, const SchemaNode*> by_pointer_;
    std::vector<std::unique_ptr<SchemaNode>> nodes_;
};

}  // namespace bitsweep::codec
