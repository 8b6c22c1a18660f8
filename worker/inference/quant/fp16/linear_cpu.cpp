#include <cstdint>

#include "worker/inference/quant/fp16/fp16.h"
#include "worker/inference/quant/shared/halves.h"

namespace bitsweep::quant {
namespace {

void encode(const float* from, std::int64_t count, float, void* to) {
    auto* halves = static_cast<std::uint16_t*>(to);
    for (std::int64_t i = 0; i < count; ++i) {
        halves[i] = f32_to_f16(from[i]);
    }
}

void decode(const void* from, std::int64_t count, float, float* to) {
    const auto* halves = static_cast<const std::uint16_t*>(from);
    for (std::int64_t i = 0; i < count; ++i) {
        to[i] = f16_to_f32(halves[i]);
    }
}

}  // namespace

const DenseType& fp16_type() {
    static constexpr DenseType type{2, encode, decode, &Kernels::dense_f16,
                                    "little-endian IEEE binary16, row-major"};
    return type;
}

}  // namespace bitsweep::quant
