#include "worker/metrics/quality.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <iterator>
#include <string>

// Two exponentials per vocabulary entry are the whole cost, so one body is compiled for three
// vector widths and chosen at load time. Sanitizers start before such a choice can be made.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define BITSWEEP_VECTOR_CLONES __attribute__((target_clones("default", "avx2", "avx512f")))
#else
#define BITSWEEP_VECTOR_CLONES
#endif

namespace bitsweep {
namespace {

constexpr int lanes = 8;
using Doubles = double __attribute__((vector_size(8 * lanes)));
using Floats = float __attribute__((vector_size(4 * lanes)));
using Words = std::int64_t __attribute__((vector_size(8 * lanes)));

// exp(x) for x <= 0 within 2 ulp: x = n ln 2 + r, Taylor to r^13 (remainder 4e-18), 2^n by bits.
// Below -708 the answer is that of -708, about 1e-308: nothing to a sum that contains a 1.
// By reference: vectors wider than the baseline's registers have no calling convention in common.
[[gnu::always_inline]] inline void exp_of_nonpositive(Doubles& x) {
    constexpr double log2_e = 1.4426950408889634074;
    constexpr double ln2_high = 6.93147180369123816490e-01;
    constexpr double ln2_low = 1.90821492927058770002e-10;
    constexpr double magic = 6755399441055744.0;  // 1.5 x 2^52: rounds to nearest by its exponent
    x = x < -708.0 ? Doubles{} - 708.0 : x;
    const Doubles shifted = x * log2_e + magic;
    const Doubles n = shifted - magic;
    const Doubles r = (x - n * ln2_high) - n * ln2_low;
    Doubles p = r * (1.0 / 6227020800.0) + 1.0 / 479001600.0;
    p = p * r + 1.0 / 39916800.0;
    p = p * r + 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    // The low bits of `shifted` are n; moved into the exponent's place they multiply by 2^n.
    x = reinterpret_cast<Doubles>(reinterpret_cast<Words>(p) +
                                  (reinterpret_cast<Words>(shifted) << 52));
}

[[gnu::always_inline]] inline void load(Doubles& to, const float* from) {
    Floats floats;
    std::memcpy(&floats, from, sizeof floats);
    to = __builtin_convertvector(floats, Doubles);
}

struct Sums {
    double fp32 = 0;    // sum of exp(fp32 - max)
    double method = 0;  // sum of exp(method - max)
    double cross = 0;   // sum of exp(fp32 - max) x (fp32 - method)
};

BITSWEEP_VECTOR_CLONES
Sums sums_of(const float* fp32, const float* method, std::int64_t vocabulary, double max_fp32,
             double max_method) {
    Doubles sum_fp32 = {};
    Doubles sum_method = {};
    Doubles cross = {};
    const auto add = [&](const float* fp32_lanes, const float* method_lanes) {
        Doubles a;
        Doubles b;
        load(a, fp32_lanes);
        load(b, method_lanes);
        const Doubles difference = a - b;
        a -= max_fp32;
        b -= max_method;
        exp_of_nonpositive(a);
        exp_of_nonpositive(b);
        sum_fp32 += a;
        sum_method += b;
        cross += a * difference;
    };
    const std::int64_t whole = vocabulary / lanes * lanes;
    for (std::int64_t i = 0; i < whole; i += lanes) {
        add(fp32 + i, method + i);
    }
    Sums sums;
    for (int k = 0; k < lanes; ++k) {
        sums.fp32 += sum_fp32[k];
        sums.method += sum_method[k];
        sums.cross += cross[k];
    }
    for (std::int64_t i = whole; i < vocabulary; ++i) {
        const double e = std::exp(fp32[i] - max_fp32);
        sums.fp32 += e;
        sums.method += std::exp(method[i] - max_method);
        sums.cross += e * (static_cast<double>(fp32[i]) - method[i]);
    }
    return sums;
}

struct Top {
    float value = 0;
    std::int64_t index = 0;  // the first with that value
    bool finite = true;
};

BITSWEEP_VECTOR_CLONES
Top top_of(const float* logits, std::int64_t vocabulary) {
    float best[2 * lanes];
    std::uint32_t largest[2 * lanes] = {};  // bits of |x|: NaN and infinity have the largest
    std::fill(std::begin(best), std::end(best), logits[0]);
    const auto look = [&](std::int64_t i, int k) {
        const std::uint32_t bits = std::bit_cast<std::uint32_t>(logits[i]) & 0x7fffffffU;
        largest[k] = bits > largest[k] ? bits : largest[k];
        best[k] = logits[i] > best[k] ? logits[i] : best[k];
    };
    const std::int64_t whole = vocabulary / (2 * lanes) * (2 * lanes);
    for (std::int64_t i = 0; i < whole; i += 2 * lanes) {
        for (int k = 0; k < 2 * lanes; ++k) {
            look(i + k, k);
        }
    }
    for (std::int64_t i = whole; i < vocabulary; ++i) {
        look(i, 0);
    }
    Top top{*std::max_element(std::begin(best), std::end(best)), 0,
            *std::max_element(std::begin(largest), std::end(largest)) < 0x7f800000U};
    while (top.finite && top.index < vocabulary && logits[top.index] != top.value) {
        ++top.index;
    }
    return top;
}

}  // namespace

PositionScore score_position(const float* fp32, const float* method, std::int64_t vocabulary,
                             std::int32_t target) {
    ASSERT(vocabulary > 0 && target >= 0 && target < vocabulary);
    const Top top_fp32 = top_of(fp32, vocabulary);
    const Top top_method = top_of(method, vocabulary);
    PositionScore score;
    if (!top_fp32.finite || !top_method.finite) {
        score.finite = false;
        return score;
    }
    const Sums sums = sums_of(fp32, method, vocabulary, top_fp32.value, top_method.value);
    const double log_sum_fp32 = top_fp32.value + std::log(sums.fp32);
    const double log_sum_method = top_method.value + std::log(sums.method);
    score.nll = log_sum_method - method[target];
    score.nll_fp32 = log_sum_fp32 - fp32[target];
    // sum p (log p - log q) = sum p (a - b) + log sum exp b - log sum exp a; rounding may leave a
    // few 1e-16 below 0, where the divergence cannot be.
    const double kl = sums.cross / sums.fp32 + (log_sum_method - log_sum_fp32);
    score.kl = kl > 0 ? kl : 0;
    score.dp = std::exp(-score.nll) - std::exp(-score.nll_fp32);
    score.same_top = top_fp32.index == top_method.index;
    return score;
}

Status QualityScores::add(const float* fp32_rows, const float* method_rows, std::int64_t vocabulary,
                          std::span<const std::int32_t> targets) {
    for (std::size_t i = 0; i < targets.size(); ++i) {
        const auto offset = static_cast<std::int64_t>(i) * vocabulary;
        const PositionScore score =
            score_position(fp32_rows + offset, method_rows + offset, vocabulary, targets[i]);
        if (!score.finite) {
            return make_error(
                ErrorCode::invalid_numbers,
                "NaN or infinity in the logits of scored token " + std::to_string(tokens() + 1) +
                    (top_of(fp32_rows + offset, vocabulary).finite ? " of the method"
                                                                   : " of the fp32 reference"));
        }
        nll.push_back(score.nll);
        nll_fp32.push_back(score.nll_fp32);
        kl.push_back(score.kl);
        dp.push_back(score.dp);
        same_top += score.same_top ? 1 : 0;
    }
    return {};
}

}  // namespace bitsweep
