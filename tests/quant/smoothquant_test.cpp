// smoothquant's three scopes of activation scales, and grids that a calibration gives.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/quant/support.h"
#include "worker/inference/quant/shared/integers.h"

namespace bitsweep {
namespace {

constexpr std::int64_t out = 37, in = 96, rows = 5;

// The weight's own values, a given absmax for every row, and a static scale of the inputs.
DenseWeight calibrated(const std::vector<float>& values, const std::vector<float>& absmax,
                       float input) {
    DenseWeight weight = dense_weight("layer", out, in, values);
    weight.grid = [&absmax](std::int64_t begin, std::int64_t end, float* dst) -> Status {
        std::copy(absmax.begin() + begin, absmax.begin() + end, dst);
        return {};
    };
    weight.grid_width = 1;
    weight.input_absmax = input;
    return weight;
}

// The definition: codes of both sides, whole sums, one product of scales.
std::vector<float> defined(const std::vector<float>& x, const std::vector<float>& x_absmax,
                           const std::vector<float>& w, const std::vector<float>& w_absmax) {
    const auto code = [](float value, float largest) {
        return std::clamp(
            std::nearbyint(static_cast<double>(value) * 127 / static_cast<double>(largest)), -127.0,
            127.0);
    };
    std::vector<float> y;
    for (std::size_t r = 0; r < rows; ++r) {
        for (std::size_t o = 0; o < out; ++o) {
            double sum = 0;
            for (std::size_t i = 0; i < in; ++i) {
                sum += code(x[r * in + i], x_absmax[r]) * code(w[o * in + i], w_absmax[o]);
            }
            y.push_back(static_cast<float>(sum * static_cast<double>(x_absmax[r]) *
                                           static_cast<double>(w_absmax[o]) / (127.0 * 127.0)));
        }
    }
    return y;
}

TEST(SmoothQuant, each_level_scales_its_activations_as_it_says) {
    const auto w = random_values(1, out * in, 0.1);
    auto x = random_values(2, rows * in, 1);
    for (std::int64_t i = 0; i < in; ++i) {
        x[static_cast<std::size_t>(2 * in + i)] *= 7;  // one row with its own scale
    }
    const float tensor = quant::absmax(w.data(), out * in);
    const std::vector<float> w_absmax(out, tensor);
    std::vector<float> by_row;
    for (std::int64_t r = 0; r < rows; ++r) {
        by_row.push_back(quant::absmax(x.data() + r * in, in));
    }
    const float largest = quant::absmax(x.data(), rows * in);
    const float fixed = largest * 0.5f;  // below some inputs: they are cut off
    const DenseWeight weight = calibrated(w, w_absmax, fixed);
    const std::vector<std::pair<std::string, std::vector<float>>> levels = {
        {"smoothquant-o1", by_row},
        {"smoothquant-o2", std::vector<float>(rows, largest)},
        {"smoothquant-o3", std::vector<float>(rows, fixed)}};
    for (const std::string& isa : isas()) {
        const ScopedIsa scoped(isa);
        for (const auto& [method, absmax] : levels) {
            Bench bench(2);
            const auto layer = bench.pack(method, weight);
            const auto y = bench.forward(*layer, x, rows, out);
            const auto wanted = defined(x, absmax, w, w_absmax);
            for (std::size_t i = 0; i < wanted.size(); ++i) {
                // Half a step of one activation: a product of float32 may round a tie elsewhere.
                EXPECT_NEAR(wanted[i], y[i], 0.02f * tensor * absmax[i / out]) << method << isa;
            }
        }
    }
}

TEST(SmoothQuant, a_static_scale_lets_no_bad_number_pass) {
    const auto w = random_values(1, out * in, 0.1);
    const std::vector<float> w_absmax(out, quant::absmax(w.data(), out * in));
    const DenseWeight weight = calibrated(w, w_absmax, 3);
    for (const std::string method : {"smoothquant-o2", "smoothquant-o3"}) {
        Bench bench;
        const auto layer = bench.pack(method, weight);
        auto x = random_values(2, in, 1);
        x[5] = std::nanf("");
        for (const float y : bench.forward(*layer, x, 1, out)) {
            EXPECT_TRUE(std::isnan(y)) << method;
        }
    }
}

TEST(SmoothQuant, o3_without_a_calibration_is_refused_and_says_what_instead) {
    const auto w = random_values(1, out * in, 0.1);
    const DenseWeight weight = dense_weight("layer", out, in, w);
    const auto backend = make_cpu_backend();
    const auto layer = pack_linear(weight, {.method = *parse_method("smoothquant-o3")}, *backend);
    ASSERT_FALSE(layer.ok());
    EXPECT_NE(std::string::npos, layer.error().message.find("take smoothquant-o2"));
}

TEST(Gptq, packs_rows_that_stand_on_a_grid_back_to_the_same_values) {
    for (const int bits : {2, 3, 4, 5, 8}) {
        const int most = (1 << (bits - 1)) - 1;
        std::vector<float> values, scales;
        for (std::int64_t row = 0; row < out; ++row) {
            for (std::int64_t g = 0; g < in / 32; ++g) {
                // Exact in fp16; no group reaches its last code, which rounding to nearest would
                // make it do.
                const float scale = static_cast<float>(1 + (row * 7 + g) % 50) / 1024;
                scales.push_back(scale);
                for (std::int64_t i = 0; i < 32; ++i) {
                    const auto code = (row * 31 + g * 17 + i * 5) % (2 * most + 1) - most;
                    values.push_back(static_cast<float>(code == most ? 0 : code) * scale);
                }
            }
        }
        DenseWeight weight = dense_weight("layer", out, in, values);
        weight.grid_width = in / 32;
        weight.grid = [&](std::int64_t begin, std::int64_t end, float* dst) -> Status {
            std::copy(scales.begin() + begin * weight.grid_width,
                      scales.begin() + end * weight.grid_width, dst);
            return {};
        };
        Bench bench;
        const auto layer = bench.pack("gptq-int" + std::to_string(bits) + "-g32", weight);
        EXPECT_EQ(values, effective_weight(*layer, out, in)) << bits;
    }
}

}  // namespace
}  // namespace bitsweep
