// schemas/examples: NOUN.what-it-shows.json, valid ones and wrong ones. They document the schemas
// for peers in other languages, so both the schema and the reader must agree with each.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "schemas/codec.h"

namespace bitsweep {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

struct Example {
    std::string file;
    Noun noun;
    std::string text;
};

std::vector<Example> examples(const std::string& folder) {
    std::vector<Example> out;
    for (const auto& entry :
         fs::directory_iterator(fs::path(BITSWEEP_SOURCE_DIR) / "schemas" / "examples" / folder)) {
        const std::string name = entry.path().filename().string();
        const std::string noun = name.substr(0, name.find('.'));
        std::ifstream stream(entry.path(), std::ios::binary);
        out.push_back({name,
                       noun == "job"       ? Noun::job
                       : noun == "result"  ? Noun::result
                       : noun == "message" ? Noun::message
                                           : Noun::experiment,
                       std::string(std::istreambuf_iterator<char>(stream), {})});
    }
    std::ranges::sort(out, {}, &Example::file);
    return out;
}

// Read and written again, or the error's message.
std::string through(const Example& example) {
    switch (example.noun) {
        case Noun::job: {
            const Result<JobSpec> job = job_from_json(example.text);
            return job ? to_json(*job) : "refused: " + job.error().message;
        }
        case Noun::result: {
            const Result<RunResult> result = result_from_json(example.text);
            return result ? to_json(*result) : "refused: " + result.error().message;
        }
        case Noun::message: {
            const Result<Message> message = message_from_json(example.text);
            return message ? to_json(*message) : "refused: " + message.error().message;
        }
        case Noun::experiment:
            break;
    }
    const Status valid = validate(Noun::experiment, example.text);
    return valid ? example.text : "refused: " + valid.error().message;
}

TEST(Examples, EveryValidOneIsAcceptedByItsSchemaAndReader) {
    const std::vector<Example> all = examples("valid");
    EXPECT_GE(all.size(), 20u);
    for (const Example& example : all) {
        SCOPED_TRACE(example.file);
        const Status valid = validate(example.noun, example.text);
        EXPECT_TRUE(valid.ok()) << (valid.ok() ? "" : valid.error().message);
        EXPECT_FALSE(through(example).starts_with("refused")) << through(example);
    }
}

TEST(Examples, EveryValidOneKeepsItsValuesThroughTheReader) {
    for (const Example& example : examples("valid")) {
        SCOPED_TRACE(example.file);
        const Json before = Json::parse(example.text).flatten();
        const Json after = Json::parse(through(example)).flatten();
        for (const auto& [path, value] : before.items()) {
            // A threshold of null is written as no threshold.
            if (path != "/threshold" || !value.is_null()) {
                ASSERT_TRUE(after.contains(path)) << path;
                EXPECT_EQ(after[path], value) << path;
            }
        }
    }
}

TEST(Examples, EveryWrongOneIsRefusedByItsSchemaAndReader) {
    const std::vector<Example> all = examples("invalid");
    EXPECT_GE(all.size(), 25u);
    for (const Example& example : all) {
        SCOPED_TRACE(example.file);
        EXPECT_FALSE(validate(example.noun, example.text).ok());
        EXPECT_TRUE(through(example).starts_with("refused"));
    }
}

TEST(Examples, EveryMessageTypeHasAValidExample) {
    std::set<std::string> shown;
    for (const Example& example : examples("valid")) {
        if (example.noun == Noun::message) {
            shown.insert(Json::parse(example.text).at("type").get<std::string>());
        }
    }
    std::set<std::string> known;
    const Json schema = Json::parse(schema_text(Noun::message));
    for (const Json& one : schema.at("oneOf")) {
        const std::string reference = one.at("$ref").get<std::string>();
        known.insert(reference.substr(reference.rfind('/') + 1));
    }
    EXPECT_EQ(shown, known);
    EXPECT_EQ(known.size(), std::variant_size_v<Message>);
}

TEST(Schemas, EachIsTheFileOfTheSourceTree) {
    for (const auto& [noun, name] : {std::pair{Noun::experiment, "experiment"},
                                     {Noun::job, "job"},
                                     {Noun::result, "result"},
                                     {Noun::message, "message"}}) {
        std::ifstream stream(fs::path(BITSWEEP_SOURCE_DIR) / "schemas" /
                             (std::string(name) + ".schema.json"));
        EXPECT_EQ(std::string(std::istreambuf_iterator<char>(stream), {}), schema_text(noun));
        EXPECT_EQ(Json::parse(schema_text(noun)).at("title"), name);
    }
}

// Objects without a bound, or strings and lists without one, would let a peer fill the memory.
void check_bounded(const Json& node, const std::string& path) {
    if (node.is_object()) {
        const Json type = node.value("type", Json());
        const auto is = [&](const char* name) {
            return type == name || (type.is_array() && std::ranges::find(type, name) != type.end());
        };
        if (is("string") && node.size() > 1) {
            EXPECT_TRUE(node.contains("maxLength")) << path;
        }
        if (is("array")) {
            EXPECT_TRUE(node.contains("maxItems")) << path;
        }
        if (is("integer")) {
            EXPECT_TRUE(node.contains("minimum") && node.contains("maximum")) << path;
        }
        if (is("object")) {
            const bool closed = node.value("additionalProperties", Json(true)) == false;
            EXPECT_TRUE(closed || node.contains("maxProperties")) << path;
        }
        for (const auto& [key, child] : node.items()) {
            check_bounded(child, path + "/" + key);
        }
    } else if (node.is_array()) {
        for (std::size_t i = 0; i < node.size(); ++i) {
            check_bounded(node[i], path + "/" + std::to_string(i));
        }
    }
}

TEST(Schemas, EverythingThatTravelsIsBounded) {
    for (const Noun noun : {Noun::job, Noun::result, Noun::message}) {
        check_bounded(Json::parse(schema_text(noun)), "");
    }
}

}  // namespace
}  // namespace bitsweep
