// One layer on a card against the same layer on the CPU: codes, sums, shapes, outliers.
#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>

#include "tests/inference/cuda_support.h"
#include "worker/inference/quant/shared/device_layer.h"
#include "worker/inference/quant/shared/halves.h"

namespace bitsweep::testing_inference {
namespace {

struct Shape {
    std::int64_t out, in;
};
const std::vector<Shape> shapes{{96, 64}, {33, 100}, {1, 7}, {130, 768}, {257, 200}, {64, 1027}};
// More outputs than one of the kernels' sizes takes; costly on the CPU.
const Shape tall{8200, 96};
const std::vector<std::int64_t> row_counts{1, 2, 3, 5, 8, 9, 20, 33, 64, 70, 150};

// Fresh values every run; the seed is in the trace of a failure.
std::uint64_t fresh_seed() {
    return std::random_device{}();
}

float as_input(float v, InputType type) {
    return type == InputType::f32   ? v
           : type == InputType::f16 ? quant::round_to_f16(v)
                                    : quant::bf16_to_f32(quant::f32_to_bf16(v));
}

struct Pair {
    std::unique_ptr<Linear> cpu, cuda;
};

Pair pack_both(Bench& bench, CudaBackend& backend, const std::string& method,
               const DenseWeight& weight, double threshold) {
    const MethodOptions options{method_of(method), threshold};
    auto cuda = pack_linear_cuda(weight, options, backend);
    EXPECT_TRUE(cuda.ok()) << method << ": " << (cuda.ok() ? "" : cuda.error().message);
    return {bench.pack(method, weight, threshold), cuda.ok() ? std::move(*cuda) : nullptr};
}

TEST_F(Cuda, packing_chooses_the_codes_and_scales_of_the_cpu) {
    for (const std::string& method : methods_of_cards()) {
        for (const Shape& shape : shapes) {
            const std::uint64_t seed = fresh_seed();
            SCOPED_TRACE(method + " " + std::to_string(shape.out) + "x" + std::to_string(shape.in) +
                         " seed " + std::to_string(seed));
            auto values = random_values(seed, shape.out * shape.in, 0.05);
            std::fill_n(values.begin(), std::min<std::int64_t>(shape.in, 70), 0.0f);
            const DenseWeight weight = dense_weight("w", shape.out, shape.in, values);
            Bench bench;
            const Pair pair = pack_both(bench, *backend_, method, weight, 6.0);
            ASSERT_NE(pair.cuda, nullptr);
            EXPECT_EQ(effective_weight(*pair.cpu, shape.out, shape.in),
                      effective_weight(*pair.cuda, shape.out, shape.in));
        }
    }
}

// The sum in double over effective weights and inputs as the layer reads them, and the sum of
// magnitudes, which rounding errors are proportional to.
struct Exact {
    double sum = 0, magnitude = 0;
};
Exact exact_sum(std::span<const float> w, std::span<const float> x, InputType type, float bias) {
    Exact e{bias, std::fabs(bias)};
    for (std::size_t k = 0; k < x.size(); ++k) {
        const double product = static_cast<double>(w[k]) * as_input(x[k], type);
        e.sum += product;
        e.magnitude += std::fabs(product);
    }
    return e;
}

// Relative to the magnitude: float sums, and for many rows weights rounded to the input type.
double bound_of(const DeviceLinear& layer) {
    return layer.input_type() == InputType::f32    ? 2e-6
           : layer.input_type() == InputType::bf16 ? 5e-3
                                                   : 6e-4;
}

TEST_F(Cuda, weight_only_products_are_those_of_the_effective_weights) {
    for (const std::string& method : methods_of_cards()) {
        if (method_of(method).rounds_activations) {
            continue;
        }
        std::vector<Shape> all = shapes;
        all.push_back(tall);
        for (const Shape& shape : all) {
            const std::uint64_t seed = fresh_seed();
            const auto values = random_values(seed, shape.out * shape.in, 0.05);
            const auto bias = random_values(seed + 1, shape.out, 0.5);
            Bench bench;
            const Pair pair = pack_both(bench, *backend_, method,
                                        dense_weight("w", shape.out, shape.in, values, bias), 0);
            ASSERT_NE(pair.cuda, nullptr);
            const auto w = effective_weight(*pair.cpu, shape.out, shape.in);
            const DeviceLinear& layer = on_device(*pair.cuda);
            for (const std::int64_t rows : row_counts) {
                if (shape.out == tall.out && rows != 20) {
                    continue;
                }
                SCOPED_TRACE(method + " " + std::to_string(shape.out) + "x" +
                             std::to_string(shape.in) + " rows " + std::to_string(rows) + " seed " +
                             std::to_string(seed));
                const auto x = random_values(seed + 2, rows * shape.in, 1.0);
                for (const float before : {0.0f, 3.0f}) {
                    const auto y = multiply(*backend_, *pair.cuda, x, rows, before);
                    double worst = 0;
                    for (std::int64_t r = 0; r < rows; ++r) {
                        for (std::int64_t o = 0; o < shape.out; ++o) {
                            const Exact e =
                                exact_sum(std::span(w).subspan(o * shape.in, shape.in),
                                          std::span(x).subspan(r * shape.in, shape.in),
                                          layer.input_type(), bias[static_cast<std::size_t>(o)]);
                            const double off =
                                std::fabs(y[static_cast<std::size_t>(r * shape.out + o)] - before -
                                          e.sum) /
                                (e.magnitude + before);
                            worst = off <= worst ? worst : off;
                        }
                    }
                    EXPECT_LT(worst, bound_of(layer)) << "added to " << before;
                }
            }
        }
    }
}

// Rows with a few planted inputs at or beyond the threshold, in columns of their own.
std::vector<float> with_outliers(std::uint64_t seed, std::int64_t rows, std::int64_t in) {
    auto x = random_values(seed, rows * in, 1.0);
    for (std::int64_t r = 0; r < rows; r += 2) {
        x[static_cast<std::size_t>(r * in + (3 + 5 * r) % in)] = 9.5f;
        x[static_cast<std::size_t>(r * in + in / 2)] = -6.0f;  // exactly the threshold
    }
    return x;
}

// `before` is what `got` was added to. Without outliers sums are exact; with them a result may be
// one rounding step of a half off where the order of their sum decides: hundreds of columns below
// a threshold of 1.
struct Sums {
    std::string method;
    double threshold = 0;
    float before = 0;
};
void expect_sums(const Sums& sums, const std::vector<float>& want, const std::vector<float>& got) {
    const bool many = sums.threshold > 0 && sums.threshold < 1;
    const bool exact = sums.threshold == 0 || sums.method == "w8a8";
    std::size_t differ = 0;
    ASSERT_EQ(want.size(), got.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
        const double step = std::fabs(want[i]) * 0x1p-10 + (many ? 2e-4 : 2e-6);
        ASSERT_LE(std::fabs(got[i] - (want[i] + sums.before)), step) << i;
        differ += got[i] != want[i] + sums.before;
    }
    EXPECT_LE(differ, exact ? 0 : 1 + got.size() / (many ? 5 : 50));
}

TEST_F(Cuda, eight_bit_activations_give_the_sums_of_the_cpu) {
    for (const std::string method :
         {"w8a8", "llmint8-bnb", "llmint8-fused", "llmint8-paper", "int8-absmax-tensor",
          "int8-rowwise", "int8-zeropoint", "int8-zeropoint-vectorwise"}) {
        for (const Shape& shape : shapes) {
            for (const double threshold : {0.0, 6.0, 0.5}) {  // 0.5: hundreds of columns
                const std::uint64_t seed = fresh_seed();
                const auto values = random_values(seed, shape.out * shape.in, 0.05);
                const auto bias = random_values(seed + 1, shape.out, 0.5);
                Bench bench(2);
                const Pair pair =
                    pack_both(bench, *backend_, method,
                              dense_weight("w", shape.out, shape.in, values, bias), threshold);
                ASSERT_NE(pair.cuda, nullptr);
                for (const std::int64_t rows : row_counts) {
                    SCOPED_TRACE(method + " " + std::to_string(shape.out) + "x" +
                                 std::to_string(shape.in) + " rows " + std::to_string(rows) +
                                 " threshold " + std::to_string(threshold) + " seed " +
                                 std::to_string(seed));
                    const auto x = with_outliers(seed + 2, rows, shape.in);
                    const auto want = bench.forward(*pair.cpu, x, rows, shape.out);
                    expect_sums({method, threshold}, want,
                                multiply(*backend_, *pair.cuda, x, rows));
                }
            }
        }
    }
}

// Enough outputs and rows that tiles of 256 outputs fill a card of any size up to 150
// multiprocessors, once and more than once.
TEST_F(Cuda, eight_bit_products_of_a_long_prompt_are_those_of_the_cpu) {
    const Shape wide{8201, 200};
    for (const std::string method : {"w8a8", "llmint8-fused", "llmint8-bnb"}) {
        for (const double threshold : {0.0, 6.0}) {
            const std::uint64_t seed = fresh_seed();
            const auto values = random_values(seed, wide.out * wide.in, 0.05);
            const auto bias = random_values(seed + 1, wide.out, 0.5);
            Bench bench(2);
            const Pair pair =
                pack_both(bench, *backend_, method,
                          dense_weight("w", wide.out, wide.in, values, bias), threshold);
            ASSERT_NE(pair.cuda, nullptr);
            for (const std::int64_t rows : {300, 900}) {
                SCOPED_TRACE(method + " rows " + std::to_string(rows) + " threshold " +
                             std::to_string(threshold) + " seed " + std::to_string(seed));
                auto x = random_values(seed + 2, rows * wide.in, 1.0);
                for (std::int64_t r = 0; r < rows; r += 7) {
                    x[static_cast<std::size_t>(r * wide.in + 5 + r % 3)] = 9.5f;
                }
                const auto want = bench.forward(*pair.cpu, x, rows, wide.out);
                expect_sums({method, threshold}, want, multiply(*backend_, *pair.cuda, x, rows));
            }
        }
    }
}

TEST_F(Cuda, llmint8_reproduces_the_vectors_of_bitsandbytes) {
    const auto tensors = read_vectors("llmint8");
    const auto list = nlohmann::json::parse(read_vector_json("llmint8"))["cases"];
    std::int64_t compared = 0;
    for (const auto& info : list) {
        if (info["generated"].get<bool>()) {
            continue;
        }
        const std::string name = info["weight"];
        const std::int64_t out = info["N"], in = info["K"];
        const auto values = tensors.at(name + ".W").floats();
        const auto cb = tensors.at(name + ".CB").as<std::int8_t>();
        const auto scb = tensors.at(name + ".SCB").as<float>();
        for (const auto& run : info["runs"]) {
            const std::string key = name + "." + run["run"].get<std::string>();
            if (!tensors.contains(key + ".out_nobias")) {
                continue;
            }
            const auto x = tensors.at(key + ".X").floats();
            const auto want = tensors.at(key + ".out_nobias").floats();
            for (const std::string method : {"llmint8-bnb", "llmint8-fused"}) {
                SCOPED_TRACE(key + " " + method);
                const MethodOptions options{method_of(method), run["threshold"].get<double>()};
                auto layer =
                    pack_linear_cuda(dense_weight(name, out, in, values), options, *backend_);
                ASSERT_TRUE(layer.ok());
                // Exact ties of a code may go either way (tests/quant): such rows are left out.
                const auto w = effective_weight(**layer, out, in);
                std::vector<bool> same(static_cast<std::size_t>(out), true);
                for (std::size_t i = 0; i < w.size(); ++i) {
                    const std::size_t o = i / static_cast<std::size_t>(in);
                    const float step = scb[o] * 7.874015718698502e-3f;
                    same[o] = same[o] && w[i] == static_cast<float>(cb[i]) * step;
                }
                const auto y = multiply(*backend_, **layer, x, run["rows"]);
                for (std::size_t i = 0; i < y.size(); ++i) {
                    const std::size_t o = i % static_cast<std::size_t>(out);
                    const std::size_t r = i / static_cast<std::size_t>(out);
                    // Both products are rounded to half: a large outlier sum has coarse steps.
                    double outliers = 0;
                    for (std::size_t k = 0; k < static_cast<std::size_t>(in); ++k) {
                        const float v = x[r * static_cast<std::size_t>(in) + k];
                        const bool counts =
                            options.threshold > 0 && std::fabs(v) >= options.threshold;
                        outliers +=
                            counts ? std::fabs(v * w[o * static_cast<std::size_t>(in) + k]) : 0;
                    }
                    if (same[o]) {
                        ASSERT_LE(std::fabs(y[i] - want[i]),
                                  (std::fabs(want[i]) + outliers) * 0x1p-9 + 0x1p-12)
                            << i;
                        ++compared;
                    }
                }
            }
        }
    }
    EXPECT_GT(compared, 1000);
}

const std::vector<std::string> methods_with_zero_points{"int8-zeropoint",
                                                        "int8-zeropoint-vectorwise"};

// `count` values to one side of 0, so that their codes' zero lies near an end, rows of `in` apart.
std::vector<float> one_sided(std::uint64_t seed, std::int64_t count, std::int64_t in, float unit) {
    auto values = random_values(seed, count, unit);
    for (std::int64_t i = 0; i < count; ++i) {
        float& v = values[static_cast<std::size_t>(i)];
        v = (v + 2 * unit) * (1.0f + 0.25f * static_cast<float>(i / in % 5));
    }
    return values;
}

TEST_F(Cuda, zero_points_at_the_end_of_a_range_give_the_sums_of_the_cpu) {
    for (const std::string& method : methods_with_zero_points) {
        for (const Shape& shape : shapes) {
            for (const double threshold : {0.0, 6.0}) {
                const std::uint64_t seed = fresh_seed();
                const auto values = one_sided(seed, shape.out * shape.in, shape.in, 0.05f);
                const auto bias = random_values(seed + 1, shape.out, 0.5);
                Bench bench(2);
                const Pair pair =
                    pack_both(bench, *backend_, method,
                              dense_weight("w", shape.out, shape.in, values, bias), threshold);
                ASSERT_NE(pair.cuda, nullptr);
                EXPECT_EQ(effective_weight(*pair.cpu, shape.out, shape.in),
                          effective_weight(*pair.cuda, shape.out, shape.in));
                for (const std::int64_t rows : {1, 7, 33, 150}) {
                    SCOPED_TRACE(method + " " + std::to_string(shape.out) + "x" +
                                 std::to_string(shape.in) + " rows " + std::to_string(rows) +
                                 " threshold " + std::to_string(threshold) + " seed " +
                                 std::to_string(seed));
                    auto x = one_sided(seed + 2, rows * shape.in, shape.in, -0.5f);
                    x[static_cast<std::size_t>(rows * shape.in - 1)] = 9.5f;
                    x[static_cast<std::size_t>(shape.in / 2)] = -6.0f;
                    const auto want = bench.forward(*pair.cpu, x, rows, shape.out);
                    for (const float before : {0.0f, 3.0f}) {
                        expect_sums({method, threshold, before}, want,
                                    multiply(*backend_, *pair.cuda, x, rows, before));
                    }
                }
            }
        }
    }
}

TEST_F(Cuda, zero_points_let_no_bad_number_pass_and_give_zero_for_zeros) {
    const std::int64_t out = 40, in = 100;
    const auto values = one_sided(1, out * in, in, 0.05f);
    for (const std::string& method : methods_with_zero_points) {
        for (const double threshold : {0.0, 6.0}) {
            const auto layer = pack_linear_cuda(dense_weight("w", out, in, values),
                                                {method_of(method), threshold}, *backend_);
            ASSERT_TRUE(layer.ok()) << layer.error().message;
            for (const std::int64_t rows : {2, 20}) {
                for (const float bad : {std::numeric_limits<float>::quiet_NaN(),
                                        std::numeric_limits<float>::infinity()}) {
                    auto x = one_sided(2, rows * in, in, -0.5f);
                    x[77] = bad;
                    const auto y = multiply(*backend_, **layer, x, rows);
                    EXPECT_TRUE(std::none_of(y.begin(), y.begin() + out,
                                             [](float v) { return std::isfinite(v); }))
                        << method << " threshold " << threshold << " rows " << rows;
                }
                const std::vector<float> zeros(static_cast<std::size_t>(rows * in), 0.0f);
                const auto y = multiply(*backend_, **layer, zeros, rows);
                EXPECT_TRUE(std::ranges::all_of(y, [](float v) { return v == 0.0f; })) << method;
            }
        }
    }
}

TEST_F(Cuda, a_damaged_weight_is_refused_with_layer_and_place) {
    auto values = random_values(1, 64 * 64, 0.05);
    values[64 * 9 + 5] = NAN;
    for (const std::string& method : methods_of_cards()) {
        const auto layer = pack_linear_cuda(dense_weight("model.layers.3.w", 64, 64, values),
                                            MethodOptions{method_of(method), 0}, *backend_);
        ASSERT_FALSE(layer.ok()) << method;
        EXPECT_EQ(layer.error().code, ErrorCode::invalid_numbers);
        EXPECT_NE(layer.error().message.find("model.layers.3.w[9, 5]"), std::string::npos)
            << layer.error().message;
    }
    values[64 * 9 + 5] = 1e5f;
    const auto layer = pack_linear_cuda(dense_weight("w", 64, 64, values),
                                        MethodOptions{method_of("fp16"), 0}, *backend_);
    ASSERT_FALSE(layer.ok());
    EXPECT_NE(layer.error().message.find("does not fit fp16"), std::string::npos);
}

TEST_F(Cuda, memory_of_a_layer_is_counted_and_given_back) {
    const std::uint64_t before = backend_->allocated().total();
    const auto values = random_values(1, 256 * 256, 0.05);
    for (const std::string method : {"int4-g64", "int4-g64-asym", "llmint8-paper", "int8-zeropoint",
                                     "int8-zeropoint-vectorwise"}) {
        for (const double threshold : {0.0, 6.0}) {
            SCOPED_TRACE(method + " threshold " + std::to_string(threshold));
            const auto layer = pack_linear_cuda(dense_weight("w", 256, 256, values),
                                                {method_of(method), threshold}, *backend_);
            ASSERT_TRUE(layer.ok());
            const PackedBytes bytes = packed_bytes(method_of(method), 256, 256);
            EXPECT_EQ(backend_->allocated().weight_codes,
                      bytes.codes + (threshold > 0 ? bytes.originals : 0));
            EXPECT_EQ(backend_->allocated().weight_scales, bytes.scales);
            EXPECT_EQ((*layer)->bytes_per_call(), bytes.codes + bytes.scales);
        }
        EXPECT_EQ(backend_->allocated().total(), before);
    }
}

}  // namespace
}  // namespace bitsweep::testing_inference
