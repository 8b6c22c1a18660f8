// The tensor types of GGUF files that bitsweep reads, and their values as float32, bit for bit as
// the `gguf` Python package (gguf/quants.py) computes them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace bitsweep {

// Values are those of ggml_type.
enum class GgufType : std::uint32_t {
    f32 = 0,
    f16 = 1,
    q4_0 = 2,
    q4_1 = 3,
    q5_0 = 6,
    q5_1 = 7,
    q8_0 = 8,
    q4_k = 12,
    q6_k = 14,
    bf16 = 30,
};

struct GgufTypeRow {
    GgufType type;
    std::string_view name;      // "Q4_1"
    std::uint32_t block;        // elements of one block; a row is a whole number of blocks
    std::uint32_t block_bytes;  // as stored
    // dst[blocks * block]; src needs no alignment.
    void (*dequantize)(const std::byte* src, float* dst, std::size_t blocks);
};

// nullptr for a type that is not read.
const GgufTypeRow* find_gguf_type(std::uint32_t type);

// The name that ggml gives a type ("Q5_K"), also when it is not read; "type 99" is "".
std::string_view gguf_type_name(std::uint32_t type);

// "F32, F16, ...", for messages.
std::string_view readable_gguf_types();

}  // namespace bitsweep
