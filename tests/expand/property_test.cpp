// What must hold for every matrix.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <random>
#include <set>

#include "tests/expand/files.h"

namespace bitsweep::testing {
namespace {

std::vector<std::string> keys_of(const Expansion& expansion) {
    std::vector<std::string> keys;
    for (const Cell& cell : expansion.cells) {
        keys.push_back(cell.identity.spec_key);
    }
    return keys;
}

std::set<std::string> key_set(const Expansion& expansion) {
    const std::vector<std::string> keys = keys_of(expansion);
    return {keys.begin(), keys.end()};
}

constexpr const char* three_axes = R"(experiment: a
defaults: {batch: 2, new_tokens: 9, prompt: hello}
matrix: {model: [llama-nano, gpt2-nano], method: [fp16, llmint8-bnb], threshold: [0, 6],
         gpu: cpu, repeat: 4}
)";

TEST(ExpandProperties, TheSameFileGivesTheSameCellsInTheSameOrder) {
    EXPECT_EQ(keys_of(expanded(three_axes)), keys_of(expanded(three_axes)));
}

TEST(ExpandProperties, TheOrderOfKeysInAMapChangesNoCell) {
    const std::string turned =
        R"(
matrix: {repeat: 4, threshold: [6, 0], gpu: cpu, method: [llmint8-bnb, fp16],
         model: [gpt2-nano, llama-nano]}
defaults: {prompt: hello, new_tokens: 9, batch: 2}
experiment: a
)";
    EXPECT_EQ(key_set(expanded(three_axes)), key_set(expanded(turned)));
}

TEST(ExpandProperties, BlockAndFlowStyleAreTheSameMatrix) {
    const std::string block = R"(experiment: a
defaults:
  batch: 2
  new_tokens: 9
  prompt: "hello"
matrix:
  model:
    - llama-nano
    - gpt2-nano
  method:
  - fp16
  - llmint8-bnb
  threshold: [0.0, 6.0]
  gpu: cpu
  repeat: 4
)";
    EXPECT_EQ(keys_of(expanded(three_axes)), keys_of(expanded(block)));
}

TEST(ExpandProperties, NoTwoCellsShareAKey) {
    for (const auto& file : yaml_files("valid")) {
        const Expansion expansion = expanded(read_text_file(file));
        EXPECT_EQ(key_set(expansion).size(), expansion.cells.size()) << file;
    }
}

TEST(ExpandProperties, TheNameOfTheExperimentAndItsTagsChangeNoKey) {
    std::string other = three_axes;
    other.replace(other.find(" a\n"), 3, " b\n");
    other += "question: why\ntags: {x: y}\ntimeout: 3m\npriority: 9\n";
    EXPECT_EQ(key_set(expanded(three_axes)), key_set(expanded(other)));
}

TEST(ExpandProperties, RandomProductsHaveAsManyCellsAsTheirFactors) {
    std::mt19937_64 random(7);
    for (int round = 0; round < 50; ++round) {
        const auto pick = [&](int most) { return static_cast<int>(random() % most) + 1; };
        const int batches = pick(5);
        const int tokens = pick(6);
        const int seeds = pick(4);
        const int repeats = pick(3);
        const std::string yaml =
            "experiment: a\nmatrix:\n  model: [llama-nano, gpt2-nano]\n  batch: {range: [1, " +
            std::to_string(batches) + "]}\n  new_tokens: {range: [1, " + std::to_string(tokens) +
            "]}\n  method: fp16\n  seed: {range: [1, " + std::to_string(seeds) +
            "]}\n  gpu: cpu\n  repeat: " + std::to_string(repeats) + "\n";
        EXPECT_EQ(expanded(yaml).cells.size(),
                  static_cast<std::size_t>(2 * batches * tokens * seeds * repeats))
            << yaml;
    }
}

TEST(ExpandProperties, ExcludeRemovesExactlyTheCellsThatMatch) {
    const std::string all = R"(experiment: a
matrix: {model: [llama-nano, llama-pico, gpt2-nano], method: [fp32, fp16, int8, nf4, int3-g64],
         batch: [1, 2, 4], gpu: cpu, repeat: 2}
)";
    const Expansion before = expanded(all);
    const Expansion after =
        expanded(all + "exclude: [{model: \"llama-*\", bits: \">=8\", batch: [2, 4]}]\n");
    std::set<std::string> want;
    for (const Cell& cell : before.cells) {
        const std::string& method = cell.spec.method;
        const bool llama = cell.spec.model.name.starts_with("llama-");
        const bool wide = method == "fp32" || method == "fp16" || method == "int8";
        if (!(llama && wide && cell.spec.batch > 1)) {
            want.insert(cell.identity.spec_key);
        }
    }
    EXPECT_EQ(key_set(after), want);
    EXPECT_LT(want.size(), before.cells.size());
}

