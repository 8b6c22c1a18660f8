// 16 lanes as one AVX-512 register. Included inside an instruction set's namespace, under its
// target; BITSWEEP_VNNI says whether the byte dot product is one instruction.

using I = __m512i;
using F = __m512;

BITSWEEP_INLINE I load_i(const void* p) {
    return _mm512_loadu_si512(p);
}
BITSWEEP_INLINE void store_i(void* p, I v) {
    _mm512_storeu_si512(p, v);
}
BITSWEEP_INLINE I set_i(std::int32_t v) {
    return _mm512_set1_epi32(v);
}
BITSWEEP_INLINE I and_i(I x, I y) {
    return _mm512_and_si512(x, y);
}
BITSWEEP_INLINE I or_i(I x, I y) {
    return _mm512_or_si512(x, y);
}
BITSWEEP_INLINE I add_i(I x, I y) {
    return _mm512_add_epi32(x, y);
}
BITSWEEP_INLINE I sub_i(I x, I y) {
    return _mm512_sub_epi32(x, y);
}
template <int N>
BITSWEEP_INLINE I shr(I x) {
    return _mm512_srli_epi32(x, N);
}
template <int N>
BITSWEEP_INLINE I shl(I x) {
    return _mm512_slli_epi32(x, N);
}
template <int N>
BITSWEEP_INLINE I sar(I x) {
    return _mm512_srai_epi32(x, N);
}
BITSWEEP_INLINE void store_i8(std::int8_t* p, I v) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(v));
}

BITSWEEP_INLINE F load_f(const float* p) {
    return _mm512_loadu_ps(p);
}
BITSWEEP_INLINE void store_f(float* p, F v) {
    _mm512_storeu_ps(p, v);
}
BITSWEEP_INLINE F set_f(float v) {
    return _mm512_set1_ps(v);
}
BITSWEEP_INLINE F mul_f(F x, F y) {
    return _mm512_mul_ps(x, y);
}
BITSWEEP_INLINE F add_f(F x, F y) {
    return _mm512_add_ps(x, y);
}
BITSWEEP_INLINE F fma_f(F x, F y, F z) {
    return _mm512_fmadd_ps(x, y, z);
}
BITSWEEP_INLINE F max_abs_f(F x, F y) {  // max(x, |y|)
    return _mm512_max_ps(x, _mm512_abs_ps(y));
}
BITSWEEP_INLINE F to_f(I v) {
    return _mm512_cvtepi32_ps(v);
}
BITSWEEP_INLINE I to_i(F v) {  // nearest even
    return _mm512_cvtps_epi32(v);
}
BITSWEEP_INLINE F load_f16(const std::uint16_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
BITSWEEP_INLINE F load_bf16(const std::uint16_t* p) {
    const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}
BITSWEEP_INLINE F load_e4m3(const std::uint8_t* p) {  // e4m3::half_of
    const auto* q = reinterpret_cast<const __m128i*>(p);
    const __m256i codes = _mm256_cvtepu8_epi16(_mm_loadu_si128(q));
    // The sign is shifted into two bits, of which the lower goes.
    const __m256i twice = _mm256_srai_epi16(_mm256_slli_epi16(codes, 8), 1);
    const __m256i halves = _mm256_and_si256(twice, _mm256_set1_epi16(static_cast<short>(0xbf80)));
    return _mm512_cvtph_ps(halves);
}
BITSWEEP_INLINE float sum_f(F v) {
    return _mm512_reduce_add_ps(v);
}
BITSWEEP_INLINE float max_f(F v) {
    return _mm512_reduce_max_ps(v);
}
BITSWEEP_INLINE std::int32_t sum_i(I v) {
    return _mm512_reduce_add_epi32(v);
}

// acc + four products u8 x s8 per lane, exact.
BITSWEEP_INLINE I dot4(I acc, I u, I s) {
#if BITSWEEP_VNNI
    return _mm512_dpbusd_epi32(acc, u, s);
#else
    const I u_even = _mm512_and_si512(u, _mm512_set1_epi16(0xff));
    const I s_even = _mm512_srai_epi16(_mm512_slli_epi16(s, 8), 8);
    const I even = _mm512_madd_epi16(u_even, s_even);
    const I odd = _mm512_madd_epi16(_mm512_srli_epi16(u, 8), _mm512_srai_epi16(s, 8));
    return _mm512_add_epi32(acc, _mm512_add_epi32(even, odd));
#endif
}

using Book = __m512;
BITSWEEP_INLINE Book load_book(const float* p) {
    return _mm512_loadu_ps(p);
}
// Entry (index mod 16) of each lane.
BITSWEEP_INLINE F look_up(Book book, I index) {
    return _mm512_permutexvar_ps(index, book);
}
