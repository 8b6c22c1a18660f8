#include "worker/inference/float_convert.h"

#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace bitsweep {
namespace {

static_assert(std::endian::native == std::endian::little, "model files are little-endian");

#if defined(__x86_64__)
__attribute__((target("avx,f16c"))) void f16_to_f32_f16c(const void* src, float* dst,
                                                         std::size_t count) {
    const auto* bytes = static_cast<const unsigned char*>(src);
    std::size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + 2 * i));
        _mm256_storeu_ps(dst + i, _mm256_cvtph_ps(halves));
    }
    f16_to_f32_portable(bytes + 2 * i, dst + i, count - i);
}
#endif

}  // namespace

void f16_to_f32_portable(const void* src, float* dst, std::size_t count) {
    const auto* bytes = static_cast<const unsigned char*>(src);
    for (std::size_t i = 0; i < count; ++i) {
        std::uint16_t half;
        std::memcpy(&half, bytes + 2 * i, 2);
        dst[i] = f16_value(half);
    }
}

void f16_to_f32(const void* src, float* dst, std::size_t count) {
#if defined(__x86_64__)
    // Every CPU with AVX2 has F16C, whose own name clang 14 does not know.
    static const bool has_f16c = __builtin_cpu_supports("avx2");
    if (has_f16c) {
        f16_to_f32_f16c(src, dst, count);
        return;
    }
#endif
    f16_to_f32_portable(src, dst, count);
}

void bf16_to_f32(const void* src, float* dst, std::size_t count) {
    const auto* bytes = static_cast<const unsigned char*>(src);
    for (std::size_t i = 0; i < count; ++i) {
        std::uint16_t upper;
        std::memcpy(&upper, bytes + 2 * i, 2);
        dst[i] = std::bit_cast<float>(static_cast<std::uint32_t>(upper) << 16);
    }
}

}  // namespace bitsweep
