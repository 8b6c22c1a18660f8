// Calibration: what methods decide about a model from a slice of text.
#include <gtest/gtest.h>

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <random>
#include <set>

#include "tests/inference/support.h"
#include "worker/inference/calibration/calibrate.h"
#include "worker/inference/calibration/statistics.h"
#include "worker/inference/quant/awq/search.h"
#include "worker/inference/quant/gptq/hessian.h"

namespace bitsweep::testing_inference {
namespace {

constexpr std::int64_t window = 64;

std::vector<std::int32_t> random_ids(std::int64_t count, std::int64_t vocabulary) {
    std::mt19937_64 generator(5);
    std::vector<std::int32_t> ids;
    for (std::int64_t i = 0; i < count; ++i) {
        ids.push_back(
            static_cast<std::int32_t>(generator() % static_cast<std::uint64_t>(vocabulary)));
    }
    return ids;
}

Result<Calibration> calibration_of(const ModelFiles& files, const std::string& method,
                                   std::span<const std::int32_t> ids, double alpha = 0.5) {
    return calibrate(files,
                     {.method = method_of(method), .alpha = alpha, .window = window, .threads = 2},
                     ids, {});
}

// `files` seen through `calibration`; both outlive it.
ModelFiles decided(const ModelFiles& files, const Calibration& calibration,
                   const std::string& method) {
    ModelFiles out;
    out.config = files.config;
    auto weights = CalibratedWeights::create(*files.weights, calibration);
    EXPECT_TRUE(weights.ok());
    out.weights = std::move(*weights);
    out.format = files.format;
    out.calibrated_for = method;
    return out;
}

// What the held-out text has behind the part that scores the model.
struct Slices {
    std::vector<std::int32_t> scored;
    std::vector<std::int32_t> calibration;
};
Slices slices_of(const ModelFiles& files) {
    const auto ids = heldout_ids(files, 2048 + 4096);
    return {{ids.begin(), ids.begin() + 2048}, {ids.begin() + 2048, ids.end()}};
}

double kl_of(const ModelFiles& files, const std::string& method,
             const std::vector<std::int32_t>& ids) {
    const std::int64_t vocabulary = files.config.vocabulary;
    const auto part = std::span(ids).first(256);
    ModelFiles plain = open_or_die(files.config.name);
    const auto fp32 = score_all(*engine_or_die(plain, {.context = 256}), part, vocabulary);
    const auto engine = engine_or_die(files, {.method = method, .context = 256});
    return mean_kl(fp32, score_all(*engine, part, vocabulary), vocabulary);
}

TEST(Statistics, are_what_their_definitions_say) {
    constexpr std::int64_t in = 5, rows = 7;
    std::vector<float> x;
    for (std::int64_t i = 0; i < rows * in; ++i) {
        x.push_back(static_cast<float>((i * 37) % 19 - 9) / 4);
    }
    ThreadPool threads(2);
    InputStatistics statistics(in, Moments::second);
    statistics.add(threads, x.data(), 3);
    statistics.add(threads, x.data() + 3 * in, rows - 3);
    EXPECT_EQ(rows, statistics.rows());
    for (std::int64_t i = 0; i < in; ++i) {
        double largest = 0, sum = 0;
        for (std::int64_t r = 0; r < rows; ++r) {
            const double magnitude = std::fabs(x[static_cast<std::size_t>(r * in + i)]);
            largest = std::max(largest, magnitude);
            sum += magnitude;
        }
        EXPECT_EQ(largest, statistics.absmax()[static_cast<std::size_t>(i)]);
        EXPECT_FLOAT_EQ(static_cast<float>(sum / rows),
                        statistics.mean_abs()[static_cast<std::size_t>(i)]);
        for (std::int64_t j = 0; j < in; ++j) {
            double moment = 0;
            for (std::int64_t r = 0; r < rows; ++r) {
                moment += static_cast<double>(x[static_cast<std::size_t>(r * in + i)]) *
                          static_cast<double>(x[static_cast<std::size_t>(r * in + j)]);
            }
            EXPECT_NEAR(moment, statistics.moments()[static_cast<std::size_t>(i * in + j)], 1e-4);
        }
    }
}

TEST(Calibration, smoothing_and_scaling_leave_the_function_of_every_family_as_it_was) {
    int folded = 0;
    std::set<std::string> refused;
    for (const auto& entry : std::filesystem::directory_iterator(vectors_dir / "families")) {
        const ModelFiles files = open_or_die(entry.path());
        const std::int64_t vocabulary = files.config.vocabulary;
        const auto ids = random_ids(2 * window, vocabulary);
        const auto scored = std::span(ids).first(40);
        const auto wanted = score_all(*engine_or_die(files, {.context = 64}), scored, vocabulary);
        float largest = 0;
        for (const float logit : wanted) {
            largest = std::max(largest, std::fabs(logit));
        }
        for (const std::string method : {"smoothquant-o1", "smoothquant-o3", "awq-int4-g16"}) {
            auto calibration = calibration_of(files, method, ids, 0.7);
            if (!calibration.ok()) {
                EXPECT_EQ(ErrorCode::unsupported, calibration.error().code)
                    << calibration.error().message;
                refused.insert(entry.path().filename());
                continue;
            }
            for (auto& [name, weight] : calibration->weights) {
                weight.clip.clear();  // a limit is a change on purpose
            }
            const ModelFiles other = decided(files, *calibration, method);
            const auto logits =
                score_all(*engine_or_die(other, {.context = 64}), scored, vocabulary);
            EXPECT_LT(max_difference(wanted, logits), 1e-5 * largest)
                << entry.path().filename() << " " << method;
            ++folded;
        }
    }
    EXPECT_EQ(folded, 3 * 7);
    // Norms behind the blocks, and norms without weights.
    EXPECT_EQ((std::set<std::string>{"opt-no-biases", "opt-post-norm"}), refused);
}

TEST(Calibration, is_the_same_bit_for_bit_when_it_is_made_again) {
    const ModelFiles files = open_or_die(folder_of("llama-nano"));
    const auto ids = heldout_ids(files, 512);
    for (const std::string method : {"gptq-int3-g32", "awq-int3-g32", "smoothquant-o3"}) {
        const auto first = calibration_of(files, method, ids);
        const auto second = calibration_of(files, method, ids);
        ASSERT_TRUE(first.ok() && second.ok());
        EXPECT_EQ(first->vectors, second->vectors);
        ASSERT_EQ(first->weights.size(), second->weights.size());
        for (const auto& [name, weight] : first->weights) {
            const CalibratedWeight& other = second->weights.at(name);
            EXPECT_EQ(weight.codes, other.codes) << name;
            EXPECT_EQ(weight.grid, other.grid) << name;
            EXPECT_EQ(weight.columns, other.columns) << name;
            EXPECT_EQ(weight.clip, other.clip) << name;
        }
        EXPECT_GT(first->time_ns, 0);
        EXPECT_GT(first->peak_bytes, 0u);
    }
}

TEST(Calibration, refuses_text_shorter_than_a_window_and_methods_that_do_not_calibrate) {
    const ModelFiles files = open_or_die(folder_of("llama-nano"));
    const auto ids = random_ids(window - 1, files.config.vocabulary);
    const auto short_text = calibration_of(files, "gptq-int4-g64", ids);
    ASSERT_FALSE(short_text.ok());
    EXPECT_EQ(ErrorCode::invalid_input, short_text.error().code);
    EXPECT_NE(std::string::npos, short_text.error().message.find("less than one window of 64"));
    const auto plain = calibration_of(files, "int4-g64", random_ids(128, 100));
    ASSERT_FALSE(plain.ok());
    EXPECT_EQ(ErrorCode::unsupported, plain.error().code);
}

TEST(Calibration, an_engine_refuses_real_weights_that_nobody_calibrated) {
    const ModelFiles files = open_or_die(folder_of("llama-nano"));
    const auto engine =
        load_engine(files, {.method = method_of("gptq-int4-g64"), .context = 8}, nullptr);
    ASSERT_FALSE(engine.ok());
    EXPECT_NE(std::string::npos, engine.error().message.find("needs a calibration"));
}

TEST(Calibration, sizes_that_do_not_fit_the_model_are_corrupt) {
    const ModelFiles files = open_or_die(folder_of("llama-nano"));
    Calibration calibration;
    calibration.weights["model.layers.0.mlp.down_proj.weight"].columns = {1, 2, 3};
    const auto weights = CalibratedWeights::create(*files.weights, calibration);
    ASSERT_FALSE(weights.ok());
    EXPECT_EQ(ErrorCode::corrupt, weights.error().code);
}

TEST(Gptq, loses_less_than_rounding_to_nearest_on_every_layer_of_the_trained_models) {
    for (const std::string& model : trained_models()) {
        const ModelFiles files = open_or_die(folder_of(model));
        const auto slices = slices_of(files);
        for (const std::string method : {"gptq-int4-g64", "gptq-int3-g64"}) {
            const auto calibration = calibration_of(files, method, slices.calibration);
            ASSERT_TRUE(calibration.ok()) << calibration.error().message;
            EXPECT_EQ(calibration->weights.size(), calibration->errors.size());
            for (const auto& [name, error] : calibration->errors) {
                EXPECT_LT(error.decided, error.nearest) << model << " " << method << " " << name;
            }
        }
    }
}

TEST(Gptq, factor_agrees_with_the_inverse_that_eigen_finds) {
    constexpr Eigen::Index n = 96;
    std::mt19937_64 generator(11);
    std::normal_distribution<double> normal;
    const Eigen::MatrixXd x =
        Eigen::MatrixXd::NullaryExpr(200, n, [&] { return normal(generator); });
    const Eigen::MatrixXd h = x.transpose() * x;
    Eigen::MatrixXd damped = h;
    damped.diagonal().array() += 0.01 * h.diagonal().mean();
    const Eigen::MatrixXd inverse = damped.llt().solve(Eigen::MatrixXd::Identity(n, n));
    const Eigen::MatrixXd upper = inverse.llt().matrixU();

    std::vector<double> values(h.data(), h.data() + n * n);  // symmetric: either order
    const auto factor = quant::inverse_factor(values, n, 0.01);
    ASSERT_TRUE(factor.ok());
    EXPECT_DOUBLE_EQ(0.01, factor->damping_used);
    for (Eigen::Index i = 0; i < n; ++i) {
        for (Eigen::Index j = 0; j < n; ++j) {
            EXPECT_NEAR(upper(i, j), factor->upper[static_cast<std::size_t>(i * n + j)],
                        1e-12 * upper.cwiseAbs().maxCoeff());
        }
    }
}

TEST(Gptq, damping_grows_until_the_moments_can_be_inverted) {
    // Rank one, and a diagonal that rounding made negative definite in part.
    std::vector<double> h = {1, 1.1, 1.1, 1};
    const auto factor = quant::inverse_factor(h, 2, 0.01);
    ASSERT_TRUE(factor.ok());
    EXPECT_GT(factor->damping_used, 0.05);
    std::vector<double> never = {1, 0, 0, std::nan("")};
    EXPECT_EQ(ErrorCode::invalid_numbers, quant::inverse_factor(never, 2, 0.01).error().code);
}

TEST(Awq, takes_the_scale_whose_error_is_the_smallest_of_the_grid) {
    constexpr std::int64_t in = 128, out = 48, rows = 256;
    std::mt19937_64 generator(3);
    std::normal_distribution<float> normal;
    std::vector<float> x(rows * in), weight(out * in);
    for (std::size_t i = 0; i < x.size(); ++i) {
        x[i] = normal(generator) * (i % 16 == 3 ? 20.0f : 1.0f);
    }
    std::ranges::generate(weight, [&] { return normal(generator); });
    ThreadPool threads(2);
    InputStatistics inputs(in, Moments::second);
    inputs.add(threads, x.data(), rows);
    const quant::AwqGrid grid{.bits = 3, .group = 32};
    const std::vector<quant::AwqWeight> weights = {{weight, out}};
    const auto mean = inputs.mean_abs();
    const auto found = quant::search_scales(threads, weights, mean, inputs.moments(), grid);
    ASSERT_EQ(20u, found.errors.size());
    EXPECT_EQ(found.errors[static_cast<std::size_t>(found.best)],
              *std::ranges::min_element(found.errors));
    EXPECT_EQ(quant::scales_of(mean, found.best / 20.0), found.scale);
    EXPECT_GT(found.best, 0) << "outlier channels are worth a scale";
    EXPECT_LT(found.errors[static_cast<std::size_t>(found.best)], 0.8 * found.errors[0]);
    // The error is that of the outputs, computed directly.
    double direct = 0;
    std::vector<float> rounded(32), scaled(32);
    for (std::int64_t row = 0; row < out; ++row) {
        std::vector<double> lost;
        for (std::int64_t at = 0; at < in; at += 32) {
            quant::round_group(weight.data() + row * in + at, 32, 3, rounded.data());
            for (std::int64_t i = 0; i < 32; ++i) {
                lost.push_back(
                    static_cast<double>(weight[static_cast<std::size_t>(row * in + at + i)]) -
                    static_cast<double>(rounded[static_cast<std::size_t>(i)]));
            }
        }
        for (std::int64_t r = 0; r < rows; ++r) {
            double sum = 0;
            for (std::int64_t i = 0; i < in; ++i) {
                sum += lost[static_cast<std::size_t>(i)] *
                       static_cast<double>(x[static_cast<std::size_t>(r * in + i)]);
            }
            direct += sum * sum;
        }
    }
    EXPECT_NEAR(direct, found.errors[0], 1e-3 * direct);
}

TEST(Calibration, beats_rounding_to_nearest_at_3_bits_on_the_trained_models) {
    for (const std::string model : {"llama-micro", "gpt2-nano", "opt-nano"}) {
        ModelFiles files = open_or_die(folder_of(model));
        files.config.name = folder_of(model).string();
        const auto slices = slices_of(files);
        for (const auto& [method, nearest] :
             {std::pair<std::string, std::string>{"gptq-int3-g64", "int3-g64"},
              std::pair<std::string, std::string>{"awq-int3-g64", "int3-g64-asym"}}) {
            const auto calibration = calibration_of(files, method, slices.calibration);
            ASSERT_TRUE(calibration.ok()) << calibration.error().message;
            const ModelFiles calibrated = decided(files, *calibration, method);
            const double with = kl_of(calibrated, method, slices.scored);
            const double without = kl_of(files, nearest, slices.scored);
            EXPECT_LT(with, without) << model << " " << method;
            std::printf("%-12s %-14s KL %.4f, %s %.4f\n", model.c_str(), method.c_str(), with,
                        nearest.c_str(), without);
        }
    }
}

}  // namespace
}  // namespace bitsweep::testing_inference
