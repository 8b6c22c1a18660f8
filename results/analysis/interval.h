// How sure a number over few repeats is.
#pragma once

#include <span>

namespace bitsweep {

// NaN for an empty list; the mean of the middle two for an even number.
double median(std::span<const double> values);

struct Interval {
    double centre = 0;  // geometric mean
    double low = 0, high = 0;
    bool known() const { return low == low; }
    // Whether it tells on which side of 1 the truth is.
    bool excludes_one() const { return known() && (low > 1 || high < 1); }
};

// 95 % interval of the geometric mean of positive values: Student's t on their logarithms, because
// rates and ratios multiply, and because repeats are few (Georges, Buytaert and Eeckhout,
// "Statistically rigorous Java performance evaluation", OOPSLA 2007, section 3.2: t below 30
// samples; Fleming and Wallace, CACM 29(3), 1986: ratios by their geometric mean). It assumes that
// the logarithms of repeats are about normal and independent. One value: low and high are NaN.
// No value, or one that is not positive and finite: all three are NaN.
Interval log_t_interval(std::span<const double> values);

// 97.5 % quantile of Student's t.
double t_quantile_975(int degrees_of_freedom);

}  // namespace bitsweep
