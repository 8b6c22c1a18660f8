// The kernels of kernels.h over 16 lanes; the lanes_*.inl before it give I, F and their operations.
// One text for every instruction set, so that they differ in instructions only.

constexpr int planes = digit_planes;

BITSWEEP_INLINE I broadcast4(const std::int8_t* p) {
    std::int32_t four;
    std::memcpy(&four, p, sizeof four);
    return set_i(four);
}

// ---- activations -> digits

BITSWEEP_INLINE F load_up_to_16(const float* x, std::int64_t count) {
    if (count >= 16) {
        return load_f(x);
    }
    float padded[16] = {};
    std::memcpy(padded, x, static_cast<std::size_t>(count) * sizeof(float));
    return load_f(padded);
}

inline void digits_of_group(const float* x, std::int64_t count, std::int64_t stride, int offset,
                            std::int8_t* digits, float* scale, std::int32_t* start,
                            std::int64_t groups) {
    F largest = set_f(0);
    F poison = set_f(0);  // x * 0 is NaN where x is not finite
    for (std::int64_t i = 0; i < count; i += 16) {
        const F v = load_up_to_16(x + i, count - i);
        largest = max_abs_f(largest, v);
        poison = fma_f(v, set_f(0), poison);
    }
    const float absmax = max_f(largest);
    const bool finite = sum_f(poison) == 0.0f;
    const bool tiny = !(absmax > 1e-30f);
    *scale = finite ? absmax / digit_range : std::numeric_limits<float>::quiet_NaN();
    const F inverse = set_f(finite && !tiny ? digit_range / absmax : 0.0f);
    I sum[planes] = {set_i(0), set_i(0), set_i(0)};
    for (std::int64_t i = 0; i < count; i += 16) {
        const F v = finite ? load_up_to_16(x + i, count - i) : set_f(0);
        const I fixed = to_i(mul_f(v, inverse));
        const I d0 = sar<24>(shl<24>(fixed));
        const I high = sar<8>(sub_i(fixed, d0));
        const I d1 = sar<24>(shl<24>(high));
        const I d2 = sar<8>(sub_i(high, d1));
        store_i8(digits + i, d0);
        store_i8(digits + stride + i, d1);
        store_i8(digits + 2 * stride + i, d2);
        sum[0] = add_i(sum[0], d0);
        sum[1] = add_i(sum[1], d1);
        sum[2] = add_i(sum[2], d2);
    }
    for (int p = 0; p < planes; ++p) {
        start[p * groups] = -offset * sum_i(sum[p]);
    }
}

inline void digits(const DigitsJob& job) {
    for (std::int64_t r = 0; r < job.rows; ++r) {
        std::int8_t* row = job.digits + r * planes * job.stride;
        const std::int64_t written = (job.inputs + 15) / 16 * 16;
        for (int p = 0; p < planes; ++p) {
            std::memset(row + p * job.stride + written, 0,
                        static_cast<std::size_t>(job.stride - written));
        }
        for (std::int64_t g = 0; g < job.groups; ++g) {
            const std::int64_t begin = g * job.group;
            digits_of_group(job.x + r * job.inputs + begin,
                            std::min(job.group, job.inputs - begin), job.stride, job.code_offset,
                            row + begin, job.scale + r * job.groups + g,
                            job.start + r * planes * job.groups + g, job.groups);
        }
    }
}

// ---- codes of four inputs (vector V of a 32-input unit) as bytes

template <int Shift>
BITSWEEP_INLINE I shifted(I v) {
    if constexpr (Shift > 0) {
        return shr<Shift>(v);
    } else if constexpr (Shift < 0) {
        return shl<-Shift>(v);
    } else {
        return v;
    }
}

