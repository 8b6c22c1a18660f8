// The kernels for AVX-512 (F, BW, DQ, VL): sixteen lanes.
#include "worker/inference/models/ops.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <cmath>
#include <cstdint>
#include <limits>

// After the includes, so that no inline function of a header is compiled for AVX-512.
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma,f16c")

namespace bitsweep {
namespace {

constexpr int lanes = 16;
constexpr int vector_registers = 20;

typedef float Vector __attribute__((vector_size(64)));
typedef std::int32_t IntVector __attribute__((vector_size(64)));

inline Vector load(const float* p) {
    return _mm512_loadu_ps(p);
}
inline Vector load(const std::uint16_t* p) {
    // The unmasked intrinsic of GCC 12 warns about its own undefined operand.
    return _mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline void store(float* p, Vector v) {
    _mm512_storeu_ps(p, v);
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

const Ops* ops_avx512() {
    return &kernels;
}

}  // namespace bitsweep

#pragma GCC pop_options

#else

namespace bitsweep {
const Ops* ops_avx512() {
    return nullptr;
}
}  // namespace bitsweep

#endif
