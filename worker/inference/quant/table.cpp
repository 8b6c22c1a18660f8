#include <array>

#include "worker/inference/quant/methods.h"

namespace bitsweep {
namespace {

constexpr std::array<MethodImplementation, 16> table{{
    {MethodFamily::fp32, quant::pack_fp32},
    {MethodFamily::fp16, quant::pack_fp16},
    {MethodFamily::bf16, quant::pack_bf16},
    {MethodFamily::int8, quant::pack_int8},
    {MethodFamily::fp8, quant::pack_fp8},
    {MethodFamily::fp8_channel, quant::pack_fp8},
    {MethodFamily::w8a8, quant::pack_w8a8},
    {MethodFamily::llmint8, quant::pack_llmint8},
    {MethodFamily::nf4, quant::pack_nf4},
    {MethodFamily::fp4, quant::pack_fp4},
    {MethodFamily::int_group, quant::pack_int_group},
    {MethodFamily::int_asym, quant::pack_int_asym},
    {MethodFamily::hqq, quant::pack_hqq},
    {MethodFamily::gptq, quant::pack_gptq},
    {MethodFamily::awq, quant::pack_int_asym},  // of calibrated weights
    {MethodFamily::smoothquant, quant::pack_smoothquant},
}};

}  // namespace

std::span<const MethodImplementation> method_implementations() {
    return table;
}

Result<std::unique_ptr<Linear>> pack_linear(const DenseWeight& weight, const MethodOptions& options,
                                            Backend& backend) {
    for (const MethodImplementation& row : table) {
        if (row.family == options.method.family) {
            return row.pack_cpu(weight, options, backend);
        }
    }
    return make_error(ErrorCode::unsupported,
                      "method '" + options.method.text + "' has no CPU implementation");
}

}  // namespace bitsweep
