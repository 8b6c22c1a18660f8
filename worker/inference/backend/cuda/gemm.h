// The only door to cuBLASLt: products of a weight and many activation rows.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>

#include "schemas/status.h"

namespace bitsweep {

class Backend;

enum class GemmType {
    f32,   // float operands and sums
    f16,   // half operands, float sums and results
    bf16,  // bfloat16 operands, float sums and results
    i8,    // int8 operands, int32 sums and results; out and in multiples of 4
};

// y[rows, out] (stride y_stride) = x[rows, in] w[out, in]^T, plus y itself where `accumulate`.
// Strides in elements. Device pointers.
struct GemmCall {
    GemmType type = GemmType::f16;
    const void* w = nullptr;
    std::int64_t w_stride = 0;
    const void* x = nullptr;
    std::int64_t x_stride = 0;
    void* y = nullptr;
    std::int64_t y_stride = 0;
    std::int64_t out = 0;
    std::int64_t rows = 0;
    std::int64_t in = 0;
    bool accumulate = false;
};

class Gemm {
 public:
    // Takes 32 MiB of the backend's memory as scratch.
    static Result<std::unique_ptr<Gemm>> create(Backend& backend, cudaStream_t stream);
    ~Gemm();

    // Queued. The kernel for a shape is chosen at its first call, by time where the product is
    // large: that call waits for the device. unsupported: cuBLASLt has no kernel for it; gpu_fault;
    // out_of_gpu_memory.
    Status multiply(const GemmCall& call);

 private:
    struct Plans;
    explicit Gemm(std::unique_ptr<Plans> plans);

    std::unique_ptr<Plans> plans_;
};

}  // namespace bitsweep
