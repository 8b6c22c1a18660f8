// fp32, fp16, bf16, fp8: one class over the storage type.
//
// Sixteen rows are stored side by side, a tile, so that one sequential stream feeds sixteen sums
// and an activation is loaded once for all of them: the tile is cut into lines of 64 bytes of each
// row (16 to 64 values), line by line, rows inside. The last line of a row may be narrower, and the
// last tile may have fewer rows; nothing is padded. Row-major rows reach 63-74 % of the read
// bandwidth of a core at fp16 and 36 % with 8,192 inputs, where activations and stream share the
// first-level cache; tiles reach 95 % in both (AVX-512, one thread).
#pragma once

#include "worker/inference/quant/method.h"
#include "worker/inference/quant/shared/kernels.h"

namespace bitsweep::quant {

// What a dense method says about its type.
struct DenseType {
    std::size_t bytes;  // of one value
    // Of values / scale, to nearest even, and back; `scale` is 1 where the type has none.
    void (*encode)(const float* from, std::int64_t count, float scale, void* to);
    void (*decode)(const void* from, std::int64_t count, float scale, float* to);
    void (*Kernels::*product)(const DenseJob&);
    const char* layout;  // for PackedExport
    // The value that stands for the absmax of a row, or of all rows where there is one scale; 0:
    // values are stored as they are.
    float largest = 0;
    float kernel_unit = 1;  // value / what the kernel multiplies with
};

Result<std::unique_ptr<Linear>> pack_dense(const DenseWeight& weight, const MethodOptions& options,
                                           Backend& backend, const DenseType& type);

}  // namespace bitsweep::quant
