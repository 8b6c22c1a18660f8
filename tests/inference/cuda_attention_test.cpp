// Attention on a card against a plain softmax in double precision: long prompts, decode steps.
#include <cuda_fp16.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "tests/inference/cuda_support.h"
#include "worker/inference/models/cuda/device_ops.h"

namespace bitsweep::testing_inference {
namespace {

struct AttentionCase {
    std::int64_t sequences, tokens, position, heads, kv_heads, dim, window;
};

// Keys and values of the case in halves; positions that no token has written hold NaN.
struct AttentionData {
    std::int64_t positions;
    std::vector<float> q;
    std::vector<__half> cache;  // [sequence][kv_head][keys, values][positions][dim]

    explicit AttentionData(const AttentionCase& c)
        : positions((c.position + c.tokens + 40) / 16 * 16) {
        std::mt19937 generator(static_cast<unsigned>(c.tokens + c.dim));
        std::normal_distribution<float> normal;
        q.resize(static_cast<std::size_t>(c.sequences * c.tokens * c.heads * c.dim));
        std::ranges::generate(q, [&] { return 2 * normal(generator); });
        cache.resize(static_cast<std::size_t>(c.sequences * c.kv_heads * 2 * positions * c.dim));
        for (std::size_t i = 0; i < cache.size(); ++i) {
            const std::int64_t at = static_cast<std::int64_t>(i) / c.dim % positions;
            cache[i] = __float2half_rn(at < c.position + c.tokens
                                           ? normal(generator)
                                           : std::numeric_limits<float>::quiet_NaN());
        }
    }

