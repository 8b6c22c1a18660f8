// What callers rely on: errors, batches, chunks, reset, outlier records.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/inference/support.h"

namespace bitsweep::testing_inference {
namespace {

constexpr auto ignore = [](std::int64_t, std::int64_t, const float*) -> Status { return {}; };

std::vector<std::int32_t> text(std::size_t count, std::int32_t seed, std::int64_t vocabulary) {
    std::vector<std::int32_t> ids(count);
    for (std::size_t i = 0; i < count; ++i) {
        seed = static_cast<std::int32_t>((seed * 1103515245ll + 12345) & 0x7fffffff);
        ids[i] = static_cast<std::int32_t>(seed % vocabulary);
    }
    return ids;
}

Error load_error(const ModelFiles& files, void (*change)(EngineOptions& options)) {
    EngineOptions options;
    options.method = method_of("fp16");
    options.context = 8;
    change(options);
    auto engine = load_engine(files, options, nullptr);
    EXPECT_FALSE(engine.ok());
    return engine.ok() ? Error{} : engine.error();
}

TEST(Engine, refuses_options_that_a_model_cannot_have) {
    const ModelFiles files = random_or_die("llama-pico");
    const Error context = load_error(files, [](EngineOptions& o) { o.context = 513; });
    EXPECT_EQ(context.code, ErrorCode::invalid_input);
    EXPECT_EQ(context.message, "llama-pico: a context of 513 positions; this model takes 1 to 512");
    EXPECT_EQ(load_error(files, [](EngineOptions& o) { o.context = 0; }).code,
              ErrorCode::invalid_input);
    EXPECT_EQ(load_error(files, [](EngineOptions& o) { o.threads = 0; }).code,
              ErrorCode::invalid_input);
    EXPECT_EQ(load_error(files, [](EngineOptions& o) { o.batch = 0; }).code,
              ErrorCode::invalid_input);
    EXPECT_EQ(load_error(files, [](EngineOptions& o) { o.batch = 1 << 30; }).code,
              ErrorCode::invalid_input);
    EXPECT_EQ(load_error(files, [](EngineOptions& o) { o.head_bits = 5; }).message,
              "llama-pico: head bits 5; known: 16, 8, 4");
}

TEST(Engine, refuses_a_card_that_this_build_or_machine_lacks) {
    const ModelFiles files = random_or_die("llama-pico");
    const Error error = load_error(files, [](EngineOptions& o) { o.device = "cuda:99"; });
    EXPECT_EQ(error.code, ErrorCode::unsupported) << error.message;
    EXPECT_NE(error.message.find("CUDA"), std::string::npos) << error.message;
}

TEST(Engine, refuses_a_cache_that_no_machine_holds_with_its_size) {
    const ModelFiles files = random_or_die("llama-pico");
    const Error error = load_error(files, [](EngineOptions& o) {
        o.batch = 1 << 20;
        o.context = 512;
    });
    EXPECT_EQ(error.code, ErrorCode::out_of_memory);
    EXPECT_NE(error.message.find("wanted 196608 MiB"), std::string::npos) << error.message;
}

TEST(Engine, refuses_ids_and_lengths_that_do_not_fit_and_stays_usable) {
    const ModelFiles files = random_or_die("llama-pico");
    const auto engine = engine_or_die(files, {.context = 8});
    const std::vector<std::int32_t> good{1, 2, 3};
    const std::vector<std::int32_t> bad{1, 4096, 3};
    const std::vector<std::int32_t> negative{-1};
    const auto code = [&](std::span<const std::int32_t> ids, std::int64_t tokens) {
        return engine->forward(ids, tokens, nullptr).error().code;
    };
    EXPECT_EQ(engine->forward(bad, 3, nullptr).error().message,
              "llama-pico: token id 4096 is outside the vocabulary, 0 to 4095");
    EXPECT_EQ(code(negative, 1), ErrorCode::invalid_input);
    EXPECT_EQ(code(good, 2), ErrorCode::invalid_input);
    EXPECT_EQ(code({}, 0), ErrorCode::invalid_input);
    ASSERT_TRUE(engine->forward(good, 3, nullptr).ok());
    ASSERT_TRUE(engine->forward(good, 3, nullptr).ok());
    EXPECT_EQ(engine->forward(good, 3, nullptr).error().message,
              "llama-pico: 6 + 3 tokens exceed the 8 positions reserved; ask for a longer context");
    engine->reset();
    EXPECT_TRUE(engine->forward(good, 3, nullptr).ok());
    EXPECT_EQ(engine->score(std::vector<std::int32_t>(513, 1), ignore, nullptr).error().code,
              ErrorCode::invalid_input);
}

TEST(Engine, a_batch_of_n_equals_n_single_runs) {
    for (const char* name : {"llama-nano", "gpt2-nano", "opt-nano"}) {
        const ModelFiles files = open_or_die(models_dir / name);
        const std::int64_t vocabulary = files.config.vocabulary;
        for (const std::string method : {"fp32", "fp16", "int8", "w8a8", "nf4", "int4-g64"}) {
            const auto batch = engine_or_die(files, {.method = method, .threads = 2, .batch = 3});
            const auto single = engine_or_die(files, {.method = method});
            std::vector<std::int32_t> ids;
            for (std::int32_t sequence = 0; sequence < 3; ++sequence) {
                const auto own = text(11, 100 + sequence, vocabulary);
                ids.insert(ids.end(), own.begin(), own.end());
            }
            std::vector<float> logits(static_cast<std::size_t>(3 * vocabulary));
            std::vector<float> alone(static_cast<std::size_t>(vocabulary));
            ASSERT_TRUE(batch->forward(ids, 11, logits.data()).ok());
            const std::vector<std::int32_t> next{5, 6, 7};
            std::vector<float> stepped(logits.size());
            ASSERT_TRUE(batch->forward(next, 1, stepped.data()).ok());
            for (std::size_t sequence = 0; sequence < 3; ++sequence) {
                single->reset();
                const auto own = std::span(ids).subspan(sequence * 11, 11);
                ASSERT_TRUE(single->forward(own, 11, alone.data()).ok());
                const auto v = static_cast<std::size_t>(vocabulary);
                EXPECT_LT(mean_kl(alone, std::span(logits).subspan(sequence * v, v), vocabulary),
                          1e-4)
                    << name << " " << method;
                ASSERT_TRUE(
                    single->forward(std::span(next).subspan(sequence, 1), 1, alone.data()).ok());
                EXPECT_LT(mean_kl(alone, std::span(stepped).subspan(sequence * v, v), vocabulary),
                          1e-4)
                    << name << " " << method;
            }
        }
    }
}

TEST(Engine, chunks_of_a_prefill_equal_one_pass_whatever_their_length_and_threads) {
    const ModelFiles files = open_or_die(models_dir / "llama-nano");
    const std::int64_t vocabulary = files.config.vocabulary;
    const auto ids = text(90, 1, vocabulary);
    const auto whole = engine_or_die(files, {});
    const auto wanted = score_all(*whole, ids, vocabulary);
    for (const std::int64_t rows : {1, 7, 16, 33, 90}) {
        for (const int threads : {1, 2}) {
            const auto chunked = engine_or_die(files, {.threads = threads, .prefill_rows = rows});
            EXPECT_LT(max_difference(wanted, score_all(*chunked, ids, vocabulary)), 2e-4) << rows;
        }
    }
}

TEST(Engine, reset_forgets_everything) {
    const ModelFiles files = open_or_die(models_dir / "gpt2-nano");
    const std::int64_t vocabulary = files.config.vocabulary;
    const auto engine = engine_or_die(files, {});
    const auto ids = text(40, 2, vocabulary);
    const auto first = decode_all(*engine, ids, vocabulary);
    decode_all(*engine, text(90, 3, vocabulary), vocabulary);
    score_all(*engine, text(96, 4, vocabulary), vocabulary);
    EXPECT_EQ(max_difference(first, decode_all(*engine, ids, vocabulary)), 0);
}

TEST(Engine, a_sink_that_fails_ends_the_score_with_its_error) {
    const ModelFiles files = random_or_die("llama-pico");
    const auto engine = engine_or_die(files, {});
    const std::vector<std::int32_t> ids{1, 2, 3};
    const auto sink = [](std::int64_t, std::int64_t, const float*) -> Status {
        return make_error(ErrorCode::interrupted, "enough");
    };
    EXPECT_EQ(engine->score(ids, sink, nullptr).error().message, "enough");
    EXPECT_TRUE(engine->forward(ids, 3, nullptr).ok());
}

TEST(Engine, outlier_records_name_every_linear_input_and_count_what_the_threshold_counts) {
    const ModelFiles files = open_or_die(models_dir / "llama-pico");
    const auto ids = heldout_ids(files, 256);
    std::vector<std::int64_t> columns;
    for (const double threshold : {1.0, 3.0, 6.0, 1000.0}) {
        const auto engine = engine_or_die(files, {.threshold = threshold, .context = 256});
        std::vector<LayerOutliers> outliers;
        ASSERT_TRUE(engine->score(ids, ignore, &outliers).ok());
        ASSERT_EQ(outliers.size(), 13u);
        EXPECT_EQ(outliers[0].layer, "model.layers.0.self_attn.qkv_proj");
        EXPECT_EQ(outliers[1].layer, "model.layers.0.self_attn.o_proj");
        EXPECT_EQ(outliers[2].layer, "model.layers.0.mlp.gate_up_proj");
        EXPECT_EQ(outliers[3].layer, "model.layers.0.mlp.down_proj");
        EXPECT_EQ(outliers[3].in_features, 192);
        EXPECT_EQ(outliers[12].layer, "lm_head");
        std::int64_t sum = 0;
        for (const LayerOutliers& layer : outliers) {
            sum += layer.columns;
            EXPECT_EQ(layer.columns > 0, layer.max_abs >= threshold) << layer.layer;
            EXPECT_LE(layer.columns_per_token, static_cast<double>(layer.columns));
        }
        columns.push_back(sum);
    }
    EXPECT_GT(columns[0], columns[1]);
    EXPECT_GT(columns[1], columns[2]);
    EXPECT_EQ(columns[3], 0);
}

// A weight source that lies once.
class Broken : public WeightSource {
 public:
    Broken(std::unique_ptr<WeightSource> good, std::string name, float value)
        : good_(std::move(good)), name_(std::move(name)), value_(value) {}
    bool contains(std::string_view name) const override { return good_->contains(name); }
    Result<std::vector<std::int64_t>> shape(std::string_view name) const override {
        auto shape = TRY(good_->shape(name));
        if (name == name_ && value_ == 0) {
            shape.back() += 1;
        }
        return shape;
    }
    Status read_rows(std::string_view name, std::int64_t begin, std::int64_t end,
                     float* dst) const override {
        TRY(good_->read_rows(name, begin, end, dst));
        if (name == name_ && begin == 0) {
            dst[3] = value_;
        }
        return {};
    }
    std::string stored_type(std::string_view name) const override {
        return good_->stored_type(name);
    }

