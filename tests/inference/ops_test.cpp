// Every instruction set's kernels against double precision, at widths that leave tails.
#include "worker/inference/models/ops.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "worker/inference/models/kv_codes.h"

namespace bitsweep {
namespace {

struct NamedOps {
    std::string name;
    const Ops* ops;
};

// Those that this machine can run.
std::vector<NamedOps> all_ops() {
    std::vector<NamedOps> all{{"generic", ops_generic()}};
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        all.push_back({"avx2", ops_avx2()});
    }
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq")) {
        all.push_back({"avx512", ops_avx512()});
    }
#endif
    return all;
}

// Values in about [-range, range], the same everywhere.
std::vector<float> noise(std::size_t count, std::uint32_t seed, float range = 1) {
    std::vector<float> values(count);
    std::uint32_t state = seed * 2654435761u + 1;
    for (float& value : values) {
        state = state * 1664525u + 1013904223u;
        value = (static_cast<float>(state >> 8) / 8388608.0f - 1.0f) * range;
    }
    return values;
}

const std::int64_t widths[] = {1, 3, 8, 16, 17, 39, 64, 100, 576};

TEST(Ops, norms_are_those_of_double_precision_also_in_place) {
    for (const auto& [name, ops] : all_ops()) {
        for (const std::int64_t width : widths) {
            const auto n = static_cast<std::size_t>(width);
            const auto x = noise(n, 1, 5), weight = noise(n, 2), bias = noise(n, 3);
            double mean = 0, square = 0, variance = 0;
            for (const float v : x) {
                mean += v / static_cast<double>(n);
                square += static_cast<double>(v) * v / static_cast<double>(n);
            }
            for (const float v : x) {
                variance += (v - mean) * (v - mean) / static_cast<double>(n);
            }
            std::vector<float> rms(n), plain(n), in_place = x;
            ops->rms_norm(x.data(), weight.data(), rms.data(), width, 1e-5);
            ops->layer_norm(x.data(), nullptr, nullptr, plain.data(), width, 1e-5);
            ops->layer_norm(in_place.data(), weight.data(), bias.data(), in_place.data(), width,
                            1e-5);
            for (std::size_t i = 0; i < n; ++i) {
                const double normed = (x[i] - mean) / std::sqrt(variance + 1e-5);
                ASSERT_NEAR(rms[i], x[i] / std::sqrt(square + 1e-5) * weight[i], 2e-6) << name;
                // A single value minus its mean is all rounding, magnified by 1 / sqrt(eps).
                ASSERT_NEAR(plain[i], normed, 1e-5) << name << " " << width;
                ASSERT_NEAR(in_place[i], normed * weight[i] + bias[i], 1e-5) << name;
            }
        }
    }
}

double reference_activation(Activation activation, double x) {
    switch (activation) {
        case Activation::gelu_tanh:
            return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
        case Activation::gelu_erf:
            return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
        case Activation::relu:
            return x > 0 ? x : 0;
        case Activation::silu:
            return x / (1 + std::exp(-x));
    }
    return 0;
}

TEST(Ops, activations_are_those_of_double_precision_from_minus_200_to_200) {
    const Activation all[] = {Activation::gelu_tanh, Activation::gelu_erf, Activation::relu,
                              Activation::silu};
    for (const auto& [name, ops] : all_ops()) {
        for (const Activation activation : all) {
            for (const float range : {0.1f, 3.0f, 20.0f, 200.0f}) {
                const auto x = noise(203, 5, range), up = noise(203, 6);
                std::vector<float> y = x, gated(203);
                ops->activate(activation, y.data(), 203);
                ops->gated(activation, x.data(), up.data(), gated.data(), 203);
                for (std::size_t i = 0; i < x.size(); ++i) {
                    const double wanted = reference_activation(activation, x[i]);
                    const double bound = 1e-6 * std::max(1.0, std::fabs(wanted));
                    ASSERT_NEAR(y[i], wanted, bound) << name << " of " << x[i];
                    ASSERT_NEAR(gated[i], wanted * up[i], bound) << name << " of " << x[i];
                }
            }
        }
    }
}

TEST(Ops, a_nan_stays_a_nan_through_norms_and_activations) {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    for (const auto& [name, ops] : all_ops()) {
        for (const Activation activation :
             {Activation::gelu_tanh, Activation::relu, Activation::silu, Activation::gelu_erf}) {
            std::vector<float> x(33, 1.0f);
            x[5] = x[32] = nan;
            ops->activate(activation, x.data(), 33);
            EXPECT_TRUE(std::isnan(x[5]) && std::isnan(x[32])) << name;
            EXPECT_FALSE(std::isnan(x[6])) << name;
        }
    }
}

