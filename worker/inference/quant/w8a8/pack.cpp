#include <vector>

#include "worker/inference/quant/methods.h"
#include "worker/inference/quant/shared/int8_weights.h"
#include "worker/inference/quant/w8a8/w8a8.h"

namespace bitsweep::quant {

PackResult pack_w8a8(const DenseWeight& weight, const MethodOptions& options, Backend& backend) {
    TRY(check_exact_width(weight));
    return make_w8a8(TRY(pack_int8_weights(weight, options, backend)));
}

}  // namespace bitsweep::quant
