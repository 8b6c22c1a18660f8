// `extends`: an experiment that begins as another one.
#include <gtest/gtest.h>

#include <map>

#include "tests/expand/files.h"

namespace bitsweep::testing {
namespace {

using Shelf = std::map<std::string, std::string>;

Result<Expansion> expand_with(const Shelf& shelf, const std::string& yaml,
                              const Overrides& overrides = {}) {
    const auto read = [&](const std::string& path) -> Result<std::string> {
        const auto found = shelf.find(path);
        if (found == shelf.end()) {
            return make_error(ErrorCode::not_found, "there is no " + path);
        }
        return found->second;
    };
    return expand_yaml(ExperimentText{yaml, "dir/top.yaml", overrides, read});
}

std::string message_of(const Shelf& shelf, const std::string& yaml) {
    const Result<Expansion> result = expand_with(shelf, yaml);
    return result ? "accepted" : result.error().message;
}

constexpr const char* base = R"(experiment: base
question: why
jobs: 9
defaults: {new_tokens: 9, batch: 2}
matrix:
  model: [llama-nano, gpt2-nano]
  method: [fp16, nf4]
  gpu: cpu
  repeat: 1
exclude: [{model: gpt2-nano, method: nf4}]
tags: {a: x, b: y}
order: listed
)";

TEST(Extends, MapsMergeKeyByKeyAndTheRestReplaces) {
    const Result<Expansion> got = expand_with({{"base.yaml", base}}, R"(experiment: top
extends: base.yaml
defaults: {batch: 4}
matrix: {method: [int8], seed: [1, 2]}
exclude: [{model: gpt2-nano, seed: 1}]
tags: {b: z}
)");
    ASSERT_TRUE(got.ok()) << got.error().message;
    EXPECT_EQ(got->experiment.value, "top");
    EXPECT_EQ(got->question, "why");
    EXPECT_EQ(got->tags, (std::map<std::string, std::string>{{"a", "x"}, {"b", "z"}}));
    ASSERT_EQ(got->cells.size(), 3u);
    for (const Cell& cell : got->cells) {
        EXPECT_EQ(cell.spec.method, "int8");
        EXPECT_EQ(cell.spec.batch, 4);
        EXPECT_EQ(cell.spec.new_tokens, 9);
    }
    // The base's order of axes: model is slowest.
    EXPECT_EQ(got->cells[0].spec.model.name, "llama-nano");
    EXPECT_EQ(got->cells[1].spec.model.name, "llama-nano");
    EXPECT_EQ(got->cells[2].spec.model.name, "gpt2-nano");
    ASSERT_EQ(got->bases.size(), 1u);
    EXPECT_EQ(got->bases[0].first, "base.yaml");
}

TEST(Extends, NothingRemovesAKeyOfTheBase) {
    const Result<Expansion> got = expand_with({{"base.yaml", base}}, R"(experiment: top
extends: base.yaml
exclude: ~
matrix: {model: ~, method: fp16}
defaults: {model: opt-nano}
)");
    ASSERT_TRUE(got.ok()) << got.error().message;
    ASSERT_EQ(got->cells.size(), 1u);
    EXPECT_EQ(got->cells[0].spec.model.name, "opt-nano");
}

TEST(Extends, ChainsAreFollowedFromTheFolderOfEachFile) {
    const Shelf shelf = {{"common/mid.yaml",
                          "experiment: mid\nextends: deep/base.yaml\n"
                          "defaults: {batch: 8}\n"},
                         {"common/deep/base.yaml", base}};
    const Result<Expansion> got =
        expand_with(shelf, "experiment: top\nextends: common/mid.yaml\n", {{"new_tokens", "5"}});
    ASSERT_TRUE(got.ok()) << got.error().message;
    EXPECT_EQ(got->cells.size(), 3u);
    EXPECT_EQ(got->cells[0].spec.batch, 8);
    EXPECT_EQ(got->cells[0].spec.new_tokens, 5);
}

TEST(Extends, MistakesOfABaseNameItsOwnFileAndLine) {
    const Shelf shelf = {{"sub/base.yaml", "experiment: b\nmatrix:\n  modle: llama-nano\n"}};
    EXPECT_EQ(message_of(shelf, "experiment: top\nextends: sub/base.yaml\n"),
              "dir/sub/base.yaml:3:3: unknown field `modle`; did you mean `model`?");
    EXPECT_EQ(message_of({{"base.yaml", "- a\n"}}, "experiment: top\nextends: base.yaml\n"),
              "dir/base.yaml:1:1: an experiment is a map of keys, not a list");
    EXPECT_EQ(message_of({{"base.yaml", "a: [\n"}}, "experiment: top\nextends: base.yaml\n")
                  .substr(0, 14),
              "dir/base.yaml:");
}

TEST(Extends, PathsThatLeaveTheFolderAreRefused) {
    for (const char* path :
         {"../base.yaml", "/etc/passwd", "sub/../../x.yaml", "..", ".", "a\\..\\b", "sub/"}) {
        const std::string message =
            message_of({}, "experiment: top\nextends: '" + std::string(path) + "'\n");
        EXPECT_EQ(message, "dir/top.yaml:2:10: `extends: " + std::string(path) +
                               "` must be a relative path below this experiment's folder");
    }
    EXPECT_EQ(message_of({}, "experiment: top\nextends: none.yaml\n"),
              "dir/top.yaml:2:10: `extends: none.yaml`: there is no none.yaml");
    EXPECT_EQ(message_of({}, "experiment: top\nextends: [a, b]\n"),
              "dir/top.yaml:2:10: `extends` is the path of one experiment file, not a list");
}

TEST(Extends, CyclesAndLongChainsAreRefused) {
    EXPECT_EQ(message_of({}, "experiment: top\nextends: top.yaml\n"),
              "dir/top.yaml:2:10: `top.yaml` extends itself in the end");
    const Shelf two = {{"a.yaml", "experiment: a\nextends: b.yaml\n"},
                       {"b.yaml", "experiment: b\nextends: ./a.yaml\n"}};
    EXPECT_EQ(message_of(two, "experiment: top\nextends: a.yaml\n"),
              "dir/b.yaml:2:10: `a.yaml` extends itself in the end");
    Shelf chain;
    for (int i = 0; i < 20; ++i) {
        chain["f" + std::to_string(i) + ".yaml"] =
            "experiment: f\nextends: f" + std::to_string(i + 1) + ".yaml\n";
    }
    EXPECT_EQ(message_of(chain, "experiment: top\nextends: f0.yaml\n"),
              "dir/f7.yaml:2:10: more than 8 files extend each other");
}

TEST(Extends, TheExtendingFileNamesItself) {
    EXPECT_EQ(message_of({{"base.yaml", base}}, "extends: base.yaml\n"),
              "dir/top.yaml:1:1: `experiment` is missing");
}

}  // namespace
}  // namespace bitsweep::testing
