// The kernels for AVX2, FMA and F16C: eight lanes.
#include "worker/inference/models/ops.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <cmath>
#include <cstdint>
#include <limits>

// After the includes, so that no inline function of a header is compiled for AVX2.
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")

namespace bitsweep {
namespace {

constexpr int lanes = 8;
constexpr int vector_registers = 12;

typedef float Vector __attribute__((vector_size(32)));
typedef std::int32_t IntVector __attribute__((vector_size(32)));

inline Vector load(const float* p) {
    return _mm256_loadu_ps(p);
}
inline Vector load(const std::uint16_t* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline void store(float* p, Vector v) {
    _mm256_storeu_ps(p, v);
}
inline float to_float(float value) {
    return value;
}
inline float to_float(std::uint16_t value) {
    return _cvtsh_ss(value);
}
inline void convert_to(float value, float* to) {
    *to = value;
}
inline void convert_to(float value, std::uint16_t* to) {
    *to = _cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT);
}

#include "worker/inference/models/ops_kernels.inc"

}  // namespace

const Ops* ops_avx2() {
    return &kernels;
}

}  // namespace bitsweep

#pragma GCC pop_options

#else

namespace bitsweep {
const Ops* ops_avx2() {
    return nullptr;
}
}  // namespace bitsweep

#endif
