// Models small enough for every combination, and what both ways of decoding say about them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "worker/inference/engine.h"
#include "worker/inference/generate.h"
#include "worker/inference/model_files.h"

namespace bitsweep::decode::test {

// False where there is no card: the caller skips.
bool has_card();

struct Subject {
    std::string name;
    ModelFiles files;
    int planted = 0;  // outlier columns
};
// The trained models of every family, and random ones with biases on q, k and v only, a sliding
// window, heads of 32 and 128 dimensions, inputs that are no multiple of 128, and outliers.
std::vector<Subject> subjects();

struct Wish {
    std::string method = "fp16";
    double threshold = 0;
    int head_bits = 16;
    std::int64_t context = 64;
    DecodePath path = DecodePath::automatic;
};
// On cuda:0. A null pointer where the test has failed.
std::unique_ptr<Engine> engine_on_card(const ModelFiles& files, const Wish& wish);

// `count` ids inside the vocabulary, the same at every call.
std::vector<std::int32_t> some_ids(const ModelFiles& files, std::int64_t count);

// How far the chosen tokens' logits lie below the best ones, in standard deviations of the logits,
// at worst, when `engine` is fed prompt and tokens one by one. 0: the same choice everywhere.
double worst_regret(Engine& engine, const SequencePlan& plan,
                    const std::vector<std::int32_t>& tokens);

}  // namespace bitsweep::decode::test