TEST(Ops, only_finite_values_pass_as_finite) {
    for (const auto& [name, ops] : all_ops()) {
        for (const std::int64_t width : widths) {
            std::vector<float> x(static_cast<std::size_t>(width), 3e38f);
            EXPECT_TRUE(ops->all_finite(x.data(), width)) << name;
            for (const float bad :
                 {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                  std::numeric_limits<float>::quiet_NaN()}) {
                for (const std::size_t at : {x.size() - 1, x.size() / 2}) {
                    auto broken = x;
                    broken[at] = bad;
                    EXPECT_FALSE(ops->all_finite(broken.data(), width)) << name << " " << width;
                }
            }
        }
    }
}

TEST(Ops, argmax_is_the_first_of_the_largest) {
    for (const auto& [name, ops] : all_ops()) {
        std::vector<float> x(100, -7.0f);
        EXPECT_EQ(ops->argmax(x.data(), 100), 0) << name;
        x[40] = x[41] = x[99] = -2.0f;
        EXPECT_EQ(ops->argmax(x.data(), 100), 40) << name;
        x[99] = 1.0f;
        EXPECT_EQ(ops->argmax(x.data(), 100), 99) << name;
        x[3] = std::numeric_limits<float>::quiet_NaN();
        EXPECT_EQ(ops->argmax(x.data(), 100), 99) << name;
    }
}

TEST(Ops, rotation_pairs_the_two_halves_of_a_head) {
    for (const auto& [name, ops] : all_ops()) {
        for (const std::int64_t half : {6, 10, 16, 32, 37}) {
            const auto n = static_cast<std::size_t>(half);
            const auto before = noise(2 * n, 7);
            const auto angle = noise(n, 8, 3);
            std::vector<float> head = before, cos(n), sin(n);
            for (std::size_t i = 0; i < n; ++i) {
                cos[i] = std::cos(angle[i]);
                sin[i] = std::sin(angle[i]);
            }
            ops->rope(head.data(), cos.data(), sin.data(), half);
            for (std::size_t i = 0; i < n; ++i) {
                ASSERT_NEAR(head[i], before[i] * cos[i] - before[n + i] * sin[i], 1e-6) << name;
                ASSERT_NEAR(head[n + i], before[n + i] * cos[i] + before[i] * sin[i], 1e-6) << name;
            }
        }
    }
}

// Attention of `rows` queries over `keys` keys by the definition.
struct AttentionCase {
    int rows;
    std::int64_t keys;
    std::int64_t head_dim;
    std::int64_t window;
};

// What one head of one position reads back as.
void as_stored(KvType type, float* values, std::size_t count) {
    float largest = 0;
    for (std::size_t i = 0; i < count; ++i) {
        largest = std::max(largest, std::fabs(values[i]));
    }
    for (std::size_t i = 0; i < count; ++i) {
        if (type == KvType::i8) {
            values[i] = std::nearbyint(values[i] * (127.0f / largest)) * (largest / 127.0f);
        } else if (type == KvType::e4m3) {
            values[i] = quant::e4m3::decode(e4m3_of_cache(values[i]));
        }
    }
}

void check_attention(const Ops& ops, const std::string& name, const AttentionCase& c, KvType type) {
    const auto dim = static_cast<std::size_t>(c.head_dim);
    auto key_values = noise(static_cast<std::size_t>(c.keys) * dim, 11, 2);
    auto value_values = noise(static_cast<std::size_t>(c.keys) * dim, 12, 2);
    const auto q = noise(static_cast<std::size_t>(c.rows) * dim, 13, 2);
    const std::int64_t padded = (c.keys + key_block - 1) / key_block * key_block;
    // Float-sized storage serves every type; stale bytes of other texts must not matter.
    std::vector<float> keys(static_cast<std::size_t>(padded) * dim, 1e4f);
    std::vector<float> values(static_cast<std::size_t>(padded) * dim, 1e4f);
    std::vector<float> scales(2 * static_cast<std::size_t>(padded), 1e4f);
    const KvHead cache{keys.data(), values.data(), scales.data(), scales.data() + padded};
    for (std::int64_t k = 0; k < c.keys; ++k) {
        const std::size_t at = static_cast<std::size_t>(k) * dim;
        ops.store[static_cast<int>(type)](&key_values[at], &value_values[at], k, c.head_dim, cache);
        as_stored(type, &key_values[at], dim);
        as_stored(type, &value_values[at], dim);
    }
    std::vector<float> out(static_cast<std::size_t>(c.rows) * dim);
    AttentionRows rows;
    rows.rows = c.rows;
    rows.head_dim = c.head_dim;
    rows.scale = 0.3f;
    rows.cache = cache;
    for (int r = 0; r < c.rows; ++r) {
        rows.q[r] = q.data() + static_cast<std::size_t>(r) * dim;
        rows.out[r] = out.data() + static_cast<std::size_t>(r) * dim;
        rows.last[r] = c.keys - c.rows + r + 1;  // causal: the last row sees every key
        rows.first[r] = c.window > 0 ? std::max<std::int64_t>(0, rows.last[r] - c.window) : 0;
    }
    ops.attention[static_cast<int>(type)](rows);
    for (int r = 0; r < c.rows; ++r) {
        std::vector<double> weight;
        double total = 0;
        for (std::int64_t k = rows.first[r]; k < rows.last[r]; ++k) {
            double score = 0;
            for (std::size_t d = 0; d < dim; ++d) {
                score += static_cast<double>(rows.q[r][d]) *
                         key_values[static_cast<std::size_t>(k) * dim + d];
            }
            weight.push_back(std::exp(score * 0.3));
            total += weight.back();
        }
        for (std::size_t d = 0; d < dim; ++d) {
            double wanted = 0;
            for (std::size_t k = 0; k < weight.size(); ++k) {
                const std::size_t key = static_cast<std::size_t>(rows.first[r]) + k;
                wanted += weight[k] / total * value_values[key * dim + d];
            }
            const double bound = type == KvType::f16 ? 1e-2 : 3e-5;
            ASSERT_NEAR(rows.out[r][d], wanted, bound)
                << name << " rows " << c.rows << " keys " << c.keys << " dim " << dim << " window "
                << c.window;
        }
    }
}

