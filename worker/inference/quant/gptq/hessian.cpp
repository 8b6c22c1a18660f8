#include "worker/inference/quant/gptq/hessian.h"

#include <ATen/ops/cholesky_inverse.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/linalg_cholesky_ex.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <string>

namespace bitsweep::quant {
namespace {

constexpr double most_damping = 1.0;
constexpr double damping_step = 10.0;

// Cholesky factor, or nothing where the matrix is not positive definite.
std::optional<at::Tensor> cholesky(const at::Tensor& matrix, bool upper) {
    const auto [factor, info] = at::linalg_cholesky_ex(matrix, upper, false);
    return info.item<int>() == 0 ? std::optional(factor) : std::nullopt;
}

std::optional<at::Tensor> inverse_factor_of(const at::Tensor& damped) {
    const auto lower = cholesky(damped, false);
    return lower ? cholesky(at::cholesky_inverse(*lower, false), true) : std::nullopt;
}

}  // namespace

Result<InverseFactor> inverse_factor(std::vector<double>& h, std::int64_t n, double damping) {
    const c10::InferenceMode no_autograd;
    double mean = 0;
    for (std::int64_t i = 0; i < n; ++i) {
        mean += h[static_cast<std::size_t>(i * n + i)] / static_cast<double>(n);
    }
    const at::Tensor matrix = at::from_blob(h.data(), {n, n}, at::kDouble);
    double added = 0;
    for (double used = damping; used <= most_damping; used *= damping_step) {
        matrix.diagonal().add_((used - added) * mean);
        added = used;
        if (const auto upper = inverse_factor_of(matrix)) {
            InverseFactor out;
            const at::Tensor rows = upper->contiguous();
            out.upper.assign(rows.data_ptr<double>(), rows.data_ptr<double>() + n * n);
            out.damping_used = used;
            return out;
        }
    }
    return make_error(ErrorCode::invalid_numbers,
                      "the second moments of " + std::to_string(n) +
                          " inputs are not positive definite, even with a damping of " +
                          std::to_string(most_damping));
}

}  // namespace bitsweep::quant
