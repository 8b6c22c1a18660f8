#include <cstring>

#include "worker/inference/quant/fp32/fp32.h"

namespace bitsweep::quant {
namespace {

void copy(const void* from, std::int64_t count, void* to) {
    std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(float));
}

void encode(const float* from, std::int64_t count, float, void* to) {
    copy(from, count, to);
}

void decode(const void* from, std::int64_t count, float, float* to) {
    copy(from, count, to);
}

}  // namespace

const DenseType& fp32_type() {
    static constexpr DenseType type{4, encode, decode, &Kernels::dense_f32,
                                    "little-endian float32, row-major"};
    return type;
}

}  // namespace bitsweep::quant
