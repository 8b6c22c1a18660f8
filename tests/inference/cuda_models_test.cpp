// Whole models on a card against the CPU: families, methods, head widths, steps and prefills.
#include <cmath>
#include <filesystem>

#include "tests/inference/cuda_support.h"

namespace bitsweep::testing_inference {
namespace {

std::vector<std::filesystem::path> families() {
    std::vector<std::filesystem::path> folders;
    for (const auto& entry : std::filesystem::directory_iterator(vectors_dir / "families")) {
        folders.push_back(entry.path());
    }
    EXPECT_GE(folders.size(), 9u);
    return folders;
}

// Between the card and the CPU with the same codes. Half activations move a logit by a thousandth;
// where activations become 8-bit codes, such a move can change a code. A network that computes
// something else has 2 to 10.
double kl_between(const MethodId& method, int head_bits) {
    if (method.family == MethodFamily::fp32) {
        return head_bits == 16 ? 1e-8 : 1e-6;  // a packed head reads half activations
    }
    return method.rounds_activations || method.family == MethodFamily::bf16 ? 5e-3 : 2e-4;
}

TEST_F(Cuda, every_family_and_method_agrees_with_the_cpu) {
    for (const auto& folder : families()) {
        const ModelFiles files = open_or_die(folder);
        const Reference reference = read_reference(folder / "reference.safetensors");
        const auto ids = std::span(reference.ids).first(70);
        double worst = 0;
        std::string worst_method;
        for (const std::string& method : methods_of_cards()) {
            for (const int head_bits : {16, 8, 4}) {
                const EngineWish wish{
                    .method = method, .threshold = 3, .head_bits = head_bits, .context = 80};
                const auto cpu = engine_or_die(files, wish);
                const auto cuda = cuda_engine_or_die(files, wish);
                const auto want = score_all(*cpu, ids, reference.vocabulary);
                const double at_once = mean_kl(want, score_all(*cuda, ids, reference.vocabulary),
                                               reference.vocabulary);
                const double stepwise = mean_kl(want, decode_all(*cuda, ids, reference.vocabulary),
                                                reference.vocabulary);
                EXPECT_LT(at_once, kl_between(method_of(method), head_bits))
                    << folder.filename() << " " << method << " head " << head_bits;
                EXPECT_LT(stepwise, kl_between(method_of(method), head_bits))
                    << folder.filename() << " " << method << " head " << head_bits << " in steps";
                if (std::max(at_once, stepwise) > worst) {
                    worst = std::max(at_once, stepwise);
                    worst_method = method;
                }
            }
        }
        std::printf("%s: mean KL divergence from the CPU at most %.2e (%s)\n",
                    folder.filename().c_str(), worst, worst_method.c_str());
    }
}

TEST_F(Cuda, half_precision_of_trained_models_is_that_of_float32) {
    for (const std::string& name : trained_models()) {
        const ModelFiles files = open_or_die(folder_of(name));
        const auto ids = heldout_ids(files, 512);
        const auto cpu = engine_or_die(files, {.method = "fp32", .threads = 8, .context = 512});
        const auto cuda = cuda_engine_or_die(files, {.method = "fp16", .context = 512});
        const std::int64_t vocabulary = files.config.vocabulary;
        const auto want = score_all(*cpu, ids, vocabulary);
        const auto got = score_all(*cuda, ids, vocabulary);
        const auto row = [&](const std::vector<float>& logits, std::size_t i) {
            return std::span(logits).subspan(i * static_cast<std::size_t>(vocabulary),
                                             static_cast<std::size_t>(vocabulary));
        };
        std::size_t same = 0;
        for (std::size_t i = 0; i < ids.size(); ++i) {
            same += argmax(row(want, i)) == argmax(row(got, i));
        }
        const double kl = mean_kl(want, got, vocabulary);
        std::printf("%s fp16: mean KL divergence %.2e, same first choice %.2f %%\n", name.c_str(),
                    kl, 100.0 * static_cast<double>(same) / static_cast<double>(ids.size()));
        EXPECT_LT(kl, 1e-4) << name;
        EXPECT_GE(static_cast<double>(same), 0.998 * static_cast<double>(ids.size()) - 1) << name;
    }
}

// The same codes on both sides of a trained network.
TEST_F(Cuda, every_method_of_a_trained_model_agrees_with_the_cpu) {
    for (const std::string name : {"llama-micro", "gpt2-nano", "opt-nano"}) {
        const ModelFiles files = open_or_die(folder_of(name));
        const auto ids = heldout_ids(files, 256);
        for (const std::string& method : methods_of_cards()) {
            const EngineWish wish{.method = method, .threshold = 6, .threads = 8, .context = 256};
            const auto cpu = engine_or_die(files, wish);
            const auto cuda = cuda_engine_or_die(files, wish);
            const std::int64_t vocabulary = files.config.vocabulary;
            const double kl = mean_kl(score_all(*cpu, ids, vocabulary),
                                      score_all(*cuda, ids, vocabulary), vocabulary);
            std::printf("%s %s: mean KL divergence from the CPU %.2e\n", name.c_str(),
                        method.c_str(), kl);
            // A code that rounds the other way is a step of the token's largest value, or of the
            // whole tensor's.
            const bool one_for_all = method == "int8-absmax-tensor" || method == "int8-zeropoint";
            const double bound = one_for_all                            ? 1e-2
                                 : method_of(method).rounds_activations ? 1e-3
                                                                        : 1e-4;
            EXPECT_LT(kl, bound) << name << method;
        }
    }
}

ModelShape shape_with(ModelFamily family, std::int64_t heads, std::int64_t kv_heads,
                      std::int64_t head_dim) {
    const bool learned = family == ModelFamily::gpt2 || family == ModelFamily::opt;
    return {.name = "test",
            .family = family,
            .layers = 2,
            .width = learned ? heads * head_dim : 96,
            .heads = heads,
            .kv_heads = kv_heads,
            .head_dim = head_dim,
            .ffn = 136,
            .vocabulary = 301,
            .positions = 600,
            .tied = false,
            .embed_width = learned ? heads * head_dim : 96,
            .rope_theta = learned ? 0.0 : 10000.0,
            .parameters = 0};
}

TEST_F(Cuda, every_head_width_and_grouping_agrees_in_prefill_steps_and_chunks) {
    struct Heads {
        ModelFamily family;
        std::int64_t heads, kv_heads, head_dim;
    };
    const std::vector<Heads> cases{
        {ModelFamily::llama, 4, 4, 32},    {ModelFamily::llama, 6, 2, 64},
        {ModelFamily::llama, 4, 1, 80},    {ModelFamily::llama, 7, 1, 96},
        {ModelFamily::llama, 8, 2, 128},   {ModelFamily::llama, 10, 1, 32},
        {ModelFamily::mistral, 4, 2, 160}, {ModelFamily::qwen2, 2, 2, 256},
        {ModelFamily::gpt2, 3, 3, 33},     {ModelFamily::gpt2, 2, 2, 100},
        {ModelFamily::opt, 3, 3, 20}};
    for (const Heads& heads : cases) {
        const ModelFiles files =
            random_model(shape_with(heads.family, heads.heads, heads.kv_heads, heads.head_dim));
        std::vector<std::int32_t> ids;
        for (std::int32_t i = 0; i < 330; ++i) {
            ids.push_back((i * 131 + 7) % 301);
        }
        for (const std::string method : {"fp32", "fp16"}) {
            SCOPED_TRACE(std::to_string(heads.heads) + "/" + std::to_string(heads.kv_heads) +
                         " heads of " + std::to_string(heads.head_dim) + " " + method);
            const auto cpu = engine_or_die(files, {.method = method, .context = 400});
            const auto want = score_all(*cpu, ids, 301);
            const double bound = method == std::string("fp32") ? 1e-8 : 1e-3;
            const auto cuda = cuda_engine_or_die(files, {.method = method, .context = 400});
            EXPECT_LT(mean_kl(want, score_all(*cuda, ids, 301), 301), bound);
            EXPECT_LT(mean_kl(want, decode_all(*cuda, ids, 301), 301), bound);
            const auto chunked =
                cuda_engine_or_die(files, {.method = method, .context = 400, .prefill_rows = 37});
            EXPECT_LT(mean_kl(want, score_all(*chunked, ids, 301), 301), bound);
            const auto own_cache = cuda_engine_or_die(files, {.method = method, .context = 16});
            EXPECT_LT(mean_kl(want, score_all(*own_cache, ids, 301), 301), bound);
        }
    }
}

}  // namespace
}  // namespace bitsweep::testing_inference
