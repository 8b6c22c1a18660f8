// Which line makes a cell, or leaves it out.
#include "coordinator/expand/explain.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/expand/files.h"

namespace bitsweep::testing {
namespace {

constexpr const char* yaml = R"(experiment: a
defaults:
  new_tokens: 9
matrix:
  model: [llama-nano, gpt2-nano]
  method:
    - fp16
    - nf4
    - llmint8-bnb
  threshold: [0, 6]
  gpu: cpu
  repeat: 1
exclude:
  - {model: gpt2-nano, method: nf4}
include:
  - {model: opt-nano, method: int8}
where: not (method == 'fp16' and family == 'gpt2')
)";

Result<CellExplanation> explain(const Overrides& conditions, const Overrides& overrides = {}) {
    return explain_cells(ExperimentText{yaml, "a.yaml", overrides, {}}, conditions);
}

std::string message_of(const Overrides& conditions) {
    const Result<CellExplanation> result = explain(conditions);
    return result ? "explained" : result.error().message;
}

TEST(ExplainCell, ACellNamesTheLineOfEachValue) {
    const Result<CellExplanation> got =
        explain({{"model", "llama-*"}, {"method", "llmint8-bnb"}, {"threshold", ">3"}});
    ASSERT_TRUE(got.ok()) << got.error().message;
    ASSERT_EQ(got->cells.size(), 1u);
    const ExplainedCell& cell = got->cells[0];
    EXPECT_EQ(cell.fate, "cell");
    EXPECT_EQ(cell.place, "a.yaml:9:7");
    const auto place = [&](const std::string& field) {
        const auto found = std::ranges::find(cell.from, field, &ExplainedCell::From::field);
        return found == cell.from.end() ? "absent" : found->value + " " + found->place;
    };
    EXPECT_EQ(place("model"), "llama-nano a.yaml:5:11");
    EXPECT_EQ(place("threshold"), "6 a.yaml:10:18");
    EXPECT_EQ(place("new_tokens"), "9 a.yaml:3:15");
    EXPECT_EQ(place("batch"), "1 ");
    EXPECT_EQ(place("calibration"), "absent");
}

TEST(ExplainCell, WhatTheMethodDoesNotReadIsFoundAndSaidToBeDropped) {
    const Result<CellExplanation> got =
        explain({{"model", "llama-nano"}, {"method", "nf4"}, {"threshold", "6"}});
    ASSERT_TRUE(got.ok()) << got.error().message;
    ASSERT_EQ(got->cells.size(), 1u);
    EXPECT_EQ(got->cells[0].fate, "merged: equal to a cell above");
    EXPECT_EQ(got->cells[0].why, "threshold 6 dropped: nf4 does not read it");
    // bitsweep's own default is nothing that anybody asked for.
    EXPECT_EQ(message_of({{"method", "nf4"}, {"alpha", "0.5"}}),
              "no combination has `alpha=0.5`; `alpha` is not set");
}

TEST(ExplainCell, ATextKeepsItsLineBreaks) {
    const Result<CellExplanation> got = explain({{"model", "llama-nano"}, {"method", "fp16"}},
                                                {{"prompt", "\"x\\ny\""}, {"threshold", "6"}});
    ASSERT_TRUE(got.ok()) << got.error().message;
    const auto& from = got->cells.at(0).from;
    EXPECT_EQ(std::ranges::find(from, "prompt", &ExplainedCell::From::field)->value, "x\ny");
}

TEST(ExplainCell, AValueOfTheCommandLineIsNoDefault) {
    const Result<CellExplanation> got =
        explain({{"model", "llama-nano"}, {"method", "nf4"}},
                {{"new_tokens", "5"}, {"threshold", "3"}, {"where", "method == 'fp16'"}});
    ASSERT_TRUE(got.ok()) << got.error().message;
    ASSERT_EQ(got->cells.size(), 1u);
    EXPECT_EQ(got->cells[0].fate, "removed by where");
    EXPECT_EQ(got->cells[0].place, "--set");
    const auto from = [&](const std::string& field) {
        return std::ranges::find(got->cells[0].from, field, &ExplainedCell::From::field)->place;
    };
    EXPECT_EQ(from("new_tokens"), "--set");
    EXPECT_EQ(from("batch"), "");
}

TEST(ExplainCell, ATemplateSaysWhatItsWhereAsksOfTheCard) {
    const Result<CellExplanation> got =
        explain_cells(ExperimentText{"experiment: a\nmatrix: {model: llama-3.1-8b, method: fp16, "
                                     "gpu: {each: any}, repeat: 1}\nwhere: layers < vram_gib\n",
                                     "a.yaml",
                                     {},
                                     {}},
                      {});
    ASSERT_TRUE(got.ok()) << got.error().message;
    ASSERT_EQ(got->cells.size(), 1u);
    EXPECT_EQ(got->cells[0].fate, "cell");
    EXPECT_EQ(got->cells[0].why,
              "where the card meets `32 < vram_gib`: of the known cards not T4, V100-16GB, "
              "RTX-4080, A10, A10G, L4, RTX-3090, RTX-4090, RTX-5090, V100-32GB");
}

TEST(ExplainCell, AnExcludedOneNamesTheRule) {
    const Result<CellExplanation> got = explain({{"model", "gpt2-nano"}, {"method", "nf4"}});
    ASSERT_TRUE(got.ok());
    ASSERT_EQ(got->cells.size(), 2u);  // one for each threshold that nf4 does not read
    EXPECT_EQ(got->cells[0].fate, "excluded");
    EXPECT_EQ(got->cells[0].place, "a.yaml:14:5");
}

TEST(ExplainCell, OneThatWhereRemovesSaysWithWhichValues) {
    const Result<CellExplanation> got = explain({{"model", "gpt2-nano"}, {"method", "fp16"}});
    ASSERT_TRUE(got.ok());
    EXPECT_EQ(got->cells[0].fate, "removed by where");
    EXPECT_EQ(got->cells[0].place, "a.yaml:17:8");
    EXPECT_EQ(got->cells[0].why,
              "not (method == 'fp16' and family == 'gpt2') (method fp16, family gpt2)");
}

TEST(ExplainCell, EqualOnesAreMergedAndIncludedOnesNameTheirInclusion) {
    const Result<CellExplanation> same = explain({{"model", "llama-nano"}, {"method", "nf4"}});
    ASSERT_TRUE(same.ok());
    ASSERT_EQ(same->cells.size(), 2u);
    EXPECT_EQ(same->cells[0].fate, "cell");
    EXPECT_EQ(same->cells[1].fate, "merged: equal to a cell above");
    const Result<CellExplanation> added = explain({{"model", "opt-nano"}});
    ASSERT_TRUE(added.ok());
    EXPECT_EQ(added->cells[0].place, "a.yaml:16:5");
}

TEST(ExplainCell, WhatNothingFitsIsSaidWithWhatThereIs) {
    EXPECT_EQ(message_of({{"method", "int4-g64"}}),
              "no combination has `method=int4-g64`; `method` is fp16, nf4, llmint8-bnb, int8");
    EXPECT_EQ(message_of({{"method", "int8"}, {"model", "llama-nano"}}),
              "each condition fits something, but no combination fits all of them");
    EXPECT_EQ(message_of({{"methd", "fp16"}}),
              "methd=fp16: unknown field `methd`; did you mean `method`?");
    EXPECT_EQ(message_of({{"batch", "many"}}),
              "batch=many: `batch` must be a whole number from 1 to 4096, not `many`");
}

TEST(ExplainCell, AnExperimentOfWhichNothingIsLeftIsExplainedToo) {
    const Result<CellExplanation> got = explain({}, {{"where", "false"}});
    ASSERT_TRUE(got.ok()) << got.error().message;
    EXPECT_GT(got->matching, 5);
    EXPECT_TRUE(std::ranges::none_of(
        got->cells, [](const ExplainedCell& cell) { return cell.fate == "cell"; }));
}

}  // namespace
}  // namespace bitsweep::testing
