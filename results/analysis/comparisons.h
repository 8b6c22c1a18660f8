// What a list of comparisons allows to be said: p-values corrected for their number, and the bound
// that "no difference was seen" gives.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace bitsweep {

// Holm's step-down correction (Scandinavian Journal of Statistics 6, 1979): the chance that any
// true "same" is called a difference stays below the level, whatever depends on what.
struct HolmStep {
    double p = 1;           // adjusted: compare with the level as it is
    double confidence = 0;  // of the interval that excludes "same" where this step rejects it
};
// One per p-value, in the order given. NaN stays NaN and is not counted.
std::vector<HolmStep> holm(std::span<const double> p_values, double level = 0.05);

// With 0 of n seen, the rate is below this at the given confidence: 1 - (1 - confidence)^(1/n),
// about 3/n at 95 % (Hanley and Lippman-Hand, JAMA 249(13), 1983: the rule of three).
double unseen_rate_bound(std::int64_t trials, double confidence = 0.95);

}  // namespace bitsweep
