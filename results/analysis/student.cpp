#include "results/analysis/student.h"

#include <cmath>
#include <limits>
#include <unsupported/Eigen/SpecialFunctions>

namespace bitsweep {

double student_two_sided(double t, double degrees_of_freedom) {
    if (!(degrees_of_freedom >= 1) || std::isnan(t)) {
        return std::numeric_limits<double>::quiet_NaN();
    }
    if (std::isinf(t)) {
        return 0;
    }
    return Eigen::numext::betainc(degrees_of_freedom / 2, 0.5,
                                  degrees_of_freedom / (degrees_of_freedom + t * t));
}

double student_quantile(double confidence, double degrees_of_freedom) {
    if (!(degrees_of_freedom >= 1)) {
        return std::numeric_limits<double>::quiet_NaN();
    }
    // The tail falls monotonously in t: double until it is passed, then halve. 200 halvings exhaust
    // a double's digits from any start.
    double low = 0, high = 1;
    while (student_two_sided(high, degrees_of_freedom) > 1 - confidence && high < 1e12) {
        high *= 2;
    }
    for (int i = 0; i < 200 && high - low > 1e-12 * high; ++i) {
        const double middle = (low + high) / 2;
        (student_two_sided(middle, degrees_of_freedom) > 1 - confidence ? low : high) = middle;
    }
    return (low + high) / 2;
}

double normal_quantile(double confidence) {
    return Eigen::numext::ndtri((1 + confidence) / 2);
}

}  // namespace bitsweep
