#include <array>

#include "worker/inference/quant/methods_cuda.h"

namespace bitsweep {
namespace {

struct CudaMethod {
    MethodFamily family;
    quant::PackResult (*pack)(const DenseWeight&, const MethodOptions&, CudaBackend&);
};

// The visible table, one row per family.
constexpr std::array<CudaMethod, 16> table{{
    {MethodFamily::fp32, quant::pack_fp32_cuda},
    {MethodFamily::fp16, quant::pack_fp16_cuda},
    {MethodFamily::bf16, quant::pack_bf16_cuda},
    {MethodFamily::int8, quant::pack_int8_cuda},
    {MethodFamily::fp8, quant::pack_fp8_cuda},
    {MethodFamily::fp8_channel, quant::pack_fp8_cuda},
    {MethodFamily::w8a8, quant::pack_w8a8_cuda},
    {MethodFamily::llmint8, quant::pack_llmint8_cuda},
    {MethodFamily::nf4, quant::pack_nf4_cuda},
    {MethodFamily::fp4, quant::pack_fp4_cuda},
    {MethodFamily::int_group, quant::pack_int_group_cuda},
    {MethodFamily::int_asym, quant::pack_int_asym_cuda},
    {MethodFamily::hqq, quant::pack_hqq_cuda},
    {MethodFamily::gptq, quant::pack_gptq_cuda},
    {MethodFamily::awq, quant::pack_int_asym_cuda},  // of calibrated weights
    {MethodFamily::smoothquant, quant::pack_smoothquant_cuda},
}};

}  // namespace

Result<std::unique_ptr<Linear>> pack_linear_cuda(const DenseWeight& weight,
                                                 const MethodOptions& options,
                                                 CudaBackend& backend) {
    for (const CudaMethod& row : table) {
        if (row.family == options.method.family) {
            return row.pack(weight, options, backend);
        }
    }
    return make_error(ErrorCode::unsupported,
                      "method '" + options.method.text + "' has no CUDA implementation");
}

}  // namespace bitsweep