    const __half* head(const AttentionCase& c, std::int64_t sequence, std::int64_t kv_head,
                       bool values) const {
        return cache.data() +
               ((sequence * c.kv_heads + kv_head) * 2 + (values ? 1 : 0)) * positions * c.dim;
    }
};

// One head of one row.
std::vector<double> softmax_of(const AttentionCase& c, const AttentionData& data, std::int64_t row,
                               std::int64_t head) {
    const std::int64_t sequence = row / c.tokens, last = c.position + row % c.tokens;
    const std::int64_t first = c.window > 0 ? std::max<std::int64_t>(0, last + 1 - c.window) : 0;
    const std::int64_t kv_head = head / (c.heads / c.kv_heads);
    const __half* keys = data.head(c, sequence, kv_head, false);
    const __half* values = data.head(c, sequence, kv_head, true);
    const float* q = data.q.data() + (row * c.heads + head) * c.dim;
    std::vector<double> scores, out(static_cast<std::size_t>(c.dim));
    double top = -INFINITY, total = 0;
    for (std::int64_t key = first; key <= last; ++key) {
        double score = 0;
        for (std::int64_t d = 0; d < c.dim; ++d) {
            score += static_cast<double>(q[d]) * __half2float(keys[key * c.dim + d]);
        }
        scores.push_back(score / std::sqrt(static_cast<double>(c.dim)));
        top = std::max(top, scores.back());
    }
    for (std::int64_t key = first; key <= last; ++key) {
        const double weight = std::exp(scores[static_cast<std::size_t>(key - first)] - top);
        total += weight;
        for (std::int64_t d = 0; d < c.dim; ++d) {
            out[static_cast<std::size_t>(d)] += weight * __half2float(values[key * c.dim + d]);
        }
    }
    for (double& v : out) {
        v /= total;
    }
    return out;
}

// Rows of the device's answer as floats, between poisoned elements that must stay.
std::vector<float> attended(CudaBackend& backend, const AttentionCase& c,
                            const AttentionData& data) {
    const std::int64_t rows = c.sequences * c.tokens, width = c.heads * c.dim, stride = width + 16;
    const auto take = [&](const void* from, std::size_t bytes) {
        auto buffer = backend.allocate(bytes, MemoryCategory::workspace).value();
        EXPECT_TRUE(backend.copy_to_device(*buffer, 0, from, bytes).ok());
        return buffer;
    };
    std::vector<float> host(static_cast<std::size_t>(rows * stride), poison);
    const auto q = take(data.q.data(), data.q.size() * 4);
    const auto cache = take(data.cache.data(), data.cache.size() * 2);
    const auto out = take(host.data(), host.size() * 4);
    const auto first = static_cast<std::int32_t>(c.position);
    const auto position = take(&first, sizeof first);
    const device::AttentionCall call{
        .shape = {.heads = c.heads,
                  .kv_heads = c.kv_heads,
                  .head_dim = c.dim,
                  .scale = 1.0f / std::sqrt(static_cast<float>(c.dim)),
                  .window = c.window},
        .stretch = {c.sequences, c.tokens, position->as<std::int32_t>()},
        .kv = {.keys = cache->data(),
               .values = cache->data() + data.positions * c.dim * 2,
               .head_stride = 2 * data.positions * c.dim},
        .q = q->as<float>(),
        .out = {out->data(), stride, InputType::f32},
        .compute_capability = backend.compute_capability()};
    EXPECT_EQ(device::attend(call, backend.stream()), cudaSuccess);
    EXPECT_TRUE(backend.copy_to_host(host.data(), *out, 0, host.size() * 4).ok());
    for (std::int64_t row = 0; row < rows; ++row) {
        for (std::int64_t i = width; i < stride; ++i) {
            EXPECT_EQ(host[static_cast<std::size_t>(row * stride + i)], poison) << row;
        }
    }
    return host;
}

TEST_F(Cuda, attention_of_long_prompts_is_the_softmax) {
    const std::vector<AttentionCase> cases{
        {1, 8, 0, 2, 1, 64, 0},       {1, 255, 3, 2, 2, 128, 0},    {1, 256, 0, 2, 1, 128, 0},
        {1, 256, 0, 3, 1, 64, 0},     {2, 300, 0, 4, 2, 128, 0},    {2, 257, 511, 4, 1, 64, 0},
        {1, 383, 37, 2, 2, 128, 0},   {1, 512, 100, 2, 1, 128, 70}, {1, 640, 0, 2, 2, 64, 300},
        {3, 256, 1000, 2, 1, 128, 0}, {1, 300, 5, 2, 1, 96, 0},     {1, 300, 5, 2, 1, 20, 0}};
    for (const AttentionCase& c : cases) {
        const AttentionData data(c);
        const auto got = attended(*backend_, c, data);
        const std::int64_t stride = c.heads * c.dim + 16;
        double worst = 0;
        // Rows on both sides of every tile's edge, and some between.
        for (std::int64_t row = 0; row < c.sequences * c.tokens; ++row) {
            const std::int64_t token = row % c.tokens;
            if (token % 64 > 1 && token % 64 < 62 && token % 17 != 0 && token + 2 < c.tokens) {
                continue;
            }
            for (std::int64_t head = 0; head < c.heads; ++head) {
                const auto want = softmax_of(c, data, row, head);
                for (std::int64_t d = 0; d < c.dim; ++d) {
                    const double v = got[static_cast<std::size_t>(row * stride + head * c.dim + d)];
                    const double apart = std::fabs(v - want[static_cast<std::size_t>(d)]);
                    worst = std::isnan(v) ? INFINITY : std::max(worst, apart);
                }
            }
        }
        // Queries and weights are halves: 2^-11 of scores up to about 10 and of values up to
        // about 4.
        EXPECT_LT(worst, 0.02) << c.sequences << " x " << c.tokens << " tokens at " << c.position
                               << ", " << c.heads << " heads over " << c.kv_heads << " of " << c.dim
                               << ", window " << c.window;
    }
}

// A decode step: what the product of q, k and v left of each sequence's token, and angles.
struct TokenCase {
    AttentionCase shape;  // of one token
    std::int64_t splits;
    bool rotated, paired;
};

struct TokenRows {
    std::vector<float> qkv, cos, sin;

