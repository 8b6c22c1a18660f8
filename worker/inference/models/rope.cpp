#include <cmath>
#include <functional>
#include <numbers>

#include "worker/inference/models/layers.h"

namespace bitsweep {

std::vector<float> rope_frequencies(const RopeConfig& rope, std::int64_t head_dim) {
    std::vector<float> frequencies(static_cast<std::size_t>(head_dim / 2));
    for (std::size_t i = 0; i < frequencies.size(); ++i) {
        const double exponent = 2.0 * static_cast<double>(i) / static_cast<double>(head_dim);
        auto frequency = static_cast<float>(1.0 / std::pow(rope.theta, exponent));
        if (rope.llama3) {
            // Long wavelengths are stretched by `factor`, short ones kept, those between blended.
            const Llama3RopeScaling& scaling = *rope.llama3;
            const double wavelength = 2 * std::numbers::pi / frequency;
            const double low = scaling.original_positions / scaling.low_freq_factor;
            const double high = scaling.original_positions / scaling.high_freq_factor;
            if (wavelength > low) {
                frequency = static_cast<float>(frequency / scaling.factor);
            } else if (wavelength >= high) {
                const double smooth =
                    (scaling.original_positions / wavelength - scaling.low_freq_factor) /
                    (scaling.high_freq_factor - scaling.low_freq_factor);
                frequency = static_cast<float>((1 - smooth) * frequency / scaling.factor +
                                               smooth * frequency);
            }
        }
        frequencies[i] = frequency / static_cast<float>(rope.linear_factor);
    }
    return frequencies;
}

void rope_angles(std::span<const float> frequencies, std::int64_t position, std::int64_t tokens,
                 float* cos, float* sin) {
    const std::size_t half = frequencies.size();
    for (std::int64_t token = 0; token < tokens; ++token) {
        const auto at = static_cast<float>(position + token);
        for (std::size_t i = 0; i < half; ++i) {
            const float angle = at * frequencies[i];
            *cos++ = std::cos(angle);
            *sin++ = std::sin(angle);
        }
    }
}

void rope_rows(const Pass& pass, const AttentionShape& shape, const Chunk& chunk, const float* cos,
               const float* sin, float* qkv) {
    const Ops& kernels = ops();
    const std::int64_t half = shape.head_dim / 2;
    const std::int64_t rotated = shape.heads + shape.kv_heads;  // queries, then keys
    const std::int64_t width = (rotated + shape.kv_heads) * shape.head_dim;
    const auto body = [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t row = begin; row < end; ++row) {
            const std::int64_t angles = row % chunk.tokens * half;
            for (std::int64_t head = 0; head < rotated; ++head) {
                kernels.rope(qkv + row * width + head * shape.head_dim, cos + angles, sin + angles,
                             half);
            }
        }
    };
    if (chunk.rows() == 1) {
        body(0, 1);
    } else {
        pass.threads.parallel_for(chunk.rows(), 4, std::cref(body));
    }
}

}  // namespace bitsweep
