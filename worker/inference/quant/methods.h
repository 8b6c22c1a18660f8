// The packers of this build, one per folder; table.cpp lists them.
#pragma once

#include "worker/inference/quant/method.h"

namespace bitsweep::quant {

using PackResult = Result<std::unique_ptr<Linear>>;

PackResult pack_fp32(const DenseWeight&, const MethodOptions&, Backend&);
PackResult pack_fp16(const DenseWeight&, const MethodOptions&, Backend&);
PackResult pack_bf16(const DenseWeight&, const MethodOptions&, Backend&);
PackResult pack_int8(const DenseWeight&, const MethodOptions&, Backend&);
PackResult pack_fp8(const DenseWeight&, const MethodOptions&, Backend&);
PackResult pack_w8a8(const DenseWeight&, const MethodOptions&, Backend&);
PackResult pack_llmint8(const DenseWeight&, const MethodOptions&, Backend&);
PackResult pack_nf4(const DenseWeight&, const MethodOptions&, Backend&);
PackResult pack_fp4(const DenseWeight&, const MethodOptions&, Backend&);
PackResult pack_int_group(const DenseWeight&, const MethodOptions&, Backend&);
PackResult pack_int_asym(const DenseWeight&, const MethodOptions&, Backend&);
PackResult pack_hqq(const DenseWeight&, const MethodOptions&, Backend&);

PackResult pack_smoothquant(const DenseWeight&, const MethodOptions&, Backend&);
PackResult pack_gptq(const DenseWeight&, const MethodOptions&, Backend&);

}  // namespace bitsweep::quant
