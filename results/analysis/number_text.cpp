#include "results/analysis/number_text.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace bitsweep {

std::string fixed_text(double value, int decimals) {
    if (std::isnan(value)) {
        return "-";
    }
    char buffer[64];
    std::snprintf(buffer, sizeof buffer, "%.*f", decimals, value);
    // What rounds to nothing has no sign: "0", never "-0".
    const bool nothing = std::strpbrk(buffer, "123456789") == nullptr && std::isfinite(value);
    return nothing && *buffer == '-' ? buffer + 1 : buffer;
}

std::string significant(double value, int digits) {
    const double size = std::fabs(value);
    if (std::isnan(value) || size == 0) {
        return std::isnan(value) ? "-" : "0";
    }
    if (!std::isfinite(value) || size < 1e-4 || size >= 1e9) {
        char buffer[64];
        std::snprintf(buffer, sizeof buffer, "%.*g", digits, value);
        return buffer;
    }
    // Rounding may carry into a new digit: 99.96 to three is 100, not 100.0.
    char rounded[64];
    std::snprintf(rounded, sizeof rounded, "%.*e", digits - 1, value);
    const int exponent = std::atoi(std::strchr(rounded, 'e') + 1);
    return fixed_text(value, std::max(0, digits - 1 - exponent));
}

std::string plain_text(double value) {
    if (std::isnan(value)) {
        return "-";
    }
    constexpr double exact_limit = 1e15;
    const bool whole = std::fabs(value) < exact_limit && value == std::floor(value);
    char buffer[64];
    std::snprintf(buffer, sizeof buffer, whole ? "%.0f" : "%.6g", value);
    return buffer;
}

std::string size_text(double count) {
    return std::isnan(count) ? ""
           : count >= 1e9    ? significant(count / 1e9, 3) + "B"
           : count >= 1e6    ? significant(count / 1e6, 3) + "M"
                             : significant(count / 1e3, 3) + "k";
}

std::string ratio_text(double value) {
    return significant(value, 3);
}

std::string small_text(double value) {
    if (std::isnan(value)) {
        return "-";
    }
    char buffer[64];
    std::snprintf(buffer, sizeof buffer, "%.2g", value);
    return buffer;
}

}  // namespace bitsweep
