// What calibration hands to a layer means the same on a card as on the CPU: grids of codes, absmax
// of rows, static scales of inputs.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/inference/cuda_support.h"
#include "tests/inference/support.h"
#include "tests/quant/support.h"
#include "worker/inference/quant/shared/device_linear.h"
#include "worker/inference/quant/shared/integers.h"

namespace bitsweep::testing_inference {
namespace {

constexpr std::int64_t out = 70, in = 192, group = 32;

DenseWeight with_grid(DenseWeight weight, const std::vector<float>& grid, std::int64_t width) {
    weight.grid_width = width;
    weight.grid = [&grid, width](std::int64_t begin, std::int64_t end, float* dst) -> Status {
        std::copy(grid.begin() + begin * width, grid.begin() + end * width, dst);
        return {};
    };
    return weight;
}

TEST_F(Cuda, gptq_codes_on_a_given_grid_are_those_of_the_cpu) {
    for (int bits = 2; bits <= 8; ++bits) {
        const int most = (1 << (bits - 1)) - 1;
        std::vector<float> values, scales;
        for (std::int64_t i = 0; i < out * in; ++i) {
            if (i % group == 0) {
                scales.push_back(static_cast<float>(1 + i % 61) / 1024);
            }
            const auto code = (i * 5 + i / in * 3) % (2 * most + 1) - most;
            values.push_back(static_cast<float>(code == most ? 0 : code) * scales.back());
        }
        const DenseWeight weight =
            with_grid(dense_weight("w", out, in, values), scales, in / group);
        const MethodOptions options{method_of("gptq-int" + std::to_string(bits) + "-g32")};
        auto cuda = pack_linear_cuda(weight, options, *backend_);
        ASSERT_TRUE(cuda.ok()) << cuda.error().message;
        EXPECT_EQ(values, effective_weight(**cuda, out, in)) << bits;
    }
}

TEST_F(Cuda, smoothquant_scales_its_activations_as_the_cpu_does) {
    const auto values = random_values(3, out * in, 0.05);
    const std::vector<float> rows_absmax(out, quant::absmax(values.data(), out * in));
    for (const std::string method : {"smoothquant-o1", "smoothquant-o2", "smoothquant-o3"}) {
        DenseWeight weight = with_grid(dense_weight("w", out, in, values), rows_absmax, 1);
        weight.input_absmax = 2;  // below some inputs: they are cut off
        Bench bench;
        const auto cpu = bench.pack(method, weight);
        auto cuda = pack_linear_cuda(weight, {method_of(method)}, *backend_);
        ASSERT_TRUE(cuda.ok()) << cuda.error().message;
        EXPECT_EQ(effective_weight(*cpu, out, in), effective_weight(**cuda, out, in)) << method;
        for (const std::int64_t rows : {1, 5, 20, 100}) {
            auto x = random_values(4, rows * in, 1);
            for (std::int64_t i = 0; i < in; ++i) {
                x[static_cast<std::size_t>((rows - 1) * in + i)] *= 3;
            }
            const auto wanted = bench.forward(*cpu, x, rows, out);
            const auto got = multiply(*backend_, **cuda, x, rows);
            const float step = rows_absmax[0] * quant::absmax(x.data(), rows * in) / 127;
            EXPECT_LT(max_difference(wanted, got), 0.01 * static_cast<double>(step))
                << method << " " << rows;
        }
    }
}

TEST_F(Cuda, a_static_scale_lets_no_bad_number_pass_on_a_card) {
    const auto values = random_values(3, out * in, 0.05);
    for (const std::string method : {"smoothquant-o2", "smoothquant-o3"}) {
        DenseWeight weight = dense_weight("w", out, in, values);
        weight.input_absmax = 2;
        auto cuda = pack_linear_cuda(weight, {method_of(method)}, *backend_);
        ASSERT_TRUE(cuda.ok()) << cuda.error().message;
        auto x = random_values(4, in, 1);
        x[7] = std::nanf("");
        for (const float y : multiply(*backend_, **cuda, x, 1)) {
            EXPECT_TRUE(std::isnan(y)) << method;
        }
    }
}

}  // namespace
}  // namespace bitsweep::testing_inference
