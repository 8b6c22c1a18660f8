// What a Hopper card's tile copies read: a matrix in device memory, as tiles of rows that stand in
// shared memory in 128 bytes each, swizzled by 128 bytes (hopper.cuh: copy_tile, operand_of).
#pragma once

#include <cuda.h>

#include <cstdint>

namespace bitsweep::device {

enum class TileElement { byte, half };

struct TiledMatrix {
    const void* data = nullptr;  // 16-byte aligned
    TileElement element = TileElement::byte;
    std::int64_t rows = 0;
    std::int64_t columns = 0;  // neighbours; a row's bytes are a multiple of 16
    int tall = 0;              // rows of a tile, at most 256
};

// Whether this driver makes maps at all.
bool has_tile_maps();

// False where the driver refuses the map. What lies beyond the matrix arrives as zeros.
bool map_tiles(const TiledMatrix& matrix, CUtensorMap* map);

}  // namespace bitsweep::device
