#include "worker/inference/quant/bf16/bf16.h"
#include "worker/inference/quant/methods.h"

namespace bitsweep::quant {

PackResult pack_bf16(const DenseWeight& weight, const MethodOptions& options, Backend& backend) {
    return pack_dense(weight, options, backend, bf16_type());
}

}  // namespace bitsweep::quant
