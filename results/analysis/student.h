// Student's t and the normal distribution, for intervals and p-values.
#pragma once

namespace bitsweep {

// P(|T| >= |t|) with that many degrees of freedom (Abramowitz and Stegun 26.7.1, by the incomplete
// beta function). NaN below one degree.
double student_two_sided(double t, double degrees_of_freedom);

// The t with P(|T| <= t) = confidence, which lies in (0, 1).
double student_quantile(double confidence, double degrees_of_freedom);

// The z with P(|Z| <= z) = confidence.
double normal_quantile(double confidence);

}  // namespace bitsweep