TEST(ExpandProperties, AnExclusionWrittenTwiceRemovesNothingMore) {
    const std::string rule = "{model: \"gpt2-*\", threshold: \">3\"}";
    const Expansion once = expanded(std::string(three_axes) + "exclude: [" + rule + "]\n");
    const Expansion twice =
        expanded(std::string(three_axes) + "exclude: [" + rule + ", " + rule + "]\n");
    EXPECT_EQ(keys_of(once), keys_of(twice));
    EXPECT_LT(once.cells.size(), expanded(three_axes).cells.size());
}

TEST(ExpandProperties, ZippedEqualAxesAreTheDiagonalOfTheirProduct) {
    const std::string head =
        "experiment: a\ndefaults: {model: llama-nano, method: fp16, gpu: cpu}\n";
    const std::string axes = "batch: {range: [2, 9]}, new_tokens: {range: [2, 9]}";
    const Expansion product = expanded(head + "matrix: {" + axes + ", repeat: 1}\n");
    const Expansion zipped = expanded(head + "matrix: {repeat: 1}\nzip: [{" + axes + "}]\n");
    std::set<std::string> diagonal;
    for (const Cell& cell : product.cells) {
        if (cell.spec.batch == cell.spec.new_tokens) {
            diagonal.insert(cell.identity.spec_key);
        }
    }
    EXPECT_EQ(diagonal.size(), 8u);
    EXPECT_EQ(key_set(zipped), diagonal);
}

TEST(ExpandProperties, AWhereIsTheExclusionOfItsNegation) {
    const std::string head = R"(experiment: a
matrix: {model: [llama-pico, llama-nano, gpt2-nano], method: [fp32, fp16, int8, nf4],
         batch: {range: [1, 8]}, gpu: cpu, repeat: 1}
)";
    std::mt19937_64 random(3);
    for (int round = 0; round < 30; ++round) {
        const std::string bits = std::to_string(std::array{4, 8, 16}[random() % 3]);
        const std::string batch = std::to_string(1 + random() % 8);
        const Expansion by_rule =
            expanded(head + "exclude: [{bits: \">=" + bits + "\", batch: \"<" + batch + "\"}]\n");
        const Expansion by_where =
            expanded(head + "where: not (bits >= " + bits + " and batch < " + batch + ")\n");
        EXPECT_EQ(key_set(by_rule), key_set(by_where)) << bits << " " << batch;
    }
}

// Random matrices of axes, conditions and derived values: the same whatever the order of keys.
TEST(ExpandProperties, RandomMatricesHaveTheSameCellsInAnyOrderOfKeys) {
    std::mt19937_64 random(19);
    static const std::vector<std::string> axes = {"model: [llama-pico, llama-nano, gpt2-nano]",
                                                  "method: [fp16, llmint8-bnb, nf4]",
                                                  "threshold: {log: [0.5, 8], n: 3}",
                                                  "batch: {range: [1, 4]}",
                                                  "seed: [1, 2]",
                                                  "head: [16, 8]"};
    static const std::vector<std::string> tails = {
        "exclude: [{model: \"gpt2-*\", batch: \">2\"}]\n",
        "derive: {new_tokens: \"min(64, 128 // batch)\"}\n", "where: batch * layers < 16\n",
        "defaults: {protocol: quick, prompt: hello}\n"};
    for (int round = 0; round < 40; ++round) {
        std::vector<std::string> chosen(axes.begin(), axes.begin() + 4 + random() % 3);
        std::vector<std::string> rest;
        for (const std::string& tail : tails) {
            if (random() % 2 == 0) {
                rest.push_back(tail);
            }
        }
        const auto text = [&] {
            std::string out = "experiment: a\nmatrix:\n  gpu: cpu\n  repeat: 1\n";
            for (const std::string& axis : chosen) {
                out += "  " + axis + "\n";
            }
            for (const std::string& tail : rest) {
                out += tail;
            }
            return out;
        };
        const std::string one = text();
        std::ranges::shuffle(chosen, random);
        std::ranges::shuffle(rest, random);
        const std::string other = text();
        const Expansion expansion = expanded(one);
        EXPECT_EQ(key_set(expansion), key_set(expanded(other))) << one << other;
        EXPECT_EQ(key_set(expansion).size(), expansion.cells.size());
    }
}

