#include <algorithm>
#include <cmath>

#include "worker/inference/quant/method.h"

namespace bitsweep {

OutlierRecorder::OutlierRecorder(double threshold, std::int64_t in_features)
    : threshold_(threshold), seen_(static_cast<std::size_t>(in_features), 0) {}

// Threshold 0 means "no decomposition": nothing counts as an outlier, the largest value still does.
void OutlierRecorder::add(const float* x, std::int64_t rows) {
    const std::size_t width = seen_.size();
    for (std::int64_t r = 0; r < rows; ++r) {
        const float* row = x + static_cast<std::size_t>(r) * width;
        for (std::size_t k = 0; k < width; ++k) {
            const double magnitude = std::fabs(static_cast<double>(row[k]));
            max_abs_ = std::max(max_abs_, magnitude);
            if (threshold_ > 0 && magnitude >= threshold_) {
                seen_[k] = 1;
                ++hits_;
            }
        }
    }
    rows_ += rows;
}

LayerOutliers OutlierRecorder::report(std::string layer) const {
    LayerOutliers out;
    out.layer = std::move(layer);
    out.in_features = static_cast<std::int64_t>(seen_.size());
    out.columns = std::count(seen_.begin(), seen_.end(), std::uint8_t{1});
    out.columns_per_token = rows_ > 0 ? static_cast<double>(hits_) / static_cast<double>(rows_) : 0;
    out.max_abs = max_abs_;
    out.tokens = rows_;
    out.seen = seen_;
    return out;
}

}  // namespace bitsweep
