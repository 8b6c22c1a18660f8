// Models, engines and numbers for the inference tests.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "worker/inference/engine.h"
#include "worker/inference/model_files.h"

namespace bitsweep::testing_inference {

inline const std::filesystem::path source_dir = BITSWEEP_SOURCE_DIR;
inline const std::filesystem::path models_dir = source_dir / "experiments" / "models";
inline const std::filesystem::path vectors_dir = source_dir / "tests" / "inference" / "vectors";

// "llama-pico" ... and llama-mini where BITSWEEP_LLAMA_MINI names its folder.
std::vector<std::string> trained_models();
std::filesystem::path folder_of(const std::string& model);
// reference.safetensors of a trained model.
std::filesystem::path reference_of(const std::string& model);

// Tensors of a reference file as they lie in it: int32 or float32.
struct Reference {
    std::vector<std::int32_t> ids;
    std::vector<float> logits;  // [ids.size(), vocabulary]
    std::int64_t vocabulary = 0;
};
Reference read_reference(const std::filesystem::path& path);

// Opens or fails the test.
ModelFiles open_or_die(const std::filesystem::path& path);
ModelFiles random_or_die(const std::string& shape);
// A shape that is not in the table, with random weights.
ModelFiles random_model(const ModelShape& shape);

MethodId method_of(const std::string& text);

struct EngineWish {
    std::string method = "fp32";
    double threshold = 0;
    int head_bits = 16;
    int threads = 1;
    std::int64_t batch = 1;
    std::int64_t context = 96;
    std::int64_t prefill_rows = 512;
    std::string device = "cpu";
    DecodePath decode_path = DecodePath::automatic;
    KvFormat kv = KvFormat::bits16;
    LayerMethods layers;  // of mixed
};
std::unique_ptr<Engine> engine_or_die(const ModelFiles& files, const EngineWish& wish);

// Logits of every position of one sequence, [ids.size(), vocabulary].
std::vector<float> score_all(Engine& engine, std::span<const std::int32_t> ids,
                             std::int64_t vocabulary);
// The same, token by token.
std::vector<float> decode_all(Engine& engine, std::span<const std::int32_t> ids,
                              std::int64_t vocabulary);
std::vector<std::int32_t> greedy(Engine& engine, std::span<const std::int32_t> prompt,
                                 std::int64_t vocabulary, std::size_t count);

double max_difference(std::span<const float> a, std::span<const float> b);
// Mean over rows of KL(softmax(reference) || softmax(other)), in double.
double mean_kl(std::span<const float> reference, std::span<const float> other,
               std::int64_t vocabulary);

// exp of the mean negative log likelihood over non-overlapping windows, each scored on its
// positions 2..n.
double perplexity(Engine& engine, std::span<const std::int32_t> ids, std::int64_t vocabulary,
                  std::int64_t window);

// The held-out text as `files` tokenises it.
std::vector<std::int32_t> heldout_ids(const ModelFiles& files, std::size_t count);

std::string read_text(const std::filesystem::path& path);

// One id for each method family and several widths of the integer groups.
const std::vector<std::string>& all_methods();
// Those of them that a card has.
std::vector<std::string> methods_of_cards();

}  // namespace bitsweep::testing_inference
