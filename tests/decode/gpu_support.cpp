#include "tests/decode/gpu_support.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <random>

#include "worker/inference/ceilings/ceilings.h"

namespace bitsweep::decode::test {
namespace {

std::filesystem::path models_dir() {
    const char* source = std::getenv("BITSWEEP_SOURCE_DIR");  // where the program has travelled
    return std::filesystem::path(source != nullptr ? source : BITSWEEP_SOURCE_DIR) /
           "experiments/models";
}

Subject random_subject(const ModelShape& shape, std::int64_t window, int planted) {
    Subject subject;
    subject.name = std::string(shape.name);
    subject.files.config = config_from_shape(shape);
    subject.files.config.sliding_window = window;
    subject.files.weights = random_weights(subject.files.config, {.outlier_columns = planted});
    subject.planted = planted;
    subject.files.format = "random";
    return subject;
}

ModelShape shape_of(const char* name, ModelFamily family, std::int64_t width, std::int64_t heads,
                    std::int64_t kv_heads, std::int64_t head_dim, std::int64_t ffn) {
    return {.name = name,
            .family = family,
            .layers = 2,
            .width = width,
            .heads = heads,
            .kv_heads = kv_heads,
            .head_dim = head_dim,
            .ffn = ffn,
            .vocabulary = 1003,
            .positions = 1024,
            .tied = family != ModelFamily::mistral,
            .embed_width = width,
            .rope_theta = 10000,
            .parameters = 0};
}

}  // namespace

bool has_card() {
    return device_count() > 0;
}

std::vector<Subject> subjects() {
    std::vector<Subject> all;
    for (const char* name : {"llama-nano", "llama-micro", "gpt2-nano", "opt-nano"}) {
        auto files = open_model(models_dir() / name);
        EXPECT_TRUE(files.ok()) << name << ": " << files.error().message;
        if (files) {
            all.push_back({name, std::move(*files)});
        }
    }
    const ModelShape qwen = shape_of("qwen-like", ModelFamily::qwen2, 448, 14, 2, 32, 832);
    const ModelShape mistral = shape_of("mistral-like", ModelFamily::mistral, 512, 4, 2, 128, 1344);
    all.push_back(random_subject(qwen, 0, 0));
    all.push_back(random_subject(mistral, 200, 0));
    all.push_back(random_subject(mistral, 200, 6));
    return all;
}

std::unique_ptr<Engine> engine_on_card(const ModelFiles& files, const Wish& wish) {
    EngineOptions options;
    const auto method = parse_method(wish.method);
    EXPECT_TRUE(method.ok()) << wish.method;
    options.method = *method;
    options.device = "cuda:0";
    options.threshold = wish.threshold;
    options.head_bits = wish.head_bits;
    options.threads = 4;
    options.context = wish.context;
    options.decode_path = wish.path;
    auto engine = load_engine(files, options, nullptr);
    EXPECT_TRUE(engine.ok()) << files.config.name << " " << wish.method << ": "
                             << engine.error().message;
    return engine ? std::move(*engine) : nullptr;
}

std::vector<std::int32_t> some_ids(const ModelFiles& files, std::int64_t count) {
    std::mt19937_64 generator(11);
    std::vector<std::int32_t> ids;
    for (std::int64_t i = 0; i < count; ++i) {
        ids.push_back(static_cast<std::int32_t>(
            generator() % static_cast<std::uint64_t>(files.config.vocabulary)));
    }
    return ids;
}

double worst_regret(Engine& engine, const SequencePlan& plan,
                    const std::vector<std::int32_t>& tokens) {
    std::vector<float> logits(static_cast<std::size_t>(plan.vocabulary));
    std::vector<std::int32_t> ids = plan.prompt;
    double worst = 0;
    engine.reset();
    for (const std::int32_t token : tokens) {
        const Status status =
            engine.forward(ids, static_cast<std::int64_t>(ids.size()), logits.data());
        EXPECT_TRUE(status.ok()) << status.error().message;
        if (!status) {
            return INFINITY;
        }
        double sum = 0, squares = 0;
        for (const float value : logits) {
            sum += value;
            squares += static_cast<double>(value) * value;
        }
        const double count = static_cast<double>(logits.size());
        const double deviation = std::sqrt(squares / count - sum / count * (sum / count));
        const float best = *std::max_element(logits.begin(), logits.end());
        worst = std::max(worst, (best - logits[static_cast<std::size_t>(token)]) / deviation);
        ids = {token};
    }
    return worst;
}

}  // namespace bitsweep::decode::test
