#include <cmath>
#include <numbers>
#include <numeric>

#include "worker/metrics/metric_functions.h"
#include "worker/metrics/statistics.h"

namespace bitsweep {
namespace {

using Series = std::vector<double> QualityScores::*;

Value with_scores(const MetricInput& input, Value (*compute)(const QualityScores& scores)) {
    if (input.quality == nullptr || input.quality->tokens() == 0) {
        return std::nullopt;
    }
    return compute(*input.quality);
}

template <Series series>
Value exp_of_mean(const QualityScores& scores) {
    return std::exp(*mean(scores.*series));
}

}  // namespace

Value perplexity(const MetricInput& input) {
    return with_scores(input, exp_of_mean<&QualityScores::nll>);
}

Value perplexity_fp32(const MetricInput& input) {
    return with_scores(input, exp_of_mean<&QualityScores::nll_fp32>);
}

Value bits_per_byte(const MetricInput& input) {
    return with_scores(input, [](const QualityScores& scores) -> Value {
        if (scores.text_bytes <= 0) {
            return std::nullopt;
        }
        const double nats = std::accumulate(scores.nll.begin(), scores.nll.end(), 0.0);
        return nats / std::numbers::ln2 / static_cast<double>(scores.text_bytes);
    });
}

Value kl_mean(const MetricInput& input) {
    return with_scores(input, [](const QualityScores& scores) { return mean(scores.kl); });
}

Value kl_median(const MetricInput& input) {
    return with_scores(input, [](const QualityScores& scores) { return median(scores.kl); });
}

Value kl_p99(const MetricInput& input) {
    return with_scores(input,
                       [](const QualityScores& scores) { return percentile(scores.kl, 0.99); });
}

Value kl_max(const MetricInput& input) {
    return with_scores(input, [](const QualityScores& scores) { return percentile(scores.kl, 1); });
}

Value top1_agreement(const MetricInput& input) {
    return with_scores(input, [](const QualityScores& scores) -> Value {
        return static_cast<double>(scores.same_top) / static_cast<double>(scores.tokens());
    });
}

Value dp_rms(const MetricInput& input) {
    return with_scores(input, [](const QualityScores& scores) -> Value {
        double squares = 0;
        for (const double dp : scores.dp) {
            squares += dp * dp;
        }
        return std::sqrt(squares / static_cast<double>(scores.tokens()));
    });
}

Value quality_tokens(const MetricInput& input) {
    return with_scores(input, [](const QualityScores& scores) -> Value {
        return static_cast<double>(scores.tokens());
    });
}

}  // namespace bitsweep
