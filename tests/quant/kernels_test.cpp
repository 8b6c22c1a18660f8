// The vector kernels alone, at the edges of their ranges.
#include "worker/inference/quant/shared/kernels.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/quant/support.h"
#include "worker/inference/quant/shared/halves.h"
#include "worker/inference/quant/shared/tiles.h"

namespace bitsweep::quant {
namespace {

std::vector<const Kernels*> all_kernels() {
    std::vector<const Kernels*> out;
    for (const Isa isa : {Isa::avx2, Isa::avx512, Isa::vnni}) {
        if (const Kernels* k = kernels(isa)) {
            out.push_back(k);
        }
    }
    return out;
}

TEST(Halves, EveryFp16ValueSurvivesTheRoundTrip) {
    for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
        const auto half = static_cast<std::uint16_t>(bits);
        const float value = f16_to_f32(half);
        if (std::isnan(value)) {
            EXPECT_TRUE(std::isnan(f16_to_f32(f32_to_f16(value))));
        } else {
            ASSERT_EQ(f32_to_f16(value), half);
        }
    }
}

TEST(Halves, ValuesBetweenNeighboursRoundToTheNearestAndTiesToEven) {
    for (std::uint32_t bits = 0; bits < 0x7bff; ++bits) {
        const auto low = static_cast<std::uint16_t>(bits);
        const float a = f16_to_f32(low);
        const float b = f16_to_f32(static_cast<std::uint16_t>(low + 1));
        const float middle = (a + b) / 2;
        ASSERT_EQ(f32_to_f16(middle), bits % 2 == 0 ? low : low + 1) << bits;
        ASSERT_EQ(f32_to_f16(std::nextafter(middle, 0.0f)), low) << bits;
        ASSERT_EQ(f32_to_f16(std::nextafter(middle, 1e9f)), low + 1) << bits;
        ASSERT_EQ(f32_to_f16(-std::nextafter(middle, 1e9f)), 0x8000 | (low + 1)) << bits;
    }
    EXPECT_EQ(f32_to_f16(65519.9f), 0x7bff);
    EXPECT_EQ(f32_to_f16(65520.0f), 0x7c00);
}

TEST(Halves, Bf16RoundsToNearestEven) {
    EXPECT_EQ(f32_to_bf16(1.0f), 0x3f80);
    EXPECT_EQ(f32_to_bf16(1.00390625f), 0x3f80);  // tie, even below
    EXPECT_EQ(f32_to_bf16(1.01171875f), 0x3f82);  // tie, even above
    EXPECT_EQ(bf16_to_f32(f32_to_bf16(-3.0f)), -3.0f);
}

TEST(Tiles, EveryWidthOfCodesSurvivesPacking) {
    for (const int bits : {2, 3, 4, 5, 6, 7, 8}) {
        for (const std::int64_t rows : {1, 15, 16, 17, 40}) {
            for (const std::int64_t inputs : {1, 4, 31, 32, 33, 100}) {
                const TileLayout layout{bits, rows, inputs};
                std::vector<std::uint8_t> packed(layout.bytes(), 0);
                std::vector<std::vector<std::uint8_t>> codes;
                for (std::int64_t row = 0; row < rows; ++row) {
                    codes.emplace_back();
                    for (std::int64_t i = 0; i < inputs; ++i) {
                        codes.back().push_back(static_cast<std::uint8_t>(
                            (row * 37 + i * 101 + i * i) & ((1 << bits) - 1)));
                    }
                    layout.pack_row(packed.data(), row, codes.back().data());
                }
                std::vector<std::uint8_t> got(static_cast<std::size_t>(inputs));
                for (std::int64_t row = 0; row < rows; ++row) {
                    layout.unpack_row(packed.data(), row, got.data());
                    ASSERT_EQ(got, codes[static_cast<std::size_t>(row)]) << bits;
                    ASSERT_EQ(layout.code(packed.data(), row, inputs - 1), got.back());
                }
            }
        }
    }
}

TEST(Digits, ThreeDigitsHoldAnActivationTo24Bits) {
    for (const Kernels* k : all_kernels()) {
        const std::int64_t inputs = 300;
        auto x = random_values(5, inputs, 1.0);
        x[10] = 3.9f;
        x[299] = -3.9f;
        DigitsJob job;
        job.x = x.data();
        job.inputs = inputs;
        job.group = 64;
        job.groups = 5;
        job.stride = 320;
        job.code_offset = 8;
        std::vector<std::int8_t> digits(3 * 320, 77);
        std::vector<float> scale(5);
        std::vector<std::int32_t> start(15);
        job.digits = digits.data();
        job.scale = scale.data();
        job.start = start.data();
        k->digits(job);
        std::vector<std::int32_t> sums(15, 0);
        for (std::int64_t i = 0; i < inputs; ++i) {
            const auto at = static_cast<std::size_t>(i);
            const std::size_t g = at / 64;
            const double back =
                scale[g] * (65536.0 * digits[640 + at] + 256.0 * digits[320 + at] + digits[at]);
            EXPECT_NEAR(back, x[at], 4.0 * 0x1p-23) << i;
            for (std::size_t p = 0; p < 3; ++p) {
                sums[p * 5 + g] -= 8 * digits[p * 320 + at];
            }
        }
        EXPECT_EQ(start, sums);
        for (std::size_t i = 300; i < 320; ++i) {
            EXPECT_EQ(digits[i] | digits[320 + i] | digits[640 + i], 0) << "padding";
        }
    }
}

TEST(Exact, TheLargestSumsDoNotOverflow) {
    const std::int64_t inputs = exact_inputs_limit;
    for (const Kernels* k : all_kernels()) {
        for (const int code : {0, 255}) {
            for (const int digit : {-128, 127}) {
                const std::vector<std::uint8_t> codes(static_cast<std::size_t>(inputs * 16),
                                                      static_cast<std::uint8_t>(code));
                const std::vector<std::int8_t> digits(static_cast<std::size_t>(inputs),
                                                      static_cast<std::int8_t>(digit));
                const auto start = static_cast<std::int32_t>(-128 * inputs * digit);
                std::vector<std::int32_t> acc(16);
                k->exact({codes.data(), inputs, digits.data(), inputs, &start, 1, acc.data()});
                for (const std::int32_t sum : acc) {
                    ASSERT_EQ(sum, inputs * (code - 128) * digit);
                }
            }
        }
    }
}

TEST(Exact, EveryRowCountGivesTheSameIntegers) {
    const std::int64_t inputs = 100;
    std::vector<std::uint8_t> codes(static_cast<std::size_t>(inputs * 16));
    for (std::size_t i = 0; i < codes.size(); ++i) {
        codes[i] = static_cast<std::uint8_t>(i * 151 + i / 7);
    }
    for (const Kernels* k : all_kernels()) {
        for (const std::int64_t rows : {1, 2, 3, 4, 5, 7, 8, 13}) {
            std::vector<std::int8_t> digits(static_cast<std::size_t>(rows * 128));
            std::vector<std::int32_t> start;
            for (std::int64_t r = 0; r < rows; ++r) {
                for (std::int64_t i = 0; i < inputs; ++i) {
                    digits[static_cast<std::size_t>(r * 128 + i)] =
                        static_cast<std::int8_t>(r * 91 + i * 53);
                }
                start.push_back(static_cast<std::int32_t>(r * 1000 - 7));
            }
            std::vector<std::int32_t> acc(static_cast<std::size_t>(rows * 16));
            k->exact({codes.data(), inputs, digits.data(), 128, start.data(), rows, acc.data()});
            for (std::int64_t r = 0; r < rows; ++r) {
                for (std::int64_t lane = 0; lane < 16; ++lane) {
                    std::int32_t want = start[static_cast<std::size_t>(r)];
                    for (std::int64_t i = 0; i < inputs; ++i) {
                        want += codes[static_cast<std::size_t>((i / 4 * 16 + lane) * 4 + i % 4)] *
                                digits[static_cast<std::size_t>(r * 128 + i)];
                    }
                    ASSERT_EQ(acc[static_cast<std::size_t>(r * 16 + lane)], want);
                }
            }
        }
    }
}

}  // namespace
}  // namespace bitsweep::quant