template <int Bits, int V>
BITSWEEP_INLINE I unpack(const std::uint8_t* unit) {
    constexpr int first2 = Bits & 4;        // the first dword, and code bit, of the 2-bit plane
    constexpr int first1 = Bits & 6;        // of the 1-bit plane
    I code = set_i(0);
    if constexpr ((Bits & 4) != 0) {
        code = and_i(shifted<4 * (V % 2)>(load_i(unit + (V / 2) * 64)), set_i(0x0f0f0f0f));
    }
    if constexpr ((Bits & 2) != 0) {
        const I plane = load_i(unit + (first2 + V / 4) * 64);
        const I field = and_i(shifted<2 * (V % 4) - first2>(plane),
                              set_i(static_cast<std::int32_t>(0x03030303u << first2)));
        code = first2 == 0 ? field : or_i(code, field);
    }
    if constexpr ((Bits & 1) != 0) {
        const I plane = load_i(unit + first1 * 64);
        const I field = and_i(shifted<V - first1>(plane),
                              set_i(static_cast<std::int32_t>(0x01010101u << first1)));
        code = or_i(code, field);
    }
    return code;
}

// ---- weight-only integers: sums of digits per group

// Independent accumulators per digit row, so that a dot product need not wait for the last one.
template <int M>
constexpr int ways = M == 1 ? 2 : 1;

template <int M>
BITSWEEP_INLINE void dot_rows(I (&acc)[planes * M], I codes, const std::int8_t* digits,
                              std::int64_t stride) {
    for (int r = 0; r < planes * M; ++r) {
        acc[r] = dot4(acc[r], codes, broadcast4(digits + r * stride));
    }
}

// The digits of a long row take the first-level cache from the codes that stream through it, and the
// processor's own prefetcher looks no further than the next lines: asked for this far ahead, 4-bit
// codes of 8,192 inputs come 1.27 times as fast.
constexpr int prefetch_bytes = 8192;

template <int Lines>
BITSWEEP_INLINE void prefetch(const std::uint8_t* codes) {
    for (int line = 0; line < Lines; ++line) {
        _mm_prefetch(reinterpret_cast<const char*>(codes) + prefetch_bytes + 64 * line,
                     _MM_HINT_T0);
    }
}

template <int Bits, int M, int First, int... V>
BITSWEEP_INLINE void dot_unit(I (&acc)[ways<M>][planes * M], const std::uint8_t* unit,
                              const std::int8_t* digits, std::int64_t stride,
                              std::integer_sequence<int, V...>) {
    (dot_rows<M>(acc[V % ways<M>], unpack<Bits, First + V>(unit), digits + 4 * (First + V), stride),
     ...);
}

template <int Bits, int M>
BITSWEEP_INLINE void dot_group(I (&acc)[ways<M>][planes * M], const GroupedJob& job,
                               const std::int8_t* digits, std::int64_t g) {
    const std::int64_t begin = g * job.group;
    const std::int64_t end = std::min(job.inputs, begin + job.group);
    if constexpr (Bits == 8) {
        std::int64_t i = begin;
        for (; i + 8 <= end; i += 8) {
            prefetch<2>(job.codes + i * 16);
            dot_rows<M>(acc[0], load_i(job.codes + i * 16), digits + i, job.stride);
            dot_rows<M>(acc[ways<M> - 1], load_i(job.codes + i * 16 + 64), digits + i + 4,
                        job.stride);
        }
        if (i < end) {
            dot_rows<M>(acc[0], load_i(job.codes + i * 16), digits + i, job.stride);
        }
        return;
    }
    constexpr std::int64_t unit_bytes = Bits * 64;
    if (job.group == 16) {  // half a unit per group
        const std::uint8_t* unit = job.codes + begin / 32 * unit_bytes;
        const std::int8_t* at = digits + begin / 32 * 32;
        constexpr auto half = std::make_integer_sequence<int, 4>{};
        if (begin % 32 == 0) {
            dot_unit<Bits, M, 0>(acc, unit, at, job.stride, half);
        } else {
            dot_unit<Bits, M, 4>(acc, unit, at, job.stride, half);
        }
        return;
    }
    for (std::int64_t i = begin; i < end; i += 32) {
        prefetch<Bits>(job.codes + i / 32 * unit_bytes);
        dot_unit<Bits, M, 0>(acc, job.codes + i / 32 * unit_bytes, digits + i, job.stride,
                             std::make_integer_sequence<int, 8>{});
    }
}

