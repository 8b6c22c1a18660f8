#include "worker/inference/quant/hqq/solve.h"
#include "worker/inference/quant/int_group/int_group.h"
#include "worker/inference/quant/methods.h"

namespace bitsweep::quant {

PackResult pack_hqq(const DenseWeight& weight, const MethodOptions& options, Backend& backend) {
    const int bits = options.method.weight_bits;
    return pack_groups(weight, options, backend, GroupZeros::yes,
                       [bits](const float* values, std::int64_t count, std::uint8_t* codes) {
                           const hqq::Solution solved = hqq::solve(values, count, bits, codes);
                           return GroupChoice{solved.scale, solved.zero};
                       });
}

}  // namespace bitsweep::quant