// ---- order

TEST(ExpandOrder, ShufflingKeepsTheCellsAndKeepsEachModelTogether) {
    const std::string yaml = R"(experiment: a
matrix: {model: [gpt2-nano, llama-nano, opt-nano], method: [fp16, int8, nf4], gpu: cpu, repeat: 5}
)";
    const Expansion shuffled = expanded(yaml);
    const Expansion listed = expanded(yaml + "order: listed\n");
    EXPECT_EQ(key_set(shuffled), key_set(listed));
    EXPECT_NE(keys_of(shuffled), keys_of(listed));
    std::vector<std::string> models;
    for (const Cell& cell : shuffled.cells) {
        if (models.empty() || models.back() != cell.spec.model.name) {
            models.push_back(cell.spec.model.name);
        }
    }
    EXPECT_EQ(models, (std::vector<std::string>{"gpt2-nano", "llama-nano", "opt-nano"}));
}

TEST(ExpandOrder, AnotherSeedGivesAnotherOrder) {
    const std::string yaml = R"(experiment: a
matrix: {model: llama-nano, method: [fp16, int8, nf4], gpu: cpu, repeat: 5}
)";
    const auto methods = [&](const char* seed) {
        std::vector<std::string> out;
        for (const Cell& cell : expanded(yaml, {{"seed", seed}}).cells) {
            out.push_back(cell.spec.method + std::to_string(cell.spec.repeat));
        }
        return out;
    };
    EXPECT_EQ(methods("1"), methods("1"));
    EXPECT_NE(methods("1"), methods("2"));
}

TEST(ExpandOrder, InterleavingNeverRunsOneMethodTwiceInARow) {
    const Expansion expansion = expanded(R"(experiment: a
matrix: {model: [llama-nano, gpt2-nano], method: [fp16, int8, nf4], gpu: cpu, repeat: 6}
order: interleave(method)
)");
    for (std::size_t i = 1; i < expansion.cells.size(); ++i) {
        const JobSpec& before = expansion.cells[i - 1].spec;
        const JobSpec& spec = expansion.cells[i].spec;
        EXPECT_TRUE(before.model.name != spec.model.name || before.method != spec.method) << i;
    }
}

// ---- --set

TEST(ExpandOverrides, AScalarReplacesAnAxis) {
    const Expansion expansion = expanded(three_axes, {{"model", "opt-nano"}, {"repeat", "1"}});
    EXPECT_EQ(expansion.cells.size(), 3u);
    for (const Cell& cell : expansion.cells) {
        EXPECT_EQ(cell.spec.model.name, "opt-nano");
    }
}

TEST(ExpandOverrides, AScalarThatIsNoAxisReplacesTheDefault) {
    for (const Cell& cell : expanded(three_axes, {{"new_tokens", "3"}, {"head", "8"}}).cells) {
        EXPECT_EQ(cell.spec.new_tokens, 3);
        EXPECT_EQ(cell.spec.head_bits, 8);
    }
}

TEST(ExpandOverrides, AListAddsAnAxis) {
    EXPECT_EQ(expanded(three_axes, {{"new_tokens", "[3, 4]"}}).cells.size(),
              2 * expanded(three_axes).cells.size());
}

