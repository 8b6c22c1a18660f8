// Codes from minimum to maximum on a CUDA device. scales.h, pack.cpp and linear_cpu.cpp specify
// them; everything is queued.
#pragma once

#include "worker/inference/quant/llmint8/scales.h"
#include "worker/inference/quant/shared/int8_device.h"

namespace bitsweep::quant {

// Codes of a chunk's rows, and of each row half its range, its zero and the sum of its codes.
cudaError_t zero_points_by_channel(const PackChunk& chunk, const DeviceBody& body);

// The same where the tensor's half range and zero stand in every row already
// (write_tensor_zero_point).
cudaError_t zero_points_by_tensor(const PackChunk& chunk, const DeviceBody& body);

// `range`: of the whole weight.
Status write_tensor_zero_point(const Range& range, DeviceBody& body);

// quantise_tokens of inputs in half precision, a zero point by token or by call. In every row the
// code of an outlier column means 0.
Result<DeviceTokens> quantise_tokens_by_zero_points(const DeviceMatrix& m, const DeviceCall& call,
                                                    InputScope scope);

}  // namespace bitsweep::quant