template <int Bits, int M>
inline void grouped_rows(const GroupedJob& job, std::int64_t row) {
    const std::int8_t* digits = job.digits + row * planes * job.stride;
    const std::int32_t* start = job.start + row * planes * job.groups;
    F y[M];
    for (int m = 0; m < M; ++m) {
        y[m] = set_f(0);
    }
    for (std::int64_t g = 0; g < job.groups; ++g) {
        I acc[ways<M>][planes * M];
        for (int r = 0; r < planes * M; ++r) {
            acc[0][r] = set_i(start[r * job.groups + g]);
            if constexpr (ways<M> == 2) {
                acc[1][r] = set_i(0);
            }
        }
        dot_group<Bits, M>(acc, job, digits, g);
        F weight_scale = set_f(1), zero = set_f(0);
        if (job.scales != nullptr) {
            weight_scale = load_f16(job.scales + g * 16);
        }
        if (job.zeros != nullptr) {
            zero = load_f16(job.zeros + g * 16);
        }
        for (int m = 0; m < M; ++m) {
            F value = set_f(0);
            for (int p = planes - 1; p >= 0; --p) {
                I sum = acc[0][planes * m + p];
                if constexpr (ways<M> == 2) {
                    sum = add_i(sum, acc[1][planes * m + p]);
                }
                value = fma_f(value, set_f(256), to_f(sum));
            }
            if (job.zeros != nullptr) {  // `start` is -code_offset times the sum of the digits
                float minus_sum = 0;
                for (int p = planes - 1; p >= 0; --p) {
                    const auto part = static_cast<float>(start[(planes * m + p) * job.groups + g]);
                    minus_sum = minus_sum * 256 + part * job.start_to_zero;
                }
                value = fma_f(zero, set_f(minus_sum), value);
            }
            const F scale = mul_f(weight_scale, set_f(job.x_scale[(row + m) * job.groups + g]));
            y[m] = fma_f(value, scale, y[m]);
        }
    }
    for (int m = 0; m < M; ++m) {
        store_f(job.y + (row + m) * 16, y[m]);
    }
}

template <int Bits>
inline void grouped(const GroupedJob& job) {
    std::int64_t row = 0;
    for (; row + 4 <= job.rows; row += 4) {
        grouped_rows<Bits, 4>(job, row);
    }
    for (; row + 2 <= job.rows; row += 2) {
        grouped_rows<Bits, 2>(job, row);
    }
    if (row < job.rows) {
        grouped_rows<Bits, 1>(job, row);
    }
}

// ---- 8-bit weights x 8-bit activations

template <int M>
inline void exact_rows(const ExactJob& job, std::int64_t row) {
    constexpr int sets = M == 1 ? 4 : (M == 2 ? 2 : 1);
    I acc[sets][M];
    for (int s = 0; s < sets; ++s) {
        for (int m = 0; m < M; ++m) {
            acc[s][m] = set_i(s == 0 ? job.start[row + m] : 0);
        }
    }
    const std::int8_t* digits = job.digits + row * job.stride;
    std::int64_t i = 0;
    for (; i + 4 * sets <= job.inputs; i += 4 * sets) {
        for (int s = 0; s < sets; ++s) {
            const I codes = load_i(job.codes + (i + 4 * s) * 16);
            for (int m = 0; m < M; ++m) {
                acc[s][m] = dot4(acc[s][m], codes, broadcast4(digits + m * job.stride + i + 4 * s));
            }
        }
    }
    for (; i < job.inputs; i += 4) {
        const I codes = load_i(job.codes + i * 16);
        for (int m = 0; m < M; ++m) {
            acc[0][m] = dot4(acc[0][m], codes, broadcast4(digits + m * job.stride + i));
        }
    }
    for (int m = 0; m < M; ++m) {
        I sum = acc[0][m];
        for (int s = 1; s < sets; ++s) {
            sum = add_i(sum, acc[s][m]);
        }
        store_i(job.acc + (row + m) * 16, sum);
    }
}

