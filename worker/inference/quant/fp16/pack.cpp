#include "worker/inference/quant/fp16/fp16.h"
#include "worker/inference/quant/methods.h"

namespace bitsweep::quant {

PackResult pack_fp16(const DenseWeight& weight, const MethodOptions& options, Backend& backend) {
    return pack_dense(weight, options, backend, fp16_type());
}

}  // namespace bitsweep::quant
