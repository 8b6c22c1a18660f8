// A packed linear layer on a CUDA device, for any number of rows. Everything is queued on the
// backend's stream; pointers are device pointers unless said.
#pragma once

#include <cstdint>
#include <memory>

#include "schemas/status.h"
#include "worker/inference/backend/cuda/cuda_backend.h"
#include "worker/inference/quant/method.h"
#include "worker/inference/quant/shared/device_matrix.h"

namespace bitsweep {

// In what type a layer reads its input.
enum class InputType { f32, f16, bf16 };

// Elements between two rows of a layer's input, whatever its type: whole units of every packing, so
// that kernels read without asking for the end. The elements from in_features on are zero.
inline std::int64_t input_stride(std::int64_t in_features) {
    return (in_features + 127) / 128 * 128;
}

struct DeviceCall {
    CudaBackend& backend;
    Workspace& workspace;     // of `backend`
    const void* x = nullptr;  // [rows][input_stride(in_features)] of the layer's input type
    std::int64_t rows = 1;
    float* y = nullptr;         // [rows][y_stride], bias added
    std::int64_t y_stride = 0;  // >= out_features
    bool accumulate = false;    // adds to y: the residual stream
    // Where a layer would ask the device how many outlier columns there are: it may guess few
    // instead, and set this on the device where they are more; y is worth nothing then. Null: it
    // must not guess.
    std::int32_t* too_many = nullptr;
};

class DeviceLinear : public Linear {
 public:
    virtual const DeviceMatrix& matrix() const = 0;
    virtual InputType input_type() const = 0;
    virtual Status multiply(const DeviceCall& call) const = 0;
    // Whether multiply() of so many rows only queues, so that a CUDA graph may hold it. llmint8-bnb
    // waits.
    virtual bool queues_only(std::int64_t rows) const = 0;
    // Effective weights of rows ids[0..count) into y [count][stride] floats; ids null: rows
    // [first, first + count).
    virtual Status look_up(const std::int32_t* ids, std::int64_t first, std::int64_t count,
                           float* y, std::int64_t stride, cudaStream_t stream) const = 0;
};

// Packs for a CUDA device, with the codes that the CPU chooses. Errors as pack_linear.
Result<std::unique_ptr<Linear>> pack_linear_cuda(const DenseWeight& weight,
                                                 const MethodOptions& options,
                                                 CudaBackend& backend);

// The device's side of a layer that pack_linear_cuda made.
inline const DeviceLinear& on_device(const Linear& linear) {
    return static_cast<const DeviceLinear&>(linear);
}

}  // namespace bitsweep
