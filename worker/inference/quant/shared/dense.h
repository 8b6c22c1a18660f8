// fp32, fp16, bf16: one class over the storage type. Rows are stored row-major, as in the files.
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
