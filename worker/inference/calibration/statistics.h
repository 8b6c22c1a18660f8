// What calibration keeps of the inputs of one linear layer.
#pragma once

#include <cstdint>
#include <vector>

#include "worker/inference/backend/cpu/threads.h"

namespace bitsweep {

enum class Moments { none, second };

class InputStatistics {
 public:
    InputStatistics(std::int64_t in_features, Moments moments);

    // x [rows, in_features]. Sums are in double, each call's share of the moments in float32: in
    // the order of the calls, so that the same text gives the same bits.
    void add(ThreadPool& threads, const float* x, std::int64_t rows);

    std::int64_t in_features() const { return in_; }
    std::int64_t rows() const { return rows_; }
    const std::vector<float>& absmax() const { return absmax_; }  // [in] of each channel
    std::vector<float> mean_abs() const;                          // [in]
    // X^T X [in, in], not divided by rows; empty with Moments::none.
    const std::vector<double>& moments() const { return moments_; }
    std::uint64_t bytes() const;

 private:
    void add_moments(ThreadPool& threads, const float* x, std::int64_t rows);

    std::int64_t in_;
    std::int64_t rows_ = 0;
    std::vector<float> absmax_;
    std::vector<double> sum_abs_;
    std::vector<double> moments_;
    std::vector<float> transposed_;  // of one call, [in, rows]
    std::vector<float> product_;
};

}  // namespace bitsweep
