#include "worker/inference/quant/shared/tiles.h"

#include <array>
#include <bit>
#include <cstring>

namespace bitsweep::quant {
namespace {

static_assert(std::endian::native == std::endian::little, "the tile layout is little-endian");

std::uint32_t load_dword(const std::uint8_t* from) {
    std::uint32_t value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

void store_dword(std::uint8_t* to, std::uint32_t value) {
    std::memcpy(to, &value, sizeof value);
}

// The planes of one unit of one row: which code bits a plane holds and where its dwords start.
struct Plane {
    int bits;      // 4, 2 or 1
    int code_bit;  // its lowest bit inside a code
    int first;     // its first dword inside the unit
};

struct Planes {
    std::array<Plane, 3> plane;
    int count = 0;
};

Planes planes_of(int bits) {
    Planes out;
    int code_bit = 0;
    for (const int width : {4, 2, 1}) {
        if ((bits & width) != 0) {
            out.plane[static_cast<std::size_t>(out.count++)] = {width, code_bit, code_bit};
            code_bit += width;
        }
    }
    return out;
}

void pack_unit(std::uint8_t* unit, std::int64_t lanes, const Planes& planes,
               const std::uint8_t* codes, std::int64_t count) {
    for (int p = 0; p < planes.count; ++p) {
        const Plane& plane = planes.plane[static_cast<std::size_t>(p)];
        const int per_dword = 8 / plane.bits;  // groups of four inputs that share a dword
        for (int d = 0; d < plane.bits; ++d) {
            std::uint32_t dword = 0;
            for (int s = 0; s < per_dword; ++s) {
                for (int b = 0; b < 4; ++b) {
                    const std::int64_t i = 4 * (d * per_dword + s) + b;
                    const std::uint32_t code = i < count ? codes[i] : 0u;
                    const std::uint32_t field = (code >> plane.code_bit) & ((1u << plane.bits) - 1);
                    dword |= field << (8 * b + plane.bits * s);
                }
            }
            store_dword(unit + (plane.first + d) * lanes * 4, dword);
        }
    }
}

void unpack_unit(const std::uint8_t* unit, std::int64_t lanes, const Planes& planes,
                 std::uint8_t* codes) {
    std::array<std::uint32_t, 8> fours{};  // the codes of four inputs in four bytes
    for (int p = 0; p < planes.count; ++p) {
        const Plane& plane = planes.plane[static_cast<std::size_t>(p)];
        const int per_dword = 8 / plane.bits;
        const std::uint32_t mask = 0x01010101u * ((1u << plane.bits) - 1);
        for (int v = 0; v < 8; ++v) {
            const std::uint32_t dword =
                load_dword(unit + (plane.first + v / per_dword) * lanes * 4);
            const std::uint32_t field = (dword >> (plane.bits * (v % per_dword))) & mask;
            fours[static_cast<std::size_t>(v)] |= field << plane.code_bit;
        }
    }
    std::memcpy(codes, fours.data(), sizeof fours);
}

}  // namespace

void TileLayout::pack_row(std::uint8_t* base, std::int64_t row, const std::uint8_t* codes) const {
    const std::int64_t tile = row / tile_rows;
    const std::int64_t width = lanes(tile);
    std::uint8_t* lane = base + tile_offset(tile) + row % tile_rows * 4;
    if (bits == 8) {
        for (std::int64_t i = 0; i < inputs; ++i) {
            lane[i / 4 * width * 4 + i % 4] = codes[i];
        }
        return;
    }
    const Planes planes = planes_of(bits);
    for (std::int64_t i = 0; i < inputs; i += unit_inputs) {
        pack_unit(lane + i / unit_inputs * bits * width * 4, width, planes, codes + i, inputs - i);
    }
}

void TileLayout::unpack_row(const std::uint8_t* base, std::int64_t row, std::uint8_t* codes) const {
    const std::int64_t tile = row / tile_rows;
    const std::int64_t width = lanes(tile);
    const std::uint8_t* lane = base + tile_offset(tile) + row % tile_rows * 4;
    if (bits == 8) {
        const std::int64_t whole = inputs / 4 * 4;
        for (std::int64_t i = 0; i < whole; i += 4) {
            std::memcpy(codes + i, lane + i * width, 4);
        }
        for (std::int64_t i = whole; i < inputs; ++i) {
            codes[i] = lane[whole * width + i - whole];
        }
        return;
    }
    const Planes planes = planes_of(bits);
    for (std::int64_t i = 0; i < inputs; i += unit_inputs) {
        const std::uint8_t* unit = lane + i / unit_inputs * bits * width * 4;
        if (inputs - i >= unit_inputs) {
            unpack_unit(unit, width, planes, codes + i);
        } else {
            std::array<std::uint8_t, unit_inputs> last;
            unpack_unit(unit, width, planes, last.data());
            std::memcpy(codes + i, last.data(), static_cast<std::size_t>(inputs - i));
        }
    }
}

std::uint8_t TileLayout::code(const std::uint8_t* base, std::int64_t row,
                              std::int64_t input) const {
    const std::int64_t tile = row / tile_rows;
    const std::int64_t width = lanes(tile);
    const std::uint8_t* lane = base + tile_offset(tile) + row % tile_rows * 4;
    if (bits == 8) {
        return lane[input / 4 * width * 4 + input % 4];
    }
    std::array<std::uint8_t, unit_inputs> unit;
    unpack_unit(lane + input / unit_inputs * bits * width * 4, width, planes_of(bits), unit.data());
    return unit[static_cast<std::size_t>(input % unit_inputs)];
}

}  // namespace bitsweep::quant
