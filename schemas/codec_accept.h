// Inside the codec only: a quick yes. Most of what arrives is right, and the validator library
// takes more time to say so than everything else that a message costs (measured:
// tests/bench/dispatch). What this does not accept, or does not understand, the library judges and
// puts into words.
#pragma once

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace bitsweep::codec {

class Acceptor {
 public:
    // `document` holds every schema; all "$ref" in it are pointers into it ("#/job/...").
    explicit Acceptor(const nlohmann::json& document);
    ~Acceptor();

    // True: the schema at this JSON pointer accepts the value. False: not known here.
    bool accepts(const std::string& pointer, const nlohmann::json& value) const;

 private:
    struct Node;
    const Node* compile(const nlohmann::json& schema);
    const Node* compile_at(const std::string& pointer);
    static void read_limits(Node& node, const nlohmann::json& schema);
    void read_children(Node& node, const nlohmann::json& schema);

    const nlohmann::json* document_;  // while compiling
    std::map<std::string, const Node*> by_pointer_;
    std::vector<std::unique_ptr<Node>> nodes_;
};

}  // namespace bitsweep::codec
