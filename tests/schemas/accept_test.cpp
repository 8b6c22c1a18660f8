// The quick yes of the codec against the validator library: it must never accept what the library
// refuses, and it must accept what is right, else it would be of no use.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "schemas/codec_fields.h"

namespace bitsweep::codec {
namespace {

namespace fs = std::filesystem;

struct Example {
    std::string name;
    std::string pointer;
    Json json;
};

std::vector<Example> examples(const std::string& folder) {
    std::vector<Example> out;
    for (const auto& entry :
         fs::directory_iterator(fs::path(BITSWEEP_SOURCE_DIR) / "schemas/examples" / folder)) {
        const std::string name = entry.path().filename().string();
        const std::string noun = name.substr(0, name.find('.'));
        std::ifstream in(entry.path());
        Json json =
            Json::parse(std::string(std::istreambuf_iterator<char>(in), {}), nullptr, false);
        if (json.is_discarded() || !json.is_object()) {
            continue;
        }
        std::string pointer = "/" + noun;
        if (noun == "message") {
            pointer += "/definitions/" + json.value("type", std::string("hello"));
        }
        out.push_back({name, pointer, std::move(json)});
    }
    return out;
}

// Every value inside, the root included.
void collect(Json& root, std::vector<Json*>& values) {
    values.push_back(&root);
    if (root.is_structured()) {
        for (Json& child : root) {
            collect(child, values);
        }
    }
}

// One random damage: another value, a member less or more, an item twice.
void damage(Json& root, std::mt19937_64& random) {
    static const std::vector<Json> strangers = {nullptr,
                                                true,
                                                0,
                                                -1,
                                                1,
                                                3.5,
                                                1e300,
                                                18446744073709551615ull,
                                                "",
                                                "x",
                                                "../up",
                                                std::string(2'000, 'x'),
                                                "\xc3\xa4\xc3\xb6",
                                                Json::array(),
                                                Json::object(),
                                                Json::array({1, "a"}),
                                                Json::object({{"a", 1}})};
    std::vector<Json*> values;
    collect(root, values);
    Json& victim = *values[random() % values.size()];
    const Json& stranger = strangers[random() % strangers.size()];
    if (victim.is_object() && random() % 2 == 0) {
        if (!victim.empty() && random() % 2 == 0) {
            victim.erase(std::next(victim.begin(), static_cast<long>(random() % victim.size())));
        } else {
            victim["stranger"] = stranger;
        }
    } else if (victim.is_array() && random() % 2 == 0) {
        victim.push_back(victim.empty() ? stranger : victim[random() % victim.size()]);
    } else {
        victim = stranger;
    }
}

TEST(Accept, what_is_right_gets_its_yes_without_the_library) {
    int quick = 0;
    for (const Example& example : examples("valid")) {
        if (example.pointer != "/experiment") {
            EXPECT_TRUE(accepts_quickly(example.pointer, example.json)) << example.name;
            ++quick;
        }
    }
    EXPECT_GT(quick, 20);
}

TEST(Accept, what_is_wrong_gets_no_yes) {
    for (const Example& example : examples("invalid")) {
        if (!judge_by_library(example.pointer, example.json)) {
            EXPECT_FALSE(accepts_quickly(example.pointer, example.json)) << example.name;
        }
    }
}

TEST(Accept, after_any_damage_a_quick_yes_is_also_the_librarys) {
    std::mt19937_64 random(20'261'124);
    int still_accepted = 0;
    int refused = 0;
    for (const Example& example : examples("valid")) {
        if (example.pointer == "/experiment") {
            continue;
        }
        for (int round = 0; round < 150; ++round) {
            Json damaged = example.json;
            damage(damaged, random);
            const bool quick = accepts_quickly(example.pointer, damaged);
            const bool library = judge_by_library(example.pointer, damaged).ok();
            ASSERT_TRUE(library || !quick) << example.name << ": " << damaged.dump();
            still_accepted += quick ? 1 : 0;
            refused += library ? 0 : 1;
        }
    }
    EXPECT_GT(still_accepted, 100);
    EXPECT_GT(refused, 1'000);
}

TEST(Accept, a_schema_that_is_not_there_accepts_nothing) {
    EXPECT_FALSE(accepts_quickly("/message/definitions/nothing", Json::object()));
    EXPECT_FALSE(accepts_quickly("", Json::object()));
}

}  // namespace
}  // namespace bitsweep::codec
