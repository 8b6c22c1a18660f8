#include "worker/inference/quant/fp8/fp8.h"
#include "worker/inference/quant/methods.h"

namespace bitsweep::quant {

// Whether there is a scale or one for each row, the bytes of the scales say (schemas/catalog).
PackResult pack_fp8(const DenseWeight& weight, const MethodOptions& options, Backend& backend) {
    return pack_dense(weight, options, backend, fp8_type());
}

}  // namespace bitsweep::quant
