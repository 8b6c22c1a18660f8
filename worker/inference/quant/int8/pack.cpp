#include "worker/inference/quant/int8/int8.h"
#include "worker/inference/quant/methods.h"
#include "worker/inference/quant/shared/int8_weights.h"

namespace bitsweep::quant {

PackResult pack_int8(const DenseWeight& weight, const MethodOptions& options, Backend& backend) {
    return make_int8(TRY(pack_int8_weights(weight, options, backend)));
}

}  // namespace bitsweep::quant
