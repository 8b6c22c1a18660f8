#include "worker/inference/calibration/statistics.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "worker/inference/backend/cpu/gemm.h"

namespace bitsweep {

InputStatistics::InputStatistics(std::int64_t in_features, Moments moments)
    : in_(in_features),
      absmax_(static_cast<std::size_t>(in_features)),
      sum_abs_(static_cast<std::size_t>(in_features)) {
    if (moments == Moments::second) {
        moments_.resize(static_cast<std::size_t>(in_features * in_features));
        product_.resize(moments_.size());
    }
}

void InputStatistics::add(ThreadPool& threads, const float* x, std::int64_t rows) {
    for (std::int64_t row = 0; row < rows; ++row) {
        const float* values = x + row * in_;
        for (std::size_t i = 0; i < absmax_.size(); ++i) {
            const float magnitude = std::fabs(values[i]);
            absmax_[i] = std::max(absmax_[i], magnitude);
            sum_abs_[i] += magnitude;
        }
    }
    rows_ += rows;
    if (!moments_.empty()) {
        add_moments(threads, x, rows);
    }
}

void InputStatistics::add_moments(ThreadPool& threads, const float* x, std::int64_t rows) {
    transposed_.resize(static_cast<std::size_t>(in_ * rows));
    for (std::int64_t row = 0; row < rows; ++row) {
        for (std::int64_t i = 0; i < in_; ++i) {
            transposed_[static_cast<std::size_t>(i * rows + row)] = x[row * in_ + i];
        }
    }
    gemm_f32(threads, transposed_.data(), transposed_.data(), product_.data(), in_, in_, rows, in_);
    std::transform(moments_.begin(), moments_.end(), product_.begin(), moments_.begin(),
                   std::plus<>());
}

std::vector<float> InputStatistics::mean_abs() const {
    std::vector<float> mean(sum_abs_.size());
    const double rows = static_cast<double>(std::max<std::int64_t>(rows_, 1));
    std::ranges::transform(sum_abs_, mean.begin(),
                           [rows](double sum) { return static_cast<float>(sum / rows); });
    return mean;
}

std::uint64_t InputStatistics::bytes() const {
    return moments_.size() * 8 + sum_abs_.size() * 8 +
           (absmax_.size() + transposed_.size() + product_.size()) * 4;
}

}  // namespace bitsweep
