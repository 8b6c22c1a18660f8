#include "worker/inference/quant/shared/tile_map.h"

#include <cuda_runtime_api.h>

namespace bitsweep::device {
namespace {

constexpr int row_bytes = 128;

using Encode = decltype(&cuTensorMapEncodeTiled);

// Through the runtime, so that the program starts where there is no driver; null: none.
Encode find_encode() {
    void* entry = nullptr;
    cudaDriverEntryPointQueryResult found{};
    constexpr unsigned version = 12000;
    if (cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry, version,
                                         cudaEnableDefault, &found) != cudaSuccess ||
        found != cudaDriverEntryPointSuccess) {
        cudaGetLastError();
        return nullptr;
    }
    return reinterpret_cast<Encode>(entry);
}

Encode encode() {
    static const Encode found = find_encode();
    return found;
}

}  // namespace

bool has_tile_maps() {
    return encode() != nullptr;
}

bool map_tiles(const TiledMatrix& matrix, CUtensorMap* map) {
    if (!has_tile_maps()) {
        return false;
    }
    const bool halves = matrix.element == TileElement::half;
    const cuuint64_t each = halves ? 2 : 1;
    const auto type = halves ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_UINT8;
    const cuuint64_t sizes[2] = {static_cast<cuuint64_t>(matrix.columns),
                                 static_cast<cuuint64_t>(matrix.rows)};
    const cuuint64_t strides[1] = {sizes[0] * each};
    const cuuint32_t box[2] = {static_cast<cuuint32_t>(row_bytes / each),
                               static_cast<cuuint32_t>(matrix.tall)};
    const cuuint32_t steps[2] = {1, 1};
    return encode()(map, type, 2, const_cast<void*>(matrix.data), sizes, strides, box, steps,
                    CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                    CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                    CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

}  // namespace bitsweep::device
