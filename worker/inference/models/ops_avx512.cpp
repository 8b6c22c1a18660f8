// The kernels for AVX-512 (F, BW, DQ, VL): sixteen lanes.
#include "worker/inference/models/ops.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "worker/inference/models/kv_codes.h"

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
inline Vector load(const std::int8_t* p) {
    const __m128i codes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm512_maskz_cvtepi32_ps(0xffff, _mm512_maskz_cvtepi8_epi32(0xffff, codes));
}
// The same bits as a half are 2^8 times too small; its NaN would be 480.
inline Vector load(const E4m3* p) {
    const __m256i codes =
        _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    const __m256i sign = _mm256_slli_epi16(_mm256_and_si256(codes, _mm256_set1_epi16(0x80)), 8);
    const __m256i magnitude =
        _mm256_slli_epi16(_mm256_and_si256(codes, _mm256_set1_epi16(0x7f)), 7);
    const Vector v =
        Vector(_mm512_maskz_cvtph_ps(0xffff, _mm256_or_si256(sign, magnitude))) * 256.0f;
    return v * v == 480.0f * 480.0f ? v - v + std::numeric_limits<float>::quiet_NaN() : v;
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
