// fp32, fp16, bf16: one class over the storage type.
//
// Sixteen rows are stored side by side, a tile, so that one sequential stream feeds sixteen sums
// and an activation is loaded once for all of them: the tile is cut into lines of 64 bytes of each
// row (16 or 32 values), line by line, rows inside. The last line of a row may be narrower, and the
// last tile may have fewer rows; nothing is padded. Row-major rows reach 63-74 % of the read
// bandwidth of a core at fp16 and 36 % with 8,192 inputs, where activations and stream share the
// first-level cache; tiles reach 95 % in both (AVX-512, one thread).
#pragma once

#include "worker/inference/quant/method.h"
#include "worker/inference/quant/shared/kernels.h"

namespace bitsweep::quant {

// What a dense method says about its type.
struct DenseType {
    std::size_t bytes;                                                // of one value
    void (*encode)(const float* from, std::int64_t count, void* to);  // round to nearest even
    void (*decode)(const void* from, std::int64_t count, float* to);  // exact
    void (*Kernels::*product)(const DenseJob&);
    const char* layout;  // for PackedExport
};

Result<std::unique_ptr<Linear>> pack_dense(const DenseWeight& weight, const MethodOptions& options,
                                           Backend& backend, const DenseType& type);

}  // namespace bitsweep::quant
