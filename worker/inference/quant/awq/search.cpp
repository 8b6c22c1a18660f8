#include "worker/inference/quant/awq/search.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "worker/inference/backend/cpu/gemm.h"
#include "worker/inference/quant/shared/halves.h"
#include "worker/inference/quant/shared/integers.h"

namespace bitsweep::quant {
namespace {

constexpr float least_scale = 1e-4f;

// Rows whose errors are multiplied at once: 256 rows of a wide layer are 4 MiB.
constexpr std::int64_t rows_at_once = 256;

// lost[rows, in] = w - Q(w * scale) / scale.
void lost_rows(const AwqWeight& weight, std::int64_t first, std::int64_t rows, std::int64_t in,
               const std::vector<float>& scale, const AwqGrid& grid, ThreadPool& threads,
               float* lost) {
    const auto share = [&](std::int64_t begin, std::int64_t end) {
        std::vector<float> scaled(static_cast<std::size_t>(grid.group));
        for (std::int64_t row = begin; row < end; ++row) {
            const float* w = weight.values.data() + (first + row) * in;
            float* to = lost + row * in;
            for (std::int64_t at = 0; at < in; at += grid.group) {
                const std::int64_t count = std::min(grid.group, in - at);
                std::transform(w + at, w + at + count, scale.begin() + at, scaled.begin(),
                               std::multiplies<>());
                round_group(scaled.data(), count, grid.bits, to + at);
                for (std::int64_t i = at; i < at + count; ++i) {
                    to[i] = w[i] - to[i] / scale[static_cast<std::size_t>(i)];
                }
            }
        }
    };
    threads.parallel_for(rows, 1, std::cref(share));
}

double squared_error(ThreadPool& threads, std::span<const AwqWeight> weights,
                     const std::vector<float>& moments, const std::vector<float>& scale,
                     const AwqGrid& grid) {
    const auto in = static_cast<std::int64_t>(scale.size());
    std::vector<float> lost(static_cast<std::size_t>(rows_at_once * in));
    std::vector<float> product(lost.size());
    double error = 0;
    for (const AwqWeight& weight : weights) {
        for (std::int64_t first = 0; first < weight.out; first += rows_at_once) {
            const std::int64_t rows = std::min(rows_at_once, weight.out - first);
            lost_rows(weight, first, rows, in, scale, grid, threads, lost.data());
            gemm_f32(threads, lost.data(), moments.data(), product.data(), rows, in, in, in);
            error +=
                std::inner_product(lost.begin(), lost.begin() + rows * in, product.begin(), 0.0);
        }
    }
    return error;
}

// d^T M d of one group, M a block of the moments.
double group_error(const float* values, const std::vector<float>& rounded, std::int64_t count,
                   const double* block, std::int64_t stride, std::vector<double>& lost) {
    for (std::int64_t i = 0; i < count; ++i) {
        lost[static_cast<std::size_t>(i)] =
            static_cast<double>(values[i]) - rounded[static_cast<std::size_t>(i)];
    }
    double error = 0;
    for (std::int64_t i = 0; i < count; ++i) {
        error += lost[static_cast<std::size_t>(i)] *
                 std::inner_product(lost.begin(), lost.begin() + count, block + i * stride, 0.0);
    }
    return error;
}

}  // namespace

void round_group(const float* values, std::int64_t count, int bits, float* rounded) {
    float low = 0, high = 0;
    for (std::int64_t i = 0; i < count; ++i) {
        low = std::min(low, values[i]);
        high = std::max(high, values[i]);
    }
    const auto levels = static_cast<float>((1 << bits) - 1);
    const float scale = round_to_f16((high - low) / levels);
    const float zero = scale > 0 ? std::clamp(round_even(-low / scale), 0.0f, levels) : 0.0f;
    for (std::int64_t i = 0; i < count; ++i) {
        const float steps = scale > 0 ? round_even(values[i] / scale) : 0.0f;
        rounded[i] = (std::clamp(steps + zero, 0.0f, levels) - zero) * scale;
    }
}

std::vector<float> scales_of(std::span<const float> mean_abs, double ratio) {
    std::vector<float> scale(mean_abs.size());
    std::ranges::transform(mean_abs, scale.begin(), [ratio](float mean) {
        return std::max(static_cast<float>(std::pow(static_cast<double>(mean), ratio)),
                        least_scale);
    });
    const auto [smallest, largest] = std::ranges::minmax(scale);
    const float middle = std::sqrt(smallest * largest);
    for (float& value : scale) {
        value /= middle;
    }
    return scale;
}

AwqScales search_scales(ThreadPool& threads, std::span<const AwqWeight> weights,
                        std::span<const float> mean_abs, std::span<const double> moments,
                        const AwqGrid& grid) {
    const std::vector<float> narrow(moments.begin(), moments.end());
    AwqScales found;
    for (int i = 0; i < grid.ratios; ++i) {
        std::vector<float> scale = scales_of(mean_abs, static_cast<double>(i) / grid.ratios);
        found.errors.push_back(squared_error(threads, weights, narrow, scale, grid));
        if (i == 0 || found.errors.back() < found.errors[static_cast<std::size_t>(found.best)]) {
            found.best = i;
            found.scale = std::move(scale);
        }
    }
    return found;
}

std::vector<float> search_clips(ThreadPool& threads, const AwqWeight& weight,
                                std::span<const float> scale, std::span<const double> moments,
                                std::int64_t first_row, const AwqGrid& grid) {
    const auto in = static_cast<std::int64_t>(scale.size());
    const std::int64_t groups = (in + grid.group - 1) / grid.group;
    std::vector<float> limits(static_cast<std::size_t>(weight.out * groups), no_limit);
    std::vector<double> scaled(moments.begin(), moments.end());
    for (std::int64_t i = 0; i < in; ++i) {
        for (std::int64_t j = 0; j < in; ++j) {
            scaled[static_cast<std::size_t>(i * in + j)] /=
                static_cast<double>(scale[static_cast<std::size_t>(i)]) *
                static_cast<double>(scale[static_cast<std::size_t>(j)]);
        }
    }
    const auto share = [&](std::int64_t begin, std::int64_t end) {
        std::vector<float> clipped(static_cast<std::size_t>(grid.group)), rounded(clipped.size());
        std::vector<double> lost(clipped.size());
        for (std::int64_t at = (first_row + begin) * groups; at < (first_row + end) * groups;
             ++at) {
            const std::int64_t from = at % groups * grid.group;
            const std::int64_t count = std::min(grid.group, in - from);
            const float* values = weight.values.data() + at / groups * in + from;
            const float largest = absmax(values, count);
            double least = std::numeric_limits<double>::infinity();
            for (int step = 0; step < grid.clips; ++step) {
                const float share_kept =
                    1.0f - static_cast<float>(step) / static_cast<float>(2 * grid.clips);
                const float limit = largest * share_kept;
                std::transform(values, values + count, clipped.begin(),
                               [limit](float v) { return std::clamp(v, -limit, limit); });
                round_group(clipped.data(), count, grid.bits, rounded.data());
                const double error =
                    group_error(values, rounded, count, scaled.data() + from * in + from, in, lost);
                if (error < least) {
                    least = error;
                    limits[static_cast<std::size_t>(at)] = step == 0 ? no_limit : limit;
                }
            }
        }
    };
    threads.parallel_for(weight.out - first_row, 1, std::cref(share));
    return limits;
}

}  // namespace bitsweep::quant
