// nf4 and fp4 on a CUDA device: one class over the sixteen values.
#pragma once

#include "worker/inference/quant/shared/codebook4.h"
#include "worker/inference/quant/shared/device_layer.h"

namespace bitsweep::quant {

PackResult pack_codebook_cuda(const DenseWeight& weight, const MethodOptions& options,
                              CudaBackend& backend, const Codebook& book);

}  // namespace bitsweep::quant
