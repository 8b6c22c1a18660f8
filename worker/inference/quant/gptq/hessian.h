// The triangular factor that GPTQ walks along (README.md here), in double through libtorch.
#pragma once

#include <cstdint>
#include <vector>

#include "schemas/status.h"

namespace bitsweep::quant {

// U [n, n], row-major, upper triangular, with U^T U = (H + damping * mean(diag H) * I)^-1.
// `damping_used`: the damping is raised tenfold while the sum is not positive definite.
struct InverseFactor {
    std::vector<double> upper;
    double damping_used = 0;
};

// H [n, n] symmetric with a positive diagonal; overwritten. invalid_numbers: not positive definite
// even with a damping of 1 (NaN or infinity in the activations).
Result<InverseFactor> inverse_factor(std::vector<double>& h, std::int64_t n, double damping);

}  // namespace bitsweep::quant