inline void exact(const ExactJob& job) {
    std::int64_t row = 0;
    for (; row + 8 <= job.rows; row += 8) {
        exact_rows<8>(job, row);
    }
    for (; row + 4 <= job.rows; row += 4) {
        exact_rows<4>(job, row);
    }
    for (; row + 2 <= job.rows; row += 2) {
        exact_rows<2>(job, row);
    }
    if (row < job.rows) {
        exact_rows<1>(job, row);
    }
}

// ---- 4-bit code books

template <int M, int Sets, int... Nibble>
BITSWEEP_INLINE void codebook_dword(F (&acc)[Sets][M], Book book, I dword, const float* x,
                                    std::int64_t stride, std::integer_sequence<int, Nibble...>) {
    // Nibble n sits at bit 8 (n mod 4) + 4 (n / 4) and belongs to input n.
    const auto one = [&]<int N>(std::integral_constant<int, N>) BITSWEEP_LAMBDA {
        const F w = look_up(book, shifted<8 * (N % 4) + 4 * (N / 4)>(dword));
        for (int m = 0; m < M; ++m) {
            acc[N % Sets][m] = fma_f(w, set_f(x[m * stride + N]), acc[N % Sets][m]);
        }
    };
    (one(std::integral_constant<int, Nibble>{}), ...);
}

template <int M, int Dwords>
inline void codebook_rows(const CodebookJob& job, std::int64_t row) {
    constexpr std::int64_t inputs = 8 * Dwords;  // of a block
    constexpr int sets = M == 1 ? 4 : (M == 2 ? 2 : 1);
    const Book book = load_book(job.codebook);
    const float* x = job.x + row * job.inputs;
    F y[M];
    for (int m = 0; m < M; ++m) {
        y[m] = set_f(0);
    }
    const std::uint8_t* codes = job.codes;
    for (std::int64_t block = 0; block * inputs < job.inputs; ++block) {
        F acc[sets][M];
        for (int s = 0; s < sets; ++s) {
            for (int m = 0; m < M; ++m) {
                acc[s][m] = set_f(0);
            }
        }
        for (int d = 0; d < Dwords; ++d) {
            codebook_dword<M, sets>(acc, book, load_i(codes + d * 64), x + block * inputs + d * 8,
                                    job.inputs, std::make_integer_sequence<int, 8>{});
        }
        codes += 64 * Dwords;
        const F scale = load_f(job.scales + block * 16);
        for (int m = 0; m < M; ++m) {
            F sum = acc[0][m];
            for (int s = 1; s < sets; ++s) {
                sum = add_f(sum, acc[s][m]);
            }
            y[m] = fma_f(sum, scale, y[m]);
        }
    }
    for (int m = 0; m < M; ++m) {
        store_f(job.y + (row + m) * 16, y[m]);
    }
}

template <int Dwords>
inline void codebook_blocks(const CodebookJob& job) {
    std::int64_t row = 0;
    for (; row + 4 <= job.rows; row += 4) {
        codebook_rows<4, Dwords>(job, row);
    }
    for (; row + 2 <= job.rows; row += 2) {
        codebook_rows<2, Dwords>(job, row);
    }
    if (row < job.rows) {
        codebook_rows<1, Dwords>(job, row);
    }
}

inline void codebook(const CodebookJob& job) {
    if (job.block == 64) {
        codebook_blocks<8>(job);
    } else {
        codebook_blocks<4>(job);
    }
}

