// The tables of cards and shapes that an experiment file names.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "schemas/catalog/cards.h"
#include "schemas/catalog/shapes.h"
#include "schemas/catalog/windows.h"

namespace bitsweep {
namespace {

std::string card_of(std::string_view kind) {
    const Card* card = find_card(kind);
    return card == nullptr ? "none" : std::string(card->name);
}

TEST(Cards, AreSortedByMemoryAndHaveTheirOwnNames) {
    std::set<std::string_view> names;
    double before = 0;
    for (const Card& card : card_table()) {
        EXPECT_TRUE(names.insert(card.name).second) << card.name;
        EXPECT_GE(card.vram_gib, before) << card.name;
        EXPECT_EQ(card_of(card.name), card.name);
        EXPECT_GE(card.sm, 70);
        EXPECT_GT(card.bandwidth_gbs, 100);
        before = card.vram_gib;
    }
}

TEST(Cards, AreFoundByAnyWordOfTheirKind) {
    const std::map<std::string, std::string> want = {
        {"t4", "T4"},
        {"Tesla-T4-15GB-70W", "T4"},
        {"NVIDIA-H200-141GB-700W", "H200"},
        {"h100", "H100-80GB"},
        {"NVIDIA H100 80GB HBM3", "H100-80GB"},
        {"a100", "A100-40GB"},  // the smaller of two: nothing is planned that it cannot hold
        {"A100-SXM4-80GB", "A100-80GB"},
        {"A100-SXM4-40GB", "A100-40GB"},
        {"A10", "A10"},
        {"rtx-4090", "RTX-4090"},
        {"4090", "none"},
        {"T400", "none"},
        {"cpu", "none"},
        {"*", "none"},
        {"", "none"}};
    for (const auto& [kind, name] : want) {
        EXPECT_EQ(card_of(kind), name) << kind;
    }
}

TEST(Cards, TheSmallestThatHoldsASizeIsNamed) {
    EXPECT_EQ(smallest_card(1)->name, "T4");
    EXPECT_EQ(smallest_card(15.0)->name, "T4");
    EXPECT_EQ(smallest_card(15.1)->vram_gib, 16.0);
    EXPECT_EQ(smallest_card(100)->name, "H200");
    EXPECT_EQ(smallest_card(1000), nullptr);
    EXPECT_EQ(nearest_card("H20O"), "H200");
}

// What people call these models is their size, in millions or billions: a row that was typed wrong
// would be far from it. (The published counts themselves: tests/inference/shapes_test.cpp.)
TEST(Shapes, EveryFamilyOfTheGrammarIsThereAndAsLargeAsItsName) {
    const std::map<std::string, double> millions = {{"gpt2", 124},
                                                    {"gpt2-medium", 355},
                                                    {"gpt2-large", 774},
                                                    {"gpt2-xl", 1558},
                                                    {"dialogpt-small", 124},
                                                    {"dialogpt-medium", 355},
                                                    {"dialogpt-large", 774},
                                                    {"opt-125m", 125},
                                                    {"opt-350m", 331},
                                                    {"opt-1.3b", 1316},
                                                    {"opt-2.7b", 2652},
                                                    {"opt-6.7b", 6658},
                                                    {"opt-13b", 12853},
                                                    {"opt-30b", 29975},
                                                    {"opt-66b", 65720},
                                                    {"llama-3-8b", 8030},
                                                    {"llama-3-70b", 70554},
                                                    {"llama-3.1-8b", 8030},
                                                    {"llama-3.1-70b", 70554},
                                                    {"llama-3.1-405b", 405853},
                                                    {"llama-3.2-1b", 1236},
                                                    {"llama-3.2-3b", 3213},
                                                    {"llama-3.3-70b", 70554},
                                                    {"qwen2.5-0.5b", 494},
                                                    {"qwen2.5-1.5b", 1544},
                                                    {"qwen2.5-3b", 3086},
                                                    {"qwen2.5-7b", 7616},
                                                    {"qwen2.5-14b", 14770},
                                                    {"qwen2.5-32b", 32764},
                                                    {"qwen2.5-72b", 72706},
                                                    {"mistral-7b", 7242},
                                                    {"smollm2-135m", 135},
                                                    {"smollm2-360m", 362},
                                                    {"smollm2-1.7b", 1711}};
    for (const auto& [name, size] : millions) {
        const ModelShape* shape = find_shape(name);
        ASSERT_NE(shape, nullptr) << name;
        EXPECT_NEAR(static_cast<double>(shape_parameters(*shape)) / 1e6, size, 0.6) << name;
        EXPECT_EQ(shape_parameters(*shape), shape->parameters) << name;
    }
}

TEST(Windows, EveryFlagHasItsWordsAndADriftSaysItsNumbers) {
    std::set<std::string_view> names;
    for (const WindowFlag& flag : window_flags()) {
        EXPECT_TRUE(names.insert(flag.metric).second) << flag.metric;
        EXPECT_EQ(why_invalid({{std::string(flag.metric), 1}}, {}), flag.reason);
        EXPECT_EQ(why_invalid({{std::string(flag.metric), 0}}, {}), "");
        EXPECT_NE(window_flags_sql().find("'" + std::string(flag.metric) + "'"), std::string::npos);
    }
    const std::vector<double> rising = {100, 102, 104, 106, 108, 110, 112, 114, 116, 118};
    const std::string moved = "drift (its rate moved by 18.0 % from first to last)";
    EXPECT_EQ(why_invalid({{std::string(rate_drift_metric), 1}}, rising), moved);
    EXPECT_EQ(why_invalid({}, rising), moved);
    EXPECT_EQ(why_invalid({{"window_throttled", 1}}, rising), "throttled");
}

}  // namespace
}  // namespace bitsweep
