// What shares a scale, and where the codes' zero lies: LLM.int8() and the ablations of its Table 1.
#pragma once

#include <cstdint>

#include "schemas/catalog/methods.h"
#include "worker/inference/quant/w8a8/w8a8.h"

namespace bitsweep::quant {

struct Int8Scales {
    bool weight_by_tensor = false;  // else by output channel
    InputScope input = InputScope::token;
    bool zero_points = false;  // codes cover minimum to maximum, else -absmax to absmax
};

Int8Scales int8_scales(const MethodId& method);

// Codes q of -127 to 127 that mean (q + zero) * half_range / 127. The range holds 0, which is
// exactly a code: q = -zero.
struct ZeroPoint {
    float half_range = 0;  // (maximum - minimum) / 2: stands in the place of an absmax
    std::int32_t zero = 0;
};

ZeroPoint zero_point(float least, float most);
void codes_by_zero_point(const float* x, std::int64_t count, const ZeroPoint& point,
                         std::int8_t* codes);

// Minimum and maximum with 0 of what a threshold leaves; threshold <= 0: of all.
struct Range {
    float least = 0, most = 0;
    bool finite = true;  // nothing that counts is NaN or infinite

    void add(const float* x, std::int64_t count, double threshold);
};

}  // namespace bitsweep::quant
