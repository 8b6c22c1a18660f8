// The packed form of every integer and code-book method on the CPU: tiles of 16 output rows.
//
// A tile holds the rows [16t, 16t + lanes), lanes = 16 except in the last tile. Its unit is a
// dword per lane, so one 64-byte load brings 4 bytes of each of 16 rows, sums stay in their lane
// and no horizontal addition is ever needed.
//   8 bits   step s (4 inputs): byte j of the lane's dword is the code of input 4s + j.
//   B < 8    unit u (32 inputs): B dwords per lane, the planes of 4, 2 and 1 bits that B is the
//            sum of, in this order, 4 / 2 / 1 dwords each. Input i = 4v + b of the unit is found
//            in byte b of
//              4 bits  dword v / 2, bits 4 (v mod 2) ..   -> code bits 0..3
//              2 bits  dword v / 4, bits 2 (v mod 4) ..   -> the next two code bits
//              1 bit   dword 0,     bit  v                -> the top code bit
// Codes are unsigned; a signed q is stored as q + 2^(B-1). Bytes: catalog packed_bytes().
#pragma once

#include <cstddef>
#include <cstdint>

namespace bitsweep::quant {

inline constexpr std::int64_t tile_rows = 16;
inline constexpr std::int64_t unit_inputs = 32;

struct TileLayout {
    int bits = 8;
    std::int64_t rows = 0;    // out_features
    std::int64_t inputs = 0;  // in_features

    std::int64_t tiles() const { return (rows + tile_rows - 1) / tile_rows; }
    std::int64_t full_tiles() const { return rows / tile_rows; }
    std::int64_t lanes(std::int64_t tile) const {
        const std::int64_t left = rows - tile * tile_rows;
        return left < tile_rows ? left : tile_rows;
    }
    // Inputs with padding; padded codes are zero and meet activations that are zero.
    std::int64_t padded_inputs() const {
        const std::int64_t multiple = bits == 8 ? 4 : unit_inputs;
        return (inputs + multiple - 1) / multiple * multiple;
    }
    std::size_t row_bytes() const { return static_cast<std::size_t>(padded_inputs() * bits / 8); }
    std::size_t bytes() const { return static_cast<std::size_t>(rows) * row_bytes(); }
    std::size_t tile_offset(std::int64_t tile) const {
        return static_cast<std::size_t>(tile * tile_rows) * row_bytes();
    }

    // Codes of one row into a zero-filled buffer of bytes() bytes. `codes` [inputs], each < 2^bits.
    void pack_row(std::uint8_t* base, std::int64_t row, const std::uint8_t* codes) const;
    // The inverse.
    void unpack_row(const std::uint8_t* base, std::int64_t row, std::uint8_t* codes) const;
    // One code.
    std::uint8_t code(const std::uint8_t* base, std::int64_t row, std::int64_t input) const;

    // Where the scale of (row, group) lives among [rows x groups] scales: interleaved like codes.
    std::size_t scale_index(std::int64_t row, std::int64_t group, std::int64_t groups) const {
        const std::int64_t tile = row / tile_rows;
        return static_cast<std::size_t>(tile * tile_rows * groups + group * lanes(tile) +
                                        row % tile_rows);
    }
};

}  // namespace bitsweep::quant
