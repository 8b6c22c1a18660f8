#include "worker/inference/quant/fp32/fp32.h"
#include "worker/inference/quant/methods.h"

namespace bitsweep::quant {

PackResult pack_fp32(const DenseWeight& weight, const MethodOptions& options, Backend& backend) {
    return pack_dense(weight, options, backend, fp32_type());
}

}  // namespace bitsweep::quant
