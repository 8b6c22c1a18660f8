// E4M3 against libtorch's float8_e4m3fn bit for bit, and the weights of both methods.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "tests/quant/support.h"
#include "worker/inference/quant/fp8/e4m3.h"
#include "worker/inference/quant/shared/halves.h"

namespace bitsweep {
namespace {

namespace e4m3 = quant::e4m3;

std::vector<std::uint8_t> codes_of_torch(const std::vector<float>& values) {
    const auto count = static_cast<std::int64_t>(values.size());
    const at::Tensor codes = at::from_blob(const_cast<float*>(values.data()), {count}, at::kFloat)
                                 .to(at::kFloat8_e4m3fn)
                                 .view(at::kByte)
                                 .contiguous();
    const auto* bytes = codes.const_data_ptr<std::uint8_t>();
    return {bytes, bytes + count};
}

std::vector<float> values_of_torch(const std::vector<std::uint8_t>& codes) {
    const auto count = static_cast<std::int64_t>(codes.size());
    const at::Tensor values =
        at::from_blob(const_cast<std::uint8_t*>(codes.data()), {count}, at::kByte)
            .view(at::kFloat8_e4m3fn)
            .to(at::kFloat)
            .contiguous();
    const auto* floats = values.const_data_ptr<float>();
    return {floats, floats + count};
}

std::vector<std::uint8_t> all_codes() {
    std::vector<std::uint8_t> codes;
    for (int code = 0; code < 256; ++code) {
        codes.push_back(static_cast<std::uint8_t>(code));
    }
    return codes;
}

TEST(Fp8, EveryCodeHasTheValueThatTorchGivesIt) {
    const auto want = values_of_torch(all_codes());
    for (const std::uint8_t code : all_codes()) {
        const float got = e4m3::decode(code);
        if (std::isnan(want[code])) {
            EXPECT_TRUE(std::isnan(got)) << int{code};
            continue;
        }
        EXPECT_EQ(std::bit_cast<std::uint32_t>(got), std::bit_cast<std::uint32_t>(want[code]))
            << int{code};
        EXPECT_EQ(quant::f16_to_f32(e4m3::half_of(code)) * e4m3::half_unit, got) << int{code};
        EXPECT_EQ(e4m3::encode(got), code);
    }
    EXPECT_EQ(e4m3::decode(0x7e), e4m3::largest);
}

TEST(Fp8, EveryValueGetsTheCodeThatTorchGivesIt) {
    std::vector<float> values{0.0f,
                              -0.0f,
                              448.0f,
                              464.0f,
                              465.0f,
                              480.0f,
                              1e30f,
                              std::numeric_limits<float>::infinity(),
                              std::numeric_limits<float>::quiet_NaN(),
                              std::numeric_limits<float>::denorm_min()};
    for (std::uint32_t half = 0; half < 0x7c00; ++half) {
        values.push_back(quant::f16_to_f32(static_cast<std::uint16_t>(half)));
    }
    for (int code = 0; code < 0x7e; ++code) {  // middles of neighbours, and beside them
        const float low = e4m3::decode(static_cast<std::uint8_t>(code));
        const float middle = (low + e4m3::decode(static_cast<std::uint8_t>(code + 1))) / 2;
        values.insert(values.end(),
                      {middle, std::nextafter(middle, 0.0f), std::nextafter(middle, 1e9f)});
    }
    for (const double size : {1e-3, 1e-2, 1.0, 100.0}) {
        const auto more = random_values(5, 20000, size);
        values.insert(values.end(), more.begin(), more.end());
    }
    for (std::size_t i = values.size(); i-- > 0;) {
        values.push_back(-values[i]);
    }
    const auto want = codes_of_torch(values);
    for (std::size_t i = 0; i < values.size(); ++i) {
        ASSERT_EQ(e4m3::encode(values[i]), want[i]) << values[i];
    }
}

TEST(Fp8, WeightsAreTorchsRoundingOfTheQuotients) {
    const std::int64_t out = 40, in = 100;
    auto values = random_values(9, out * in, 0.05);
    values[1234] = 2.5f;
    for (const std::string method : {"fp8", "fp8-channel"}) {
        Bench bench;
        const auto layer = bench.pack(method, dense_weight("w", out, in, values));
        const at::Tensor w = at::from_blob(values.data(), {out, in}, at::kFloat);
        const at::Tensor scale = (method == "fp8" ? w.abs().amax() : w.abs().amax(1, true)) / 448;
        const at::Tensor want =
            ((w / scale).to(at::kFloat8_e4m3fn).to(at::kFloat) * scale).contiguous();
        const auto got = effective_weight(*layer, out, in);
        const auto* floats = want.const_data_ptr<float>();
        for (std::size_t i = 0; i < got.size(); ++i) {
            ASSERT_EQ(got[i], floats[i]) << method << " " << i;
        }
        EXPECT_EQ(layer->export_packed().scales.size(), method == "fp8" ? 1u : 40u);
    }
}

// By more than the 2^16 between the largest value and the least normal one: an exponent is a scale.
TEST(Fp8, AScalePerChannelLosesLessWhereRowsDifferByMoreThanExponentsHold) {
    const std::int64_t out = 64, in = 256;
    auto values = random_values(3, out * in, 0.02);
    for (std::int64_t i = 0; i < in; ++i) {
        values[static_cast<std::size_t>(7 * in + i)] *= 100000;
    }
    const auto lost_outside_row_7 = [&](const std::string& method) {
        Bench bench;
        const auto weight =
            effective_weight(*bench.pack(method, dense_weight("w", out, in, values)), out, in);
        double sum = 0;
        for (std::size_t i = 0; i < weight.size(); ++i) {
            sum += i / 256 == 7 ? 0.0 : std::fabs(weight[i] - values[i]);
        }
        return sum;
    };
    EXPECT_LT(lost_outside_row_7("fp8-channel"), 0.5 * lost_outside_row_7("fp8"));
}

// absmax / 448 of subnormal weights rounds by up to a half of itself: no quotient may pass 448.
TEST(Fp8, SubnormalWeightsNeverBecomeNan) {
    for (const float absmax : {1e-45f, 3e-43f, 6e-43f, 9.5e-43f, 1e-40f}) {
        std::vector<float> values(16 * 64, absmax);
        values[5] = -absmax;
        for (const std::string method : {"fp8", "fp8-channel"}) {
            Bench bench;
            const auto layer = bench.pack(method, dense_weight("w", 16, 64, values));
            for (const float w : effective_weight(*layer, 16, 64)) {
                EXPECT_LE(std::fabs(w), 2 * absmax);
            }
        }
    }
}

}  // namespace
}  // namespace bitsweep