    TokenRows(const TokenCase& c, std::int64_t positions) {
        const AttentionCase& a = c.shape;
        std::mt19937 generator(static_cast<unsigned>(a.position + a.dim));
        std::normal_distribution<float> normal;
        qkv.resize(static_cast<std::size_t>(a.sequences * (a.heads + 2 * a.kv_heads) * a.dim));
        std::ranges::generate(qkv, [&] { return normal(generator); });
        for (std::int64_t i = 0; i < positions * a.dim / 2; ++i) {
            const float angle = 3 * normal(generator);
            cos.push_back(std::cos(angle)), sin.push_back(std::sin(angle));
        }
    }

    // Element d of a head, as the files order it; `turns`: a query or a key.
    double at(const TokenCase& c, std::int64_t sequence, std::int64_t head, std::int64_t d,
              bool turns) const {
        const AttentionCase& a = c.shape;
        const std::int64_t half = a.dim / 2, i = d % half;
        const float* from = qkv.data() + (sequence * (a.heads + 2 * a.kv_heads) + head) * a.dim;
        const double first = c.paired ? from[2 * i] : from[i];
        const double second = c.paired ? from[2 * i + 1] : from[i + half];
        if (!turns || !c.rotated) {
            return d < half ? first : second;
        }
        const auto angle = static_cast<std::size_t>(a.position * half + i);
        return d < half ? first * cos[angle] - second * sin[angle]
                        : second * cos[angle] + first * sin[angle];
    }
};

// Queries, key and value of the token as `data` has them; the cache before the step: no token yet.
std::vector<__half> put_token(const TokenCase& c, const TokenRows& rows, AttentionData& data) {
    const AttentionCase& a = c.shape;
    std::vector<__half> before = data.cache;
    for (std::int64_t s = 0; s < a.sequences; ++s) {
        for (std::int64_t d = 0; d < a.dim; ++d) {
            for (std::int64_t head = 0; head < a.heads; ++head) {
                data.q[static_cast<std::size_t>((s * a.heads + head) * a.dim + d)] =
                    static_cast<float>(rows.at(c, s, head, d, true));
            }
            for (std::int64_t head = 0; head < 2 * a.kv_heads; ++head) {
                const bool key = head < a.kv_heads;
                const auto at = data.head(a, s, head % a.kv_heads, !key) - data.cache.data() +
                                a.position * a.dim + d;
                data.cache[static_cast<std::size_t>(at)] =
                    __double2half(rows.at(c, s, a.heads + head, d, key));
                before[static_cast<std::size_t>(at)] =
                    __float2half_rn(std::numeric_limits<float>::quiet_NaN());
            }
        }
    }
    return before;
}

struct StepResult {
    std::vector<float> out;  // [sequence][heads * dim + 16]
    std::vector<__half> cache;
};

StepResult attended_step(CudaBackend& backend, const TokenCase& c, std::int64_t positions,
                         const TokenRows& rows, const std::vector<__half>& before) {
    const AttentionCase& a = c.shape;
    const auto take = [&](const auto& from) {
        const std::size_t bytes = from.size() * sizeof from[0];
        auto buffer = backend.allocate(bytes, MemoryCategory::workspace).value();
        EXPECT_TRUE(backend.copy_to_device(*buffer, 0, from.data(), bytes).ok());
        return buffer;
    };
    const std::int64_t stride = a.heads * a.dim + 16;
    StepResult got{std::vector<float>(static_cast<std::size_t>(a.sequences * stride), poison),
                   before};
    const std::vector<float> partials(
        static_cast<std::size_t>(a.sequences * a.heads * c.splits * (a.dim + 2)), poison);
    const auto cache = take(before), out = take(got.out), qkv = take(rows.qkv),
               cos = take(rows.cos), sin = take(rows.sin), partial = take(partials),
               position = take(std::vector{static_cast<std::int32_t>(a.position)});
    const device::AttentionCall call{.shape = {.heads = a.heads,
                                               .kv_heads = a.kv_heads,
                                               .head_dim = a.dim,
                                               .scale = 1.0f / std::sqrt(static_cast<float>(a.dim)),
                                               .window = a.window},
                                     .stretch = {a.sequences, 1, position->as<std::int32_t>()},
                                     .kv = {.keys = cache->data(),
                                            .values = cache->data() + positions * a.dim * 2,
                                            .head_stride = 2 * positions * a.dim},
                                     .out = {out->data(), stride, InputType::f32},
                                     .partial = partial->as<float>(),
                                     .splits = c.splits,
                                     .compute_capability = backend.compute_capability()};
    const device::QkvRows token{qkv->as<float>(), c.paired, c.rotated ? cos->as<float>() : nullptr,
                                c.rotated ? sin->as<float>() : nullptr};
    EXPECT_EQ(device::store_and_attend(call, token, backend.stream()), cudaSuccess);
    EXPECT_TRUE(backend.copy_to_host(got.out.data(), *out, 0, got.out.size() * 4).ok());
    EXPECT_TRUE(backend.copy_to_host(got.cache.data(), *cache, 0, got.cache.size() * 2).ok());
    return got;
}

TEST_F(Cuda, a_decode_step_stores_its_token_and_is_the_softmax_over_all_before_it) {
    const std::vector<TokenCase> cases{
        {{1, 1, 0, 4, 1, 64, 0}, 1, true, true},    {{2, 1, 1, 4, 1, 64, 0}, 1, true, false},
        {{3, 1, 15, 8, 2, 64, 0}, 1, false, false}, {{2, 1, 16, 3, 1, 64, 0}, 1, true, true},
        {{1, 1, 17, 7, 1, 128, 0}, 1, true, true},  {{32, 1, 80, 8, 2, 64, 0}, 1, true, true},
        {{1, 1, 127, 2, 2, 64, 0}, 1, false, true}, {{1, 1, 128, 2, 2, 128, 0}, 1, true, true},
        {{2, 1, 300, 4, 1, 128, 0}, 3, true, true}, {{1, 1, 300, 4, 1, 64, 70}, 1, true, true},
        {{1, 1, 300, 7, 1, 64, 0}, 2, true, true},  {{1, 1, 2047, 4, 1, 64, 300}, 4, true, false},
        {{1, 1, 3000, 4, 1, 128, 0}, 1, true, true}};
    for (const TokenCase& c : cases) {
        const AttentionCase& a = c.shape;
        AttentionData data(a);
        const TokenRows rows(c, data.positions);
        const auto before = put_token(c, rows, data);
        const StepResult got = attended_step(*backend_, c, data.positions, rows, before);
        const std::string what = std::to_string(a.sequences) + " at " + std::to_string(a.position) +
                                 ", " + std::to_string(a.heads) + " heads over " +
                                 std::to_string(a.kv_heads) + " of " + std::to_string(a.dim);
        for (std::size_t i = 0; i < before.size(); ++i) {
            if (static_cast<std::int64_t>(i) / a.dim % data.positions != a.position) {
                ASSERT_EQ(std::memcmp(&got.cache[i], &before[i], 2), 0) << what << ", at " << i;
            } else {  // rounded from float32: a step of a half away where rounding met a tie
                const float want = __half2float(data.cache[i]);
                ASSERT_NEAR(__half2float(got.cache[i]), want, 1e-3 * std::fabs(want) + 1e-6)
                    << what;
            }
        }
        const std::int64_t width = a.heads * a.dim, stride = width + 16;
        double worst = 0;
        for (std::int64_t row = 0; row < a.sequences; ++row) {
            for (std::int64_t head = 0; head < a.heads; ++head) {
                const auto want = softmax_of(a, data, row, head);
                for (std::int64_t d = 0; d < a.dim; ++d) {
                    const double v =
                        got.out[static_cast<std::size_t>(row * stride + head * a.dim + d)];
                    const double apart = std::fabs(v - want[static_cast<std::size_t>(d)]);
                    worst = std::isnan(v) ? INFINITY : std::max(worst, apart);
                }
            }
            for (std::int64_t i = width; i < stride; ++i) {
                EXPECT_EQ(got.out[static_cast<std::size_t>(row * stride + i)], poison) << what;
            }
        }
        // Float32 throughout; a key or value one step of a half away where rounding met a tie.
        EXPECT_LT(worst, 1e-3) << what;
    }
}

}  // namespace
}  // namespace bitsweep::testing_inference
