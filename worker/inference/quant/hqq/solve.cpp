#include "worker/inference/quant/hqq/solve.h"

#include <algorithm>
#include <array>
#include <limits>

#include "worker/inference/quant/shared/halves.h"

namespace bitsweep::quant::hqq {
namespace {

using Lanes = std::array<float, lanes>;

// The order in which a warp adds its lanes.
float total(Lanes& sums) {
    for (std::size_t half = lanes / 2; half > 0; half /= 2) {
        for (std::size_t i = 0; i < half; ++i) {
            sums[i] += sums[i + half];
        }
    }
    return sums[0];
}

struct Group {
    const float* values;
    const float* steps;  // values / scale
    std::int64_t count;
    float scale;
    float levels;
};

struct Round {
    float error;  // sum |w - w'|
    float zero;   // mean (code - (w - shrunk error) / scale)
};

// The first loop runs over vectors; shrinking, which errors below never_shrunk do not need, is left
// to a plain second one.
Round evaluate(const Group& group, float zero, float beta) {
    Lanes errors{}, zeros{}, largest{};
    for (std::int64_t first = 0; first < group.count; first += lanes) {
        const auto width =
            static_cast<std::size_t>(std::min<std::int64_t>(lanes, group.count - first));
        for (std::size_t i = 0; i < width; ++i) {
            const float steps = group.steps[static_cast<std::size_t>(first) + i];
            const float code = code_of(steps, zero, group.levels);
            const float error =
                group.values[static_cast<std::size_t>(first) + i] - (code - zero) * group.scale;
            errors[i] += std::fabs(error);
            zeros[i] += code - steps;
            largest[i] = std::max(largest[i], std::fabs(error));
        }
    }
    if (*std::ranges::max_element(largest) > never_shrunk) {
        zeros = {};
        for (std::int64_t i = 0; i < group.count; ++i) {
            const float code = code_of(group.steps[i], zero, group.levels);
            const float moved = shrunk(group.values[i] - (code - zero) * group.scale, beta);
            const float steps =
                moved == 0 ? group.steps[i] : (group.values[i] - moved) / group.scale;
            zeros[static_cast<std::size_t>(i % lanes)] += code - steps;
        }
    }
    return {total(errors), total(zeros) / static_cast<float>(group.count)};
}

}  // namespace

Solution solve(const float* values, std::int64_t count, int bits, std::uint8_t* codes,
               float* errors) {
    constexpr std::int64_t most = 1024;  // the largest group
    std::array<float, most> steps;
    float low = 0, high = 0;
    for (std::int64_t i = 0; i < count; ++i) {
        low = std::min(low, values[i]);
        high = std::max(high, values[i]);
    }
    const auto middle = static_cast<float>(1 << (bits - 1)), levels = 2 * middle - 1;
    Solution best;
    best.scale = f32_to_f16((high - low) / levels);
    const float scale = f16_to_f32(best.scale);
    if (scale == 0 || std::isinf(scale)) {  // the caller refuses the second
        std::fill_n(codes, count, static_cast<std::uint8_t>(middle));
        return best;
    }
    for (std::int64_t i = 0; i < count; ++i) {
        steps[static_cast<std::size_t>(i)] = values[i] / scale;
    }
    const Group group{values, steps.data(), count, scale, levels};
    float next = -low / scale, beta = first_beta, least = std::numeric_limits<float>::infinity();
    for (int round = 0; round < rounds; ++round) {
        const std::uint16_t stored = f32_to_f16(next - middle);
        const Round made = evaluate(group, f16_to_f32(stored) + middle, beta);
        if (!(made.error < least)) {
            break;
        }
        least = made.error;
        best.zero = stored;
        best.rounds = round + 1;
        if (errors != nullptr) {
            errors[round] = least / static_cast<float>(count);
        }
        next = made.zero;
        beta *= beta_growth;
    }
    best.error = least / static_cast<float>(count);
    const float zero = f16_to_f32(best.zero) + middle;
    for (std::int64_t i = 0; i < count; ++i) {
        codes[i] =
            static_cast<std::uint8_t>(code_of(steps[static_cast<std::size_t>(i)], zero, levels));
    }
    return best;
}

}  // namespace bitsweep::quant::hqq