 private:
    std::unique_ptr<WeightSource> good_;
    std::string name_;
    float value_;
};

Error broken_error(const std::string& tensor, float value) {
    ModelFiles files = random_or_die("llama-pico");
    files.weights = std::make_unique<Broken>(std::move(files.weights), tensor, value);
    return load_error(files, [](EngineOptions&) {});
}

TEST(Engine, weights_that_are_not_numbers_or_have_another_shape_are_named) {
    const Error norm = broken_error("model.layers.2.input_layernorm.weight", NAN);
    EXPECT_EQ(norm.code, ErrorCode::invalid_numbers);
    EXPECT_EQ(norm.message,
              "llama-pico: tensor model.layers.2.input_layernorm.weight holds NaN or infinity");
    const Error linear = broken_error("model.layers.1.mlp.up_proj.weight", INFINITY);
    EXPECT_EQ(linear.code, ErrorCode::invalid_numbers);
    EXPECT_NE(linear.message.find("model.layers.1.mlp.gate_up_proj"), std::string::npos)
        << linear.message;
    const Error shape = broken_error("model.layers.0.mlp.down_proj.weight", 0);
    EXPECT_EQ(shape.code, ErrorCode::corrupt);
    EXPECT_EQ(shape.message,
              "llama-pico: tensor model.layers.0.mlp.down_proj.weight has shape [64, 193], its "
              "config asks for [64, 192]");
}

TEST(Engine, numbers_that_leave_their_range_end_as_invalid_numbers) {
    ModelFiles files = random_or_die("llama-pico");
    // A finite norm weight whose products overflow float32.
    files.weights = std::make_unique<Broken>(std::move(files.weights), "model.norm.weight", 3e38f);
    const auto engine = engine_or_die(files, {.context = 8});
    std::vector<float> logits(4096);
    Status status;
    for (std::int32_t id = 0; status.ok() && id < 8; ++id) {  // some |normed feature| exceeds 1.2
        status = engine->forward(std::span(&id, 1), 1, logits.data());
    }
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(status.error().code, ErrorCode::invalid_numbers);
    EXPECT_NE(status.error().message.find("fp32: logits at position"), std::string::npos)
        << status.error().message;
}

TEST(Engine, load_reports_its_parts) {
    const ModelFiles files = open_or_die(models_dir / "llama-nano");
    LoadTrace trace;
    trace.open_ns = 1000;
    EngineOptions options;
    options.method = method_of("int8");
    options.context = 16;
    ASSERT_TRUE(load_engine(files, options, &trace).ok());
    EXPECT_GT(trace.read_ns, 0);
    EXPECT_GT(trace.pack_ns, 0);
    EXPECT_GE(trace.total_ns, 1000 + trace.read_ns + trace.pack_ns);
}

}  // namespace
}  // namespace bitsweep::testing_inference
