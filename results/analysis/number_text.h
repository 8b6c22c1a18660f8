// Numbers as people read them. One place, so that text, HTML and sentences agree.
#pragma once

#include <string>

namespace bitsweep {

// `digits` significant digits, never an exponent between 1e-4 and 1e9; "-" for NaN.
std::string significant(double value, int digits);
std::string plain_text(double value);  // a whole number in full, else six digits
std::string size_text(double count);   // 124M, 1.24B
std::string ratio_text(double value);  // three digits: "1.62", "0.813", "12.4"
std::string small_text(double value);  // two digits, for divergences: "1.2e-05", "0.031"
std::string fixed_text(double value, int decimals);

}  // namespace bitsweep
