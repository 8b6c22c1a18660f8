// Compiled with -ffp-contract=off: a fused multiply-add would round once where the package, and so
// every stored test vector, rounds twice.
#include "worker/inference/gguf_quants.h"

#include <array>
#include <cstring>

#include "worker/inference/float_convert.h"

namespace bitsweep {
namespace {

constexpr int small_block = 32;
constexpr int super_block = 256;

std::uint8_t byte_at(const std::byte* src, int index) {
    return std::to_integer<std::uint8_t>(src[index]);
}

float half_at(const std::byte* src, int offset) {
    std::uint16_t bits;
    std::memcpy(&bits, src + offset, 2);
    return f16_value(bits);
}

std::uint32_t word_at(const std::byte* src, int offset) {
    std::uint32_t bits;
    std::memcpy(&bits, src + offset, 4);
    return bits;
}

void dequantize_f32(const std::byte* src, float* dst, std::size_t count) {
    std::memcpy(dst, src, count * sizeof(float));
}
void dequantize_f16(const std::byte* src, float* dst, std::size_t count) {
    f16_to_f32(src, dst, count);
}
void dequantize_bf16(const std::byte* src, float* dst, std::size_t count) {
    bf16_to_f32(src, dst, count);
}

// {half d; int8 q[32]}: d * q
void dequantize_q8_0(const std::byte* src, float* dst, std::size_t blocks) {
    for (; blocks > 0; --blocks, src += 34, dst += small_block) {
        const float d = half_at(src, 0);
        for (int i = 0; i < small_block; ++i) {
            dst[i] = static_cast<float>(static_cast<std::int8_t>(byte_at(src, 2 + i))) * d;
        }
    }
}

// {half d; uint8 q[16]}: low nibbles are values 0..15, high ones 16..31; d * (q - 8)
void dequantize_q4_0(const std::byte* src, float* dst, std::size_t blocks) {
    for (; blocks > 0; --blocks, src += 18, dst += small_block) {
        const float d = half_at(src, 0);
        for (int i = 0; i < small_block / 2; ++i) {
            const int pair = byte_at(src, 2 + i);
            dst[i] = d * static_cast<float>((pair & 15) - 8);
            dst[i + small_block / 2] = d * static_cast<float>((pair >> 4) - 8);
        }
    }
}

// {half d, m; uint8 q[16]}: d * q + m
void dequantize_q4_1(const std::byte* src, float* dst, std::size_t blocks) {
    for (; blocks > 0; --blocks, src += 20, dst += small_block) {
        const float d = half_at(src, 0);
        const float m = half_at(src, 2);
        for (int i = 0; i < small_block / 2; ++i) {
            const int pair = byte_at(src, 4 + i);
            dst[i] = d * static_cast<float>(pair & 15) + m;
            dst[i + small_block / 2] = d * static_cast<float>(pair >> 4) + m;
        }
    }
}

// The fifth bits of 32 values sit in one little-endian word, value i at bit i.
int fifth_bit(std::uint32_t high, int index) {
    return static_cast<int>((high >> index) & 1u) << 4;
}

// {half d; uint32 high; uint8 low[16]}: d * (q - 16)
void dequantize_q5_0(const std::byte* src, float* dst, std::size_t blocks) {
    for (; blocks > 0; --blocks, src += 22, dst += small_block) {
        const float d = half_at(src, 0);
        const std::uint32_t high = word_at(src, 2);
        for (int i = 0; i < small_block / 2; ++i) {
            const int pair = byte_at(src, 6 + i);
            const int other = i + small_block / 2;
            dst[i] = d * static_cast<float>(((pair & 15) | fifth_bit(high, i)) - 16);
            dst[other] = d * static_cast<float>(((pair >> 4) | fifth_bit(high, other)) - 16);
        }
    }
}

// {half d, m; uint32 high; uint8 low[16]}: d * q + m
void dequantize_q5_1(const std::byte* src, float* dst, std::size_t blocks) {
    for (; blocks > 0; --blocks, src += 24, dst += small_block) {
        const float d = half_at(src, 0);
        const float m = half_at(src, 2);
        const std::uint32_t high = word_at(src, 4);
        for (int i = 0; i < small_block / 2; ++i) {
            const int pair = byte_at(src, 8 + i);
            const int other = i + small_block / 2;
            dst[i] = d * static_cast<float>((pair & 15) | fifth_bit(high, i)) + m;
            dst[other] = d * static_cast<float>((pair >> 4) | fifth_bit(high, other)) + m;
        }
    }
}

// {half d, dmin; uint8 scales[12]; uint8 q[128]}: 8 groups of 32 with 6-bit scale and minimum,
// (d * scale) * q - (dmin * minimum). Groups 2j and 2j+1 are the low and high nibbles of 32 bytes.
void dequantize_q4_k(const std::byte* src, float* dst, std::size_t blocks) {
    for (; blocks > 0; --blocks, src += 144, dst += super_block) {
        const float d = half_at(src, 0);
        const float dmin = half_at(src, 2);
        for (int group = 0; group < 8; ++group) {
            const int base = 4 + (group & 3);  // scales and minima interleave in three rows of four
            const int first = byte_at(src, base);
            const int second = byte_at(src, base + 4);
            const int third = byte_at(src, base + 8);
            const bool is_low = group < 4;
            const int scale = is_low ? first & 63 : (third & 15) | ((first >> 2) & 48);
            const int minimum = is_low ? second & 63 : (third >> 4) | ((second >> 2) & 48);
            const float step = d * static_cast<float>(scale);
            const float offset = dmin * static_cast<float>(minimum);
            const std::byte* codes = src + 16 + 32 * (group / 2);
            const int shift = 4 * (group & 1);
            for (int i = 0; i < 32; ++i) {
                const int q = (byte_at(codes, i) >> shift) & 15;
                dst[32 * group + i] = step * static_cast<float>(q) - offset;
            }
        }
    }
}

// {uint8 low[128]; uint8 high[64]; int8 scales[16]; half d}: (d * scale) * (q - 32), a scale for
// each 16 values. Each half of 128 values: low nibbles of 64 bytes, then high nibbles of the same;
// the upper two bits of its four quarters of 32 share 32 bytes.
void dequantize_q6_k(const std::byte* src, float* dst, std::size_t blocks) {
    for (; blocks > 0; --blocks, src += 210, dst += super_block) {
        const float d = half_at(src, 208);
        for (int i = 0; i < super_block; ++i) {
            const int half = i / 128;
            const int within = i % 128;
            const int low = (byte_at(src, 64 * half + within % 64) >> (4 * (within / 64))) & 15;
            const int high =
                (byte_at(src, 128 + 32 * half + within % 32) >> (2 * (within / 32))) & 3;
            const auto scale = static_cast<std::int8_t>(byte_at(src, 192 + i / 16));
            const float step = d * static_cast<float>(scale);
            dst[i] = step * static_cast<float>((low | (high << 4)) - 32);
        }
    }
}

constexpr std::array types = {
    GgufTypeRow{GgufType::f32, "F32", 1, 4, dequantize_f32},
    GgufTypeRow{GgufType::f16, "F16", 1, 2, dequantize_f16},
    GgufTypeRow{GgufType::bf16, "BF16", 1, 2, dequantize_bf16},
    GgufTypeRow{GgufType::q8_0, "Q8_0", small_block, 34, dequantize_q8_0},
    GgufTypeRow{GgufType::q4_0, "Q4_0", small_block, 18, dequantize_q4_0},
    GgufTypeRow{GgufType::q4_1, "Q4_1", small_block, 20, dequantize_q4_1},
    GgufTypeRow{GgufType::q5_0, "Q5_0", small_block, 22, dequantize_q5_0},
    GgufTypeRow{GgufType::q5_1, "Q5_1", small_block, 24, dequantize_q5_1},
    GgufTypeRow{GgufType::q4_k, "Q4_K", super_block, 144, dequantize_q4_k},
    GgufTypeRow{GgufType::q6_k, "Q6_K", super_block, 210, dequantize_q6_k},
};

// ggml_type in order; empty where the number is retired.
constexpr std::array<std::string_view, 40> ggml_names = {
    "F32",     "F16",    "Q4_0",    "Q4_1",  "",       "",      "Q5_0",  "Q5_1",
    "Q8_0",    "Q8_1",   "Q2_K",    "Q3_K",  "Q4_K",   "Q5_K",  "Q6_K",  "Q8_K",
    "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS",
    "I8",      "I16",    "I32",     "I64",   "F64",    "IQ1_M", "BF16",  "",
    "",        "",       "TQ1_0",   "TQ2_0", "",       "",      "",      "MXFP4"};

}  // namespace

const GgufTypeRow* find_gguf_type(std::uint32_t type) {
    for (const GgufTypeRow& row : types) {
        if (static_cast<std::uint32_t>(row.type) == type) {
            return &row;
        }
    }
    return nullptr;
}

std::string_view gguf_type_name(std::uint32_t type) {
    return type < ggml_names.size() ? ggml_names[type] : "";
}

std::string_view readable_gguf_types() {
    return "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q6_K";
}

}  // namespace bitsweep