TEST(ExpandOverrides, KeysOfTheFileAndPathsAreReplacedToo) {
    const Expansion expansion = expanded(three_axes, {{"timeout", "30s"},
                                                      {"retries.crash", "0"},
                                                      {"tags.who", "me"},
                                                      {"experiment", "b"},
                                                      {"defaults.batch", "1"}});
    EXPECT_EQ(expansion.experiment.value, "b");
    EXPECT_EQ(expansion.tags.at("who"), "me");
    EXPECT_EQ(expansion.cells.at(0).policy.timeout.ms, 30'000);
    EXPECT_EQ(expansion.cells.at(0).policy.retries_crash, 0);
    EXPECT_EQ(expansion.cells.at(0).spec.batch, 1);
}

TEST(ExpandOverrides, AFieldTakesThePlaceOfWhatIsDerivedForIt) {
    const std::string yaml = std::string(three_axes) + "derive: {new_tokens: batch * 10}\n";
    EXPECT_EQ(expanded(yaml).cells.at(0).spec.new_tokens, 20);
    EXPECT_EQ(expanded(yaml, {{"new_tokens", "7"}}).cells.at(0).spec.new_tokens, 7);
    EXPECT_EQ(expanded(yaml, {{"derive.new_tokens", "batch * 2"}}).cells.at(0).spec.new_tokens, 4);
    EXPECT_EQ(expanded(yaml, {{"where", "method == 'fp16'"}}).cells.size(), 8u);
    EXPECT_EQ(refusal(yaml, {{"where", "methd == 'fp16'"}}),
              "--set: unknown name `methd`; did you mean `method`? (a text stands in quotes)");
}

TEST(ExpandOverrides, MistakesSayThatTheyAreFromTheCommandLine) {
    EXPECT_EQ(refusal(three_axes, {{"modle", "x"}}),
              "--set: unknown key `modle`; did you mean `model`?");
    EXPECT_EQ(refusal(three_axes, {{"extends", "b.yaml"}}),
              "--set: `extends` is followed before --set: write it in the file");
    EXPECT_EQ(refusal(three_axes, {{"batch", "0"}}),
              "--set: `batch` must be a whole number from 1 to 4096, not `0`");
    EXPECT_EQ(refusal(three_axes, {{"batch", "[1"}}),
              "--set batch:1:1: not YAML: end of sequence flow not found");
    EXPECT_EQ(refusal(three_axes, {{"defaults.bach", "1"}}),
              "--set: unknown key `bach`; did you mean `batch`?");
    EXPECT_EQ(refusal(three_axes, {{"a.b", "1"}}),
              "--set: `a.b` names nothing: a path begins with `defaults`, `matrix`, `derive`, "
              "`retries` or "
              "`tags`");
    const std::string zipped = std::string(three_axes) + "zip: [{warmup: [1, 2]}]\n";
    EXPECT_EQ(refusal(zipped, {{"warmup", "1"}}),
              "--set: `warmup` moves together with other axes (zip): change the file instead");
}

// ---- speed: plan is typed by people

TEST(ExpandSpeed, AHundredThousandCellsExpandInSeconds) {
    const std::string yaml = R"(experiment: a
matrix:
  model: [llama-nano, gpt2-nano]
  method: [llmint8-bnb, int8]
  threshold: {log: [0.5, 32], n: 50}
  new_tokens: {range: [1, 100]}
  seed: {range: [1, 10]}
  gpu: cpu
  repeat: 1
)";
    const auto start = std::chrono::steady_clock::now();
    const Expansion expansion = expanded(yaml);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    EXPECT_EQ(expansion.cells.size(), 2u * 51 * 100 * 10);
    // About 0.9 s on a free core of a small machine; sanitizers and neighbours take their share.
    EXPECT_LT(took.count(), 30);
    RecordProperty("seconds", std::to_string(took.count()));
}

TEST(ExpandSpeed, TooManyCellsAreRefusedBeforeTheyAreMade) {
    const auto start = std::chrono::steady_clock::now();
    const std::string message = refusal(R"(experiment: a
matrix:
  model: llama-nano
  method: fp16
  seed: {range: [1, 1000000]}
  weights_seed: {range: [1, 1000000]}
  gpu: cpu
)");
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    EXPECT_EQ(message,
              "test.yaml:3:3: this matrix makes 3000000000000 cells; the limit is 1000000: shorten "
              "an axis, or make two experiments of it");
    EXPECT_LT(took.count(), 30);
}

TEST(ExpandLimits, CellsThatOnlyAnInclusionAddsCountBeforeAnyIsMade) {
    const std::string million = R"(experiment: a
defaults: {protocol: quick, gpu: cpu, model: llama-nano, method: fp16}
matrix:
  seed: {range: [1, 1000]}
  new_tokens: {range: [1, 1000]}
)";
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(refusal(million + "include: [{seed: 1001, new_tokens: 7}]\n"),
              "test.yaml:4:3: this matrix makes 1000001 cells; the limit is 1000000: shorten an "
              "axis, or make two experiments of it");
    // Inclusions alone may be too many as well, and one that extends cells adds none.
    EXPECT_EQ(refusal(million + "include: [{batch: 2}, {seed: 0, new_tokens: 5}]\n").substr(0, 47),
              "test.yaml:4:3: this matrix makes 1000001 cells;");
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    EXPECT_LT(took.count(), 1);
}

}  // namespace
}  // namespace bitsweep::testing
