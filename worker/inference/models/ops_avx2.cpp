// The kernels for AVX2, FMA and F16C: eight lanes.
#include "worker/inference/models/ops.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "worker/inference/models/kv_codes.h"

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
inline Vector load(const std::int8_t* p) {
    return _mm256_cvtepi32_ps(
        _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}
// The same bits as a half are 2^8 times too small; its NaN would be 480.
inline Vector load(const E4m3* p) {
    const __m128i codes = _mm_cvtepu8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
    const __m128i sign = _mm_slli_epi16(_mm_and_si128(codes, _mm_set1_epi16(0x80)), 8);
    const __m128i magnitude = _mm_slli_epi16(_mm_and_si128(codes, _mm_set1_epi16(0x7f)), 7);
    const Vector v = Vector(_mm256_cvtph_ps(_mm_or_si128(sign, magnitude))) * 256.0f;
    return v * v == 480.0f * 480.0f ? v - v + std::numeric_limits<float>::quiet_NaN() : v;
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
inline float to_float(std::int8_t value) {
    return value;
}
inline float to_float(E4m3 value) {
    return quant::e4m3::decode(value.code);
}
inline void convert_to(float value, E4m3* to) {
    to->code = e4m3_of_cache(value);
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
