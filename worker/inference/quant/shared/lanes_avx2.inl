// 16 lanes as two AVX2 registers. Included inside an instruction set's namespace, under its target.

struct I {
    __m256i a, b;
};
struct F {
    __m256 a, b;
};

BITSWEEP_INLINE I load_i(const void* p) {
    const auto* q = static_cast<const __m256i*>(p);
    return {_mm256_loadu_si256(q), _mm256_loadu_si256(q + 1)};
}
BITSWEEP_INLINE void store_i(void* p, I v) {
    auto* q = static_cast<__m256i*>(p);
    _mm256_storeu_si256(q, v.a);
    _mm256_storeu_si256(q + 1, v.b);
}
BITSWEEP_INLINE I set_i(std::int32_t v) {
    return {_mm256_set1_epi32(v), _mm256_set1_epi32(v)};
}
BITSWEEP_INLINE I and_i(I x, I y) {
    return {_mm256_and_si256(x.a, y.a), _mm256_and_si256(x.b, y.b)};
}
BITSWEEP_INLINE I or_i(I x, I y) {
    return {_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)};
}
BITSWEEP_INLINE I add_i(I x, I y) {
    return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)};
}
BITSWEEP_INLINE I sub_i(I x, I y) {
    return {_mm256_sub_epi32(x.a, y.a), _mm256_sub_epi32(x.b, y.b)};
}
template <int N>
BITSWEEP_INLINE I shr(I x) {
    return {_mm256_srli_epi32(x.a, N), _mm256_srli_epi32(x.b, N)};
}
template <int N>
BITSWEEP_INLINE I shl(I x) {
    return {_mm256_slli_epi32(x.a, N), _mm256_slli_epi32(x.b, N)};
}
template <int N>
BITSWEEP_INLINE I sar(I x) {
    return {_mm256_srai_epi32(x.a, N), _mm256_srai_epi32(x.b, N)};
}
BITSWEEP_INLINE void store_i8(std::int8_t* p, I v) {
    const __m128i x =
        _mm_packs_epi32(_mm256_castsi256_si128(v.a), _mm256_extracti128_si256(v.a, 1));
    const __m128i y =
        _mm_packs_epi32(_mm256_castsi256_si128(v.b), _mm256_extracti128_si256(v.b, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(x, y));
}

BITSWEEP_INLINE F load_f(const float* p) {
    return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
BITSWEEP_INLINE void store_f(float* p, F v) {
    _mm256_storeu_ps(p, v.a);
    _mm256_storeu_ps(p + 8, v.b);
}
BITSWEEP_INLINE F set_f(float v) {
    return {_mm256_set1_ps(v), _mm256_set1_ps(v)};
}
BITSWEEP_INLINE F mul_f(F x, F y) {
    return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)};
}
BITSWEEP_INLINE F add_f(F x, F y) {
    return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)};
}
BITSWEEP_INLINE F fma_f(F x, F y, F z) {
    return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
BITSWEEP_INLINE F max_abs_f(F x, F y) {  // max(x, |y|)
    const __m256 mask = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
    return {_mm256_max_ps(x.a, _mm256_and_ps(y.a, mask)),
            _mm256_max_ps(x.b, _mm256_and_ps(y.b, mask))};
}
BITSWEEP_INLINE F to_f(I v) {
    return {_mm256_cvtepi32_ps(v.a), _mm256_cvtepi32_ps(v.b)};
}
BITSWEEP_INLINE I to_i(F v) {  // nearest even
    return {_mm256_cvtps_epi32(v.a), _mm256_cvtps_epi32(v.b)};
}
BITSWEEP_INLINE F load_f16(const std::uint16_t* p) {
    const auto* q = reinterpret_cast<const __m128i*>(p);
    return {_mm256_cvtph_ps(_mm_loadu_si128(q)), _mm256_cvtph_ps(_mm_loadu_si128(q + 1))};
}
BITSWEEP_INLINE F load_bf16(const std::uint16_t* p) {
    const auto* q = reinterpret_cast<const __m128i*>(p);
    const __m256i x = _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(q)), 16);
    const __m256i y = _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(q + 1)), 16);
    return {_mm256_castsi256_ps(x), _mm256_castsi256_ps(y)};
}
BITSWEEP_INLINE F load_e4m3(const std::uint8_t* p) {  // e4m3::half_of
    const auto* q = reinterpret_cast<const __m128i*>(p);
    const __m256i codes = _mm256_cvtepu8_epi16(_mm_loadu_si128(q));
    // The sign is shifted into two bits, of which the lower goes.
    const __m256i twice = _mm256_srai_epi16(_mm256_slli_epi16(codes, 8), 1);
    const __m256i halves = _mm256_and_si256(twice, _mm256_set1_epi16(static_cast<short>(0xbf80)));
    return {_mm256_cvtph_ps(_mm256_castsi256_si128(halves)),
            _mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1))};
}
BITSWEEP_INLINE float sum_f(F v) {
    const __m256 half = _mm256_add_ps(v.a, v.b);
    const __m128 q = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    const __m128 d = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(d, _mm_shuffle_ps(d, d, 1)));
}
BITSWEEP_INLINE float max_f(F v) {
    const __m256 half = _mm256_max_ps(v.a, v.b);
    const __m128 q = _mm_max_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    const __m128 d = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(d, _mm_shuffle_ps(d, d, 1)));
}
BITSWEEP_INLINE std::int32_t sum_i(I v) {
    const __m256i half = _mm256_add_epi32(v.a, v.b);
    const __m128i q =
        _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    const __m128i d = _mm_add_epi32(q, _mm_shuffle_epi32(q, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(d, _mm_shuffle_epi32(d, 0xb1)));
}

// acc + four products u8 x s8 per lane, exact: 16-bit halves, because the byte form saturates.
BITSWEEP_INLINE __m256i dot4_half(__m256i acc, __m256i u, __m256i s) {
    const __m256i u_even = _mm256_and_si256(u, _mm256_set1_epi16(0xff));
    const __m256i s_even = _mm256_srai_epi16(_mm256_slli_epi16(s, 8), 8);
    const __m256i even = _mm256_madd_epi16(u_even, s_even);
    const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(u, 8), _mm256_srai_epi16(s, 8));
    return _mm256_add_epi32(acc, _mm256_add_epi32(even, odd));
}
BITSWEEP_INLINE I dot4(I acc, I u, I s) {
    return {dot4_half(acc.a, u.a, s.a), dot4_half(acc.b, u.b, s.b)};
}

struct Book {
    __m256 low, high;
};
BITSWEEP_INLINE Book load_book(const float* p) {
    return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
BITSWEEP_INLINE __m256 look_up_half(const Book& book, __m256i index) {
    const __m256 low = _mm256_permutevar8x32_ps(book.low, index);
    const __m256 high = _mm256_permutevar8x32_ps(book.high, index);
    return _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(index, 28)));
}
// Entry (index mod 16) of each lane.
BITSWEEP_INLINE F look_up(const Book& book, I index) {
    return {look_up_half(book, index.a), look_up_half(book, index.b)};
}
