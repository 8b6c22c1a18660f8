// The KV cache in 8 bits: its codes, what attention makes of them, its bytes, what it costs a
// model.
#include "worker/inference/kv_cache.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/inference/support.h"
#include "worker/inference/models/kv_codes.h"

namespace bitsweep::testing_inference {
namespace {

TEST(KvCodes, e4m3_holds_448_at_most_and_says_what_is_not_finite) {
    for (int code = 0; code < 0x7f; ++code) {
        const float value = quant::e4m3::decode(static_cast<std::uint8_t>(code));
        EXPECT_EQ(e4m3_of_cache(value), code);
        EXPECT_EQ(e4m3_of_cache(-value), code | 0x80);
    }
    for (const float large : {449.0f, 464.0f, 480.0f, 1e5f, 3e38f}) {
        EXPECT_EQ(e4m3_of_cache(large), 0x7e) << large;
        EXPECT_EQ(e4m3_of_cache(-large), 0xfe) << large;
    }
    for (const float poison :
         {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
        EXPECT_TRUE(std::isnan(quant::e4m3::decode(e4m3_of_cache(poison))));
        EXPECT_TRUE(std::isnan(quant::e4m3::decode(e4m3_of_cache(-poison))));
    }
}

const std::vector<KvFormat> formats{KvFormat::int8, KvFormat::fp8};

std::string name_of(KvFormat format) {
    return format == KvFormat::int8 ? "int8" : format == KvFormat::fp8 ? "fp8" : "16";
}

double kl_of_cache(const ModelFiles& files, KvFormat format, std::span<const std::int32_t> ids) {
    const std::int64_t vocabulary = files.config.vocabulary;
    const auto context = static_cast<std::int64_t>(ids.size());
    const auto wide = engine_or_die(files, {.method = "fp16", .threads = 2, .context = context});
    const auto narrow =
        engine_or_die(files, {.method = "fp16", .threads = 2, .context = context, .kv = format});
    return mean_kl(score_all(*wide, ids, vocabulary), score_all(*narrow, ids, vocabulary),
                   vocabulary);
}

TEST(KvCache, eight_bits_cost_a_trained_model_little_and_int8_less_than_fp8) {
    for (const char* name : {"llama-micro", "gpt2-nano", "opt-nano"}) {
        const ModelFiles files = open_or_die(models_dir / name);
        const auto ids = heldout_ids(files, 256);
        const double int8 = kl_of_cache(files, KvFormat::int8, ids);
        const double fp8 = kl_of_cache(files, KvFormat::fp8, ids);
        std::printf("%s: mean KL divergence of kv int8 %.2e, of kv fp8 %.2e\n", name, int8, fp8);
        EXPECT_LT(int8, 2e-4) << name;
        EXPECT_LT(fp8, 5e-3) << name;
        EXPECT_LT(int8, fp8) << name;
        EXPECT_GT(int8, 0) << name << ": the cache was not in 8 bits";
    }
}

// The models were trained on windows of 256: inside one, later positions lose about as much as
// early ones; over all 512 positions the loss stays bounded.
TEST(KvCache, its_error_does_not_grow_over_a_long_context) {
    const ModelFiles files = open_or_die(models_dir / "llama-micro");
    const std::int64_t vocabulary = files.config.vocabulary;
    const auto ids = heldout_ids(files, static_cast<std::size_t>(files.config.positions));
    const auto context = static_cast<std::int64_t>(ids.size());
    const auto wide = engine_or_die(files, {.method = "fp16", .threads = 2, .context = context});
    const auto want = score_all(*wide, ids, vocabulary);
    for (const KvFormat format : formats) {
        const auto narrow = engine_or_die(
            files, {.method = "fp16", .threads = 2, .context = context, .kv = format});
        const auto got = score_all(*narrow, ids, vocabulary);
        const auto kl_of = [&](std::size_t first, std::size_t count) {
            const auto width = static_cast<std::size_t>(vocabulary);
            return mean_kl(std::span(want).subspan(first * width, count * width),
                           std::span(got).subspan(first * width, count * width), vocabulary);
        };
        const double early = kl_of(0, 128), late = kl_of(128, 128), all = kl_of(0, ids.size());
        std::printf("llama-micro, kv %s: positions 0 to 127 %.2e, 128 to 255 %.2e, all %zu %.2e\n",
                    name_of(format).c_str(), early, late, ids.size(), all);
        EXPECT_LT(late, 2 * early) << name_of(format);
        EXPECT_LT(all, format == KvFormat::int8 ? 1e-3 : 2e-2);
    }
}

TEST(KvCache, decoding_step_by_step_reads_what_a_prefill_stored) {
    for (const char* name : {"llama-nano", "gpt2-nano", "opt-nano"}) {
        const ModelFiles files = open_or_die(models_dir / name);
        const auto ids = heldout_ids(files, 60);
        const std::int64_t vocabulary = files.config.vocabulary;
        for (const KvFormat format : formats) {
            const auto engine = engine_or_die(files, {.method = "fp16", .kv = format});
            EXPECT_LT(mean_kl(score_all(*engine, ids, vocabulary),
                              decode_all(*engine, ids, vocabulary), vocabulary),
                      1e-5)
                << name << " " << name_of(format);
        }
    }
}

TEST(KvCache, every_family_runs_with_every_format) {
    for (const auto& entry : std::filesystem::directory_iterator(vectors_dir / "families")) {
        const ModelFiles files = open_or_die(entry.path());
        const Reference reference = read_reference(entry.path() / "reference.safetensors");
        const auto ids = std::span(reference.ids).first(70);
        const auto wanted =
            std::span(reference.logits).first(70 * static_cast<std::size_t>(reference.vocabulary));
        for (const KvFormat format : formats) {
            const auto engine = engine_or_die(files, {.context = 80, .kv = format});
            const double kl = mean_kl(wanted, score_all(*engine, ids, reference.vocabulary),
                                      reference.vocabulary);
            EXPECT_LT(kl, 0.05) << entry.path().filename() << " " << name_of(format);
        }
    }
}

TEST(KvCache, its_bytes_are_those_of_the_catalog_s_formula) {
    for (const char* name : {"llama-pico", "gpt2-nano", "opt-nano"}) {
        const ModelFiles files = random_or_die(name);
        const ModelConfig& config = files.config;
        for (const std::string method : {"fp16", "fp32", "int4-g64"}) {
            for (const KvFormat format : {KvFormat::bits16, KvFormat::int8, KvFormat::fp8}) {
                const auto engine = engine_or_die(
                    files, {.method = method, .batch = 3, .context = 50, .kv = format});
                MemoryQuestion question;
                question.shape = find_shape(name);
                question.method = method_of(method);
                question.kv = format;
                question.batch = 3;
                question.context = 50;
                EXPECT_EQ(estimate_memory(question).kv_cache, engine->memory().kv_cache)
                    << name << " " << method << " " << name_of(format);
                const auto heads = static_cast<std::uint64_t>(2 * config.layers * config.kv_heads);
                const auto dim = static_cast<std::uint64_t>(config.head_dim);
                const std::uint64_t one = format == KvFormat::int8  ? dim + 4
                                          : format == KvFormat::fp8 ? dim
                                          : method == "fp32"        ? 4 * dim
                                                                    : 2 * dim;
                EXPECT_EQ(engine->bytes_per_token(20) - engine->bytes_per_token(19),
                          3 * heads * one)
                    << name << " " << method << " " << name_of(format);
            }
        }
    }
}

TEST(KvCache, what_is_not_finite_is_refused_and_not_rounded_away) {
    // Keys and values so large that their halves would be infinite: float32 holds them, and so does
    // int8 with its scale; e4m3 holds 448 at most.
    const float large[2] = {3e38f, -1e5f};
    auto backend = make_cpu_backend();
    for (const KvType type : {KvType::i8, KvType::e4m3}) {
        auto made = KvCache::create(*backend, {.layers = 1,
                                               .sequences = 1,
                                               .context = 3,
                                               .kv_heads = 1,
                                               .head_dim = 2,
                                               .type = type});
        ASSERT_TRUE(made.ok());
        const KvHead head = made->head(0, 0, 0);
        const float poison[2] = {1, std::numeric_limits<float>::infinity()};
        ops().store[static_cast<int>(type)](large, large, 0, 2, head);
        ops().store[static_cast<int>(type)](poison, poison, 1, 2, head);
        float q[2] = {0, 0}, out[2];
        AttentionRows rows;
        rows.rows = 1;
        rows.head_dim = 2;
        rows.q[0] = q;
        rows.out[0] = out;
        rows.last[0] = 1;
        rows.cache = head;
        ops().attention[static_cast<int>(type)](rows);
        EXPECT_NEAR(out[0], type == KvType::i8 ? 3e38 : 448, type == KvType::i8 ? 1e33 : 0);
        rows.last[0] = 2;
        ops().attention[static_cast<int>(type)](rows);
        EXPECT_TRUE(std::isnan(out[1]));
    }
}

}  // namespace
}  // namespace bitsweep::testing_inference
