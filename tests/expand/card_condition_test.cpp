// What `where` of a template leaves to the card that attaches, and what the card then says.
#include "coordinator/expand/card_condition.h"

#include <gtest/gtest.h>

#include "schemas/catalog/cards.h"
#include "tests/expand/files.h"

namespace bitsweep::testing {
namespace {

DeviceInfo device(const std::string& kind, double vram_gib = 0) {
    DeviceInfo info;
    info.kind = kind;
    info.memory_bytes = static_cast<std::uint64_t>(vram_gib * 1024 * 1024 * 1024);
    return info;
}

// The condition that a template of this `where` is left with.
std::string left_of(const std::string& where, const std::string& more = "") {
    const Expansion expansion = expanded(
        "experiment: a\nmatrix: {model: llama-3.1-8b, method: fp16, gpu: {each: any}, repeat: "
        "1}\n" +
        more + "where: \"" + where + "\"\n");
    EXPECT_EQ(expansion.cells.size(), 1u);
    return expansion.cells.at(0).card_condition.value_or("nothing");
}

bool runs(const std::string& where, const DeviceInfo& on, const std::string& more = "") {
    return decide_for_card(left_of(where, more), card_facts(on)).runs;
}

TEST(CardCondition, EverythingButTheCardIsPutIn) {
    EXPECT_EQ(left_of("layers < vram_gib"), "32 < vram_gib");
    EXPECT_EQ(left_of("layers * 2 + batch < vram_gib * 0.5"), "65 < (vram_gib * 0.5)");
    EXPECT_EQ(left_of("batch == 2 or sm in [80, 90]"), "sm in [80, 90]");
    EXPECT_EQ(left_of("not (bandwidth_gbs < 1000)"), "not (bandwidth_gbs < 1000)");
    EXPECT_EQ(left_of("matches(gpu, '*H100*')"), "matches(gpu, '*H100*')");
    EXPECT_EQ(left_of("min(vram_gib, 40) - -1 > if(sm > 80, 20, 30)"),
              "(min(vram_gib, 40) - (-1)) > if((sm > 80), 20, 30)");
}

TEST(CardCondition, ADerivedValueThatReadsTheCardIsWrittenOut) {
    const std::string derive = "derive: {room: vram_gib * 0.9, half: room / 2}\n";
    EXPECT_EQ(left_of("layers < half", derive), "32 < ((vram_gib * 0.9) / 2)");
}

TEST(CardCondition, WhatAsksNothingOfTheCardLeavesNothing) {
    EXPECT_EQ(left_of("layers > 10"), "nothing");
    EXPECT_EQ(left_of("threshold > 3"), "nothing");  // of no method here: kept, and counted
    EXPECT_EQ(left_of("layers > 10 or vram_gib > 5"), "nothing");
    EXPECT_EQ(left_of("not known(vram_gib) or vram_gib > 5"), "nothing");
}

TEST(CardCondition, ACellOfANamedKindIsLeftWithNone) {
    const Expansion expansion = expanded(
        "experiment: a\nmatrix: {model: llama-3.1-8b, method: fp16, gpu: [T4, A100-80GB], repeat: "
        "1}\nwhere: weight_gib < vram_gib * 0.9\n");
    ASSERT_EQ(expansion.cells.size(), 1u);
    EXPECT_EQ(expansion.cells[0].spec.gpu, "A100-80GB");
    EXPECT_FALSE(expansion.cells[0].card_condition);
}

TEST(CardCondition, TheAttachedCardSaysItsMemoryItself) {
    const std::string where = "weight_gib < vram_gib * 0.9";  // 15.0 GiB of fp16
    EXPECT_FALSE(runs(where, device("Tesla-T4-15GB-70W", 14.6)));
    EXPECT_TRUE(runs(where, device("Tesla-T4-15GB-70W", 20)));
    EXPECT_TRUE(runs(where, device("NVIDIA-H100-80GB-HBM3-80GB-700W", 79.6)));
    EXPECT_FALSE(runs(where, device("NVIDIA-H100-80GB-MIG-1g.10gb", 9.8)));
    // Nobody says its memory: by the table of cards.
    EXPECT_FALSE(runs(where, device("T4")));
    EXPECT_TRUE(runs(where, device("H200")));
}

TEST(CardCondition, WhatCannotBeToldRuns) {
    EXPECT_TRUE(runs("weight_gib < vram_gib", device("cpu", 4)));
    EXPECT_TRUE(runs("sm >= 80", device("some-new-card", 64)));
    for (const std::string broken : {"1 <", "vram_gib", "nonsense(3)", "1 / (vram_gib - 8) > 0"}) {
        const CardVerdict verdict = decide_for_card(broken, card_facts(device("x", 8)));
        EXPECT_TRUE(verdict.runs) << broken;
        EXPECT_NE(verdict.why, "") << broken;
    }
    EXPECT_TRUE(decide_for_card("", card_facts(device("T4"))).runs);
}

TEST(CardCondition, TheVerdictSaysWhatItRead) {
    const CardVerdict verdict =
        decide_for_card("15.5 < (vram_gib * 0.9)", card_facts(device("T4-15GB", 14.625)));
    EXPECT_FALSE(verdict.runs);
    EXPECT_EQ(verdict.why, "`15.5 < (vram_gib * 0.9)` (vram_gib 14.62)");
}

// A condition that went through text decides as the expression itself does where the kind is named.
TEST(CardCondition, ItDecidesAsAFileThatNamesTheKinds) {
    const std::vector<std::string> wheres{
        "weight_gib < vram_gib * 0.9",        "memory_gib / vram_gib <= 0.31",
        "bandwidth_gbs // 1000 == 2",         "if(sm >= 89, vram_gib > 30, batch > 1)",
        "log2(vram_gib) - sqrt(batch) > 4.2", "max(vram_gib, layers) == layers and not (sm == 75)"};
    for (const std::string& where : wheres) {
        const std::string left = left_of(where);
        for (const Card& card : card_table()) {
            const Result<Expansion> named =
                expand_yaml("experiment: a\nmatrix: {model: llama-3.1-8b, method: fp16, gpu: " +
                                std::string(card.name) + ", repeat: 1}\nwhere: \"" + where + "\"\n",
                            "a.yaml", {});
            EXPECT_EQ(decide_for_card(left, card_facts(device(std::string(card.name)))).runs,
                      named.ok())
                << where << " on " << card.name;
        }
    }
}

}  // namespace
}  // namespace bitsweep::testing
