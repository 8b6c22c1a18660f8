// The KV cache in 8 bits on a card against the CPU.
#include <cstdio>

#include "tests/inference/cuda_support.h"
#include "worker/inference/generate.h"

namespace bitsweep::testing_inference {
namespace {

const std::vector<std::pair<std::string, KvFormat>> formats{{"int8", KvFormat::int8},
                                                            {"fp8", KvFormat::fp8}};

// The same rounding of nearly the same numbers: a code may differ where a float32 sum differs.
double bound_of(KvFormat format) {
    return format == KvFormat::int8 ? 2e-4 : 2e-3;
}

TEST_F(Cuda, eight_bit_caches_of_every_family_agree_with_the_cpu_at_once_and_in_steps) {
    for (const auto& entry : std::filesystem::directory_iterator(vectors_dir / "families")) {
        const ModelFiles files = open_or_die(entry.path());
        const Reference reference = read_reference(entry.path() / "reference.safetensors");
        const auto ids = std::span(reference.ids).first(70);
        for (const auto& [name, format] : formats) {
            for (const std::string method : {"fp16", "fp32"}) {
                const EngineWish wish{.method = method, .context = 80, .kv = format};
                const auto want = score_all(*engine_or_die(files, wish), ids, reference.vocabulary);
                const auto cuda = cuda_engine_or_die(files, wish);
                const double at_once = mean_kl(want, score_all(*cuda, ids, reference.vocabulary),
                                               reference.vocabulary);
                const double stepwise = mean_kl(want, decode_all(*cuda, ids, reference.vocabulary),
                                                reference.vocabulary);
                std::printf("%s %s kv %s: mean KL divergence from the CPU %.2e, in steps %.2e\n",
                            entry.path().filename().c_str(), method.c_str(), name.c_str(), at_once,
                            stepwise);
                EXPECT_LT(at_once, bound_of(format));
                EXPECT_LT(stepwise, bound_of(format));
            }
        }
    }
}

TEST_F(Cuda, eight_bit_caches_of_trained_models_agree_with_the_cpu_over_a_long_context) {
    for (const std::string name : {"llama-micro", "gpt2-nano", "opt-nano"}) {
        const ModelFiles files = open_or_die(folder_of(name));
        const auto ids = heldout_ids(files, static_cast<std::size_t>(files.config.positions));
        const std::int64_t vocabulary = files.config.vocabulary;
        for (const auto& [kv, format] : formats) {
            const EngineWish wish{
                .method = "fp16", .threads = 8, .context = files.config.positions, .kv = format};
            const double kl =
                mean_kl(score_all(*engine_or_die(files, wish), ids, vocabulary),
                        score_all(*cuda_engine_or_die(files, wish), ids, vocabulary), vocabulary);
            std::printf("%s kv %s: mean KL divergence from the CPU %.2e\n", name.c_str(),
                        kv.c_str(), kl);
            EXPECT_LT(kl, bound_of(format)) << name;
        }
    }
}

TEST_F(Cuda, an_eight_bit_cache_decodes_by_steps_and_counts_its_bytes) {
    const ModelFiles files = open_or_die(models_dir / "llama-micro");
    for (const auto& [kv, format] : formats) {
        const EngineWish wish{.method = "fp16", .context = 100, .kv = format};
        const auto engine = cuda_engine_or_die(files, wish);
        EXPECT_EQ(engine->memory().kv_cache, engine_or_die(files, wish)->memory().kv_cache) << kv;
        SequencePlan plan;
        plan.prompt = heldout_ids(files, 24);
        plan.new_tokens = 70;
        plan.vocabulary = files.config.vocabulary;
        const auto host = generate_by_forward(*engine, plan, {});
        const auto device = generate_sequence(*engine, plan, {});
        ASSERT_TRUE(host.ok() && device.ok()) << kv;
        EXPECT_EQ(host->new_ids, device->new_ids) << kv;
        EXPECT_EQ(device->trace.decoded_by,
                  "steps: the streaming kernel does not serve an 8-bit cache");
    }
}

// 65 keys of width 20 leave tails in every tile; a window leaves out the oldest.
TEST_F(Cuda, eight_bit_caches_serve_odd_heads_and_windows) {
    for (const std::int64_t head_dim : {20, 64, 80, 256}) {
        const ModelShape shape{.name = "test",
                               .family = ModelFamily::llama,
                               .layers = 2,
                               .width = 96,
                               .heads = 6,
                               .kv_heads = 2,
                               .head_dim = head_dim,
                               .ffn = 136,
                               .vocabulary = 301,
                               .positions = 600,
                               .tied = false,
                               .embed_width = 96,
                               .rope_theta = 10000.0,
                               .parameters = 0};
        const ModelFiles files = random_model(shape);
        std::vector<std::int32_t> ids(300);
        for (std::size_t i = 0; i < ids.size(); ++i) {
            ids[i] = static_cast<std::int32_t>(i * 7919 % 301);
        }
        for (const auto& [kv, format] : formats) {
            const EngineWish wish{.method = "fp32", .context = 320, .kv = format};
            const auto want = score_all(*engine_or_die(files, wish), ids, 301);
            const auto cuda = cuda_engine_or_die(files, wish);
            EXPECT_LT(mean_kl(want, score_all(*cuda, ids, 301), 301), bound_of(format))
                << head_dim << " " << kv;
            EXPECT_LT(mean_kl(want, decode_all(*cuda, ids, 301), 301), bound_of(format))
                << head_dim << " " << kv << " in steps";
        }
    }
}

}  // namespace
}  // namespace bitsweep::testing_inference
