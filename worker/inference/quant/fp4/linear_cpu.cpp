#include "worker/inference/quant/fp4/fp4.h"

namespace bitsweep::quant {

// bitsandbytes' own map, bit 3 the sign: code 1 is 1/192, not the 1/12 of E2M1.
const Codebook& fp4_codebook() {
    static const Codebook book = make_codebook(
        {0.0f, 0.0052083334885537624f, 0.6666666865348816f, 1.0f, 0.3333333432674408f, 0.5f,
         0.1666666716337204f, 0.25f, 0.0f, -0.0052083334885537624f, -0.6666666865348816f, -1.0f,
         -0.3333333432674408f, -0.5f, -0.1666666716337204f, -0.25f});
    return book;
}

}  // namespace bitsweep::quant