// ---- dense rows

struct Float32 {
    using type = float;
    BITSWEEP_INLINE static F load(const float* p) { return load_f(p); }
    BITSWEEP_INLINE static float one(float v) { return v; }
};
struct Float16 {
    using type = std::uint16_t;
    BITSWEEP_INLINE static F load(const std::uint16_t* p) { return load_f16(p); }
    BITSWEEP_INLINE static float one(std::uint16_t v) { return f16_to_f32(v); }
};
struct BFloat16 {
    using type = std::uint16_t;
    BITSWEEP_INLINE static F load(const std::uint16_t* p) { return load_bf16(p); }
    BITSWEEP_INLINE static float one(std::uint16_t v) { return bf16_to_f32(v); }
};

struct Float8 {
    using type = std::uint8_t;
    BITSWEEP_INLINE static F load(const std::uint8_t* p) { return load_e4m3(p); }
    BITSWEEP_INLINE static float one(std::uint8_t v) { return f16_to_f32(e4m3::half_of(v)); }
};

// A tile times M activation rows: one sum for each pair, so that an activation is loaded once for
// sixteen weight rows. More sums than registers stay in the first-level cache: a tile read in
// several passes would reach a quarter of the bandwidth.
template <class Type, int M>
BITSWEEP_INLINE void dense_tile(const DenseJob& job, std::int64_t row) {
    using Value = typename Type::type;
    constexpr std::int64_t line = 64 / sizeof(Value);
    constexpr int parts = line / 16;
    const float* x = job.x + row * job.inputs;
    const auto* w = static_cast<const Value*>(job.w);
    F acc[16][M];
    for (int r = 0; r < 16; ++r) {
        for (int m = 0; m < M; ++m) {
            acc[r][m] = set_f(0);
        }
    }
    std::int64_t i = 0;
    for (; i + line <= job.inputs; i += line, w += 16 * line) {
        F xs[parts][M];
        for (int part = 0; part < parts; ++part) {
            for (int m = 0; m < M; ++m) {
                xs[part][m] = load_f(x + m * job.inputs + i + 16 * part);
            }
        }
        // Line after line, as memory has them: all first halves before all second halves reads
        // 15-25 % less of the bandwidth.
#pragma GCC unroll 16
        for (int r = 0; r < 16; ++r) {
#pragma GCC unroll 4
            for (int part = 0; part < parts; ++part) {
                const F v = Type::load(w + r * line + 16 * part);
                for (int m = 0; m < M; ++m) {
                    acc[r][m] = fma_f(v, xs[part][m], acc[r][m]);
                }
            }
        }
    }
    const std::int64_t rest = job.inputs - i;  // a narrower line
    for (int r = 0; r < 16; ++r) {
        for (int m = 0; m < M; ++m) {
            float total = sum_f(acc[r][m]);
            for (std::int64_t t = 0; t < rest; ++t) {
                total += Type::one(w[r * rest + t]) * x[m * job.inputs + i + t];
            }
            job.y[(row + m) * 16 + r] = total;
        }
    }
}

template <class Type>
inline void dense(const DenseJob& job) {
    std::int64_t row = 0;
    for (; row + 4 <= job.rows; row += 4) {
        dense_tile<Type, 4>(job, row);
    }
    for (; row + 2 <= job.rows; row += 2) {
        dense_tile<Type, 2>(job, row);
    }
    if (row < job.rows) {
        dense_tile<Type, 1>(job, row);
    }
}

const Kernels& table() {
    static constexpr Kernels kernels{
        digits,
        {nullptr, nullptr, grouped<2>, grouped<3>, grouped<4>, grouped<5>, grouped<6>, grouped<7>,
         grouped<8>},
        exact,
        codebook,
        dense<Float32>,
        dense<Float16>,
        dense<BFloat16>,
        dense<Float8>,
    };
    return kernels;
}
