#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <set>

#include "tests/inference/support.h"
#include "worker/inference/weight_names.h"

namespace bitsweep::testing_inference {
namespace {

std::vector<float> rows_of(const WeightSource& source, const std::string& name, std::int64_t begin,
                           std::int64_t end, std::int64_t columns) {
    std::vector<float> values(static_cast<std::size_t>((end - begin) * columns));
    const Status status = source.read_rows(name, begin, end, values.data());
    EXPECT_TRUE(status.ok()) << status.error().message;
    return values;
}

bool ends_with_any(std::string_view text, std::initializer_list<std::string_view> ends) {
    return std::ranges::any_of(ends, [text](std::string_view end) { return text.ends_with(end); });
}

const char* const down = "model.layers.1.mlp.down_proj.weight";  // [64, 192] of llama-pico

TEST(RandomWeights, follow_from_seed_name_and_row_alone) {
    const ModelConfig config = config_from_shape(*find_shape("llama-pico"));
    const auto one = random_weights(config, {.seed = 3});
    const auto same = random_weights(config, {.seed = 3});
    const auto other = random_weights(config, {.seed = 4});
    const auto all = rows_of(*one, down, 0, 64, 192);
    const auto part = rows_of(*same, down, 40, 41, 192);
    EXPECT_TRUE(std::equal(part.begin(), part.end(), all.begin() + 40 * 192));
    EXPECT_NE(all, rows_of(*other, down, 0, 64, 192));
    EXPECT_NE(all, rows_of(*one, "model.layers.0.mlp.down_proj.weight", 0, 64, 192));
    const std::set<float> first_of_rows{all[0], all[192], all[2 * 192], all[3 * 192]};
    EXPECT_EQ(first_of_rows.size(), 4u);
}

TEST(RandomWeights, are_about_normal_with_deviation_two_hundredths) {
    const ModelConfig config = config_from_shape(*find_shape("llama-micro"));
    const auto source = random_weights(config, {.outlier_columns = 0});
    const auto values = rows_of(*source, "model.embed_tokens.weight", 0, 4096, 256);
    double mean = 0, square = 0, beyond_two = 0;
    for (const float v : values) {
        mean += v;
        square += static_cast<double>(v) * v;
        beyond_two += std::fabs(v) > 0.04 ? 1 : 0;
    }
    const auto count = static_cast<double>(values.size());
    EXPECT_NEAR(mean / count, 0, 1e-4);
    EXPECT_NEAR(std::sqrt(square / count), 0.02, 1e-4);
    EXPECT_NEAR(beyond_two / count, 0.0455, 0.005);  // of a normal distribution
}

TEST(RandomWeights, have_every_tensor_that_a_family_reads_and_no_other) {
    for (const char* name : {"llama-pico", "gpt2-nano", "opt-nano"}) {
        const ModelConfig config = config_from_shape(*find_shape(name));
        const auto source = random_weights(config, {});
        for (const TensorSpec& spec : required_tensors(config)) {
            ASSERT_TRUE(source->contains(spec.name)) << spec.name;
            EXPECT_EQ(source->shape(spec.name).value(), spec.shape) << spec.name;
        }
        EXPECT_FALSE(source->contains("nonsense"));
        EXPECT_EQ(source->shape("nonsense").error().code, ErrorCode::not_found);
    }
    const auto source = random_weights(config_from_shape(*find_shape("llama-pico")), {});
    float value = 0;
    EXPECT_EQ(source->read_rows(down, 63, 65, &value).error().code, ErrorCode::invalid_input);
    EXPECT_EQ(source->read_rows(down, -1, 0, &value).error().code, ErrorCode::invalid_input);
}

// The planted columns of each layer's inputs, found by the recorder as in a measured job.
TEST(RandomWeights, planted_columns_reach_the_magnitude_in_the_inputs_of_every_layer) {
    for (const char* name : {"llama-nano", "gpt2-nano", "opt-nano"}) {
        for (const int columns : {0, 3, 6}) {
            const ModelConfig config = config_from_shape(*find_shape(name));
            ModelFiles files;
            files.config = config;
            files.weights =
                random_weights(config, {.outlier_columns = columns, .outlier_magnitude = 8});
            const auto engine = engine_or_die(files, {.threshold = 8});
            std::vector<std::int32_t> ids(64);
            for (std::size_t i = 0; i < ids.size(); ++i) {
                ids[i] = static_cast<std::int32_t>(i * 61 % 4096);
            }
            std::vector<LayerOutliers> outliers;
            const auto ignore = [](std::int64_t, std::int64_t, const float*) -> Status {
                return {};
            };
            ASSERT_TRUE(engine->score(ids, ignore, &outliers).ok());
            ASSERT_EQ(outliers.size(), 4u * static_cast<std::size_t>(config.layers) + 1);
            for (const LayerOutliers& layer : outliers) {
                const bool normed = ends_with_any(
                    layer.layer, {"qkv_proj", "gate_up_proj", "c_attn", "c_fc", "fc1"});
                const bool inner = ends_with_any(layer.layer, {"down_proj", "mlp.c_proj", "fc2"});
                if (inner && columns > 0) {
                    // A column whose activation stays shut on all 64 tokens does not show.
                    EXPECT_GE(layer.columns, columns - 2) << name << " " << layer.layer;
                    EXPECT_LE(layer.columns, columns) << name << " " << layer.layer;
                } else {
                    EXPECT_EQ(layer.columns, normed ? columns : 0) << name << " " << layer.layer;
                }
            }
        }
    }
}

// One layer as wide as Llama-3.1-8B, few of everything else.
ModelFiles wide_model(int outlier_columns) {
    ModelShape shape = *find_shape("llama-nano");
    shape.layers = 1;
    shape.width = shape.embed_width = 4096;
    shape.heads = 4;
    shape.kv_heads = 1;
    shape.head_dim = 64;
    shape.ffn = 512;
    ModelFiles files;
    files.config = config_from_shape(shape);
    files.weights = random_weights(files.config, {.outlier_columns = outlier_columns});
    return files;
}

TEST(RandomWeights, of_wide_gated_models_have_no_outliers_but_the_planted_ones) {
    std::vector<std::int32_t> ids(256);
    for (std::size_t i = 0; i < ids.size(); ++i) {
        ids[i] = static_cast<std::int32_t>(i * 61 % 4096);
    }
    const auto ignore = [](std::int64_t, std::int64_t, const float*) -> Status { return {}; };
    for (const int columns : {0, 6}) {
        const ModelFiles files = wide_model(columns);
        const auto engine = engine_or_die(files, {.threshold = 6, .context = 256});
        std::vector<LayerOutliers> outliers;
        ASSERT_TRUE(engine->score(ids, ignore, &outliers).ok());
        const auto down = std::ranges::find_if(outliers, [](const LayerOutliers& layer) {
            return layer.layer.ends_with("down_proj");
        });
        ASSERT_NE(down, outliers.end());
        EXPECT_EQ(down->columns, columns);
        if (columns == 0) {  // 512 x 256 values of an RMS of 0.2, a heavy tail
            EXPECT_GT(down->max_abs, 2);
            EXPECT_LT(down->max_abs, 6);
        }
    }
}

TEST(RandomWeights, of_ups_are_smaller_where_the_model_is_wide) {
    const auto deviation = [](const char* shape, const std::string& name, std::int64_t columns) {
        const auto source =
            random_weights(config_from_shape(*find_shape(shape)), {.outlier_columns = 0});
        double squares = 0;
        const auto rows = rows_of(*source, name, 100, 120, columns);
        for (const float v : rows) {
            squares += static_cast<double>(v) * v;
        }
        return std::sqrt(squares / static_cast<double>(rows.size()));
    };
    const std::string up = "model.layers.1.mlp.up_proj.weight";
    const std::string gate = "model.layers.1.mlp.gate_proj.weight";
    EXPECT_NEAR(deviation("llama-3.1-8b", up, 4096), 0.02 * 0.2 / (0.6 * 0.0004 * 4096), 1e-4);
    EXPECT_NEAR(deviation("llama-3.1-8b", gate, 4096), 0.02, 4e-4);
    EXPECT_NEAR(deviation("llama-micro", up, 256), 0.02, 1e-3);
    EXPECT_NEAR(deviation("opt-6.7b", "decoder.layers.1.fc1.weight", 4096), 0.02, 4e-4);
}

TEST(RandomWeights, planted_columns_change_the_model_little_and_the_sum_of_int8_much) {
    const ModelConfig config = config_from_shape(*find_shape("llama-nano"));
    const std::vector<std::int32_t> ids{1, 500, 77, 4000, 2, 9, 1234};
    std::vector<std::vector<float>> exact;
    std::vector<double> lost;
    for (const int columns : {0, 6}) {
        ModelFiles files;
        files.config = config;
        files.weights = random_weights(config, {.outlier_columns = columns});
        const auto reference = engine_or_die(files, {.method = "fp32"});
        const auto rounded = engine_or_die(files, {.method = "w8a8"});
        exact.push_back(score_all(*reference, ids, config.vocabulary));
        lost.push_back(
            mean_kl(exact.back(), score_all(*rounded, ids, config.vocabulary), config.vocabulary));
    }
    EXPECT_LT(max_difference(exact[0], exact[1]), 1e-4);
    EXPECT_GT(lost[1], 10 * lost[0]);
}

TEST(RandomWeights, are_made_fast_enough_to_load_a_large_shape) {
    const ModelConfig config = config_from_shape(*find_shape("llama-3.2-1b"));
    const auto source = random_weights(config, {});
    std::vector<float> rows(512 * 8192);
    double best = 0;
    for (int round = 0; round < 5; ++round) {
        const auto start = std::chrono::steady_clock::now();
        ASSERT_TRUE(
            source->read_rows("model.layers.3.mlp.down_proj.weight", 0, 512, rows.data()).ok());
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
        best = std::max(best, static_cast<double>(rows.size()) / took.count());
    }
    // 100 M values/s a thread are expected; a loaded or sanitized machine gets a wide margin.
    EXPECT_GT(best, 5e6);
    RecordProperty("values_per_second", std::to_string(best));
}

}  // namespace
}  // namespace bitsweep::testing_inference
