#include <array>

#include "worker/inference/calibration/study.h"

namespace bitsweep {
namespace {

constexpr std::array<CalibratingMethod, 3> table{{
    {MethodFamily::gptq, Moments::second, NextInputs::decided, decide_gptq},
    {MethodFamily::awq, Moments::second, NextInputs::original, decide_awq},
    {MethodFamily::smoothquant, Moments::none, NextInputs::original, decide_smoothquant},
}};

}  // namespace

const CalibratingMethod* calibrating_method(MethodFamily family) {
    for (const CalibratingMethod& row : table) {
        if (row.family == family) {
            return &row;
        }
    }
    return nullptr;
}

}  // namespace bitsweep
