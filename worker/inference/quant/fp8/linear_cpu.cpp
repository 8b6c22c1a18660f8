#include "worker/inference/quant/fp8/e4m3.h"
#include "worker/inference/quant/fp8/fp8.h"

namespace bitsweep::quant {
namespace {

void encode(const float* from, std::int64_t count, float scale, void* to) {
    auto* codes = static_cast<std::uint8_t*>(to);
    for (std::int64_t i = 0; i < count; ++i) {
        codes[i] = e4m3::encode_scaled(from[i], scale);
    }
}

void decode(const void* from, std::int64_t count, float scale, float* to) {
    const auto* codes = static_cast<const std::uint8_t*>(from);
    for (std::int64_t i = 0; i < count; ++i) {
        to[i] = e4m3::decode(codes[i]) * scale;
    }
}

}  // namespace

const DenseType& fp8_type() {
    static constexpr DenseType type{1,
                                    encode,
                                    decode,
                                    &Kernels::dense_e4m3,
                                    "8-bit floats E4M3 (no infinity), row-major; weight = value * "
                                    "scale[row] or the one scale",
                                    e4m3::largest,
                                    e4m3::half_unit};
    return type;
}

}  // namespace bitsweep::quant