TEST(Ops, attention_is_its_definition_for_every_number_of_rows_and_over_block_borders) {
    for (const auto& [name, ops] : all_ops()) {
        for (int rows = 1; rows <= max_attention_rows; ++rows) {
            for (const std::int64_t keys : {8, 16, 17, 255, 256, 257, 600}) {
                for (const std::int64_t window : {0, 5, 300}) {
                    const std::int64_t dim = rows % 2 == 0 ? 64 : 20;
                    for (const KvType type : {KvType::f32, KvType::f16, KvType::i8, KvType::e4m3}) {
                        check_attention(*ops, name, {rows, keys, dim, window}, type);
                    }
                }
            }
        }
        for (const std::int64_t dim : {12, 13, 80, 128, 512}) {
            for (const KvType type : {KvType::f16, KvType::i8, KvType::e4m3}) {
                check_attention(*ops, name, {3, 40, dim, 0}, type);
            }
        }
    }
}

// With one key, the output is its value: all codes of e4m3, wherever they lie in a vector.
TEST(Ops, every_code_of_e4m3_reads_as_its_number) {
    for (const auto& [name, ops] : all_ops()) {
        for (std::size_t shift = 0; shift < 16; ++shift) {
            std::vector<std::uint8_t> keys(16 * 256, 0), values(16 * 256);
            for (std::size_t d = 0; d < 256; ++d) {
                values[d] = static_cast<std::uint8_t>(d + shift);
            }
            std::vector<float> q(256, 0.0f), out(256);
            AttentionRows rows;
            rows.rows = 1;
            rows.head_dim = 256;
            rows.q[0] = q.data();
            rows.out[0] = out.data();
            rows.last[0] = 1;
            rows.cache = {keys.data(), values.data()};
            ops->attention[static_cast<int>(KvType::e4m3)](rows);
            for (std::size_t d = 0; d < 256; ++d) {
                const float want = quant::e4m3::decode(values[d]);
                EXPECT_TRUE(std::isnan(want) ? std::isnan(out[d]) : out[d] == want)
                    << name << " code " << static_cast<int>(values[d]) << " is " << out[d];
            }
        }
    }
}

// Half precision at every one of its 65,536 values and between them.
TEST(Ops, half_precision_of_the_generic_kernels_is_that_of_the_processor) {
    const auto sets = all_ops();
    if (sets.size() < 2) {
        GTEST_SKIP() << "this machine has no F16C to compare with";
    }
    const auto stored = [](const Ops& ops, float value) {
        std::uint16_t key = 0, half = 0;
        ops.store[static_cast<int>(KvType::f16)](&value, &value, 0, 1, {&key, &half});
        return half;
    };
    for (std::uint32_t bits = 0; bits < 0x80000000u; bits += 4099) {
        for (const std::uint32_t sign : {0u, 0x80000000u}) {
            const std::uint32_t both = bits | sign;
            float value = 0;
            std::memcpy(&value, &both, sizeof value);
            if (!std::isnan(value)) {
                ASSERT_EQ(stored(*sets[0].ops, value), stored(*sets[1].ops, value)) << value;
            }
        }
    }
}

}  // namespace
}  // namespace bitsweep
