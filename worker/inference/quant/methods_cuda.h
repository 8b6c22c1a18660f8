// The packers for CUDA devices, one per folder; table_cuda.cpp lists them.
#pragma once

#include "worker/inference/quant/shared/device_layer.h"

namespace bitsweep::quant {

PackResult pack_fp32_cuda(const DenseWeight&, const MethodOptions&, CudaBackend&);
PackResult pack_fp16_cuda(const DenseWeight&, const MethodOptions&, CudaBackend&);
PackResult pack_bf16_cuda(const DenseWeight&, const MethodOptions&, CudaBackend&);
PackResult pack_int8_cuda(const DenseWeight&, const MethodOptions&, CudaBackend&);
PackResult pack_fp8_cuda(const DenseWeight&, const MethodOptions&, CudaBackend&);
PackResult pack_w8a8_cuda(const DenseWeight&, const MethodOptions&, CudaBackend&);
PackResult pack_llmint8_cuda(const DenseWeight&, const MethodOptions&, CudaBackend&);
PackResult pack_nf4_cuda(const DenseWeight&, const MethodOptions&, CudaBackend&);
PackResult pack_fp4_cuda(const DenseWeight&, const MethodOptions&, CudaBackend&);
PackResult pack_int_group_cuda(const DenseWeight&, const MethodOptions&, CudaBackend&);
PackResult pack_int_asym_cuda(const DenseWeight&, const MethodOptions&, CudaBackend&);
PackResult pack_hqq_cuda(const DenseWeight&, const MethodOptions&, CudaBackend&);

PackResult pack_smoothquant_cuda(const DenseWeight&, const MethodOptions&, CudaBackend&);
PackResult pack_gptq_cuda(const DenseWeight&, const MethodOptions&, CudaBackend&);

}  // namespace bitsweep::quant
