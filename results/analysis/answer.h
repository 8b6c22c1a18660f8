// The one sentence that a summary answers its question with.
#pragma once

#include <string>
#include <vector>

#include "results/analysis/summary.h"

namespace bitsweep {

// Says for the largest model of each device, method by method, whether it decodes faster or slower
// than the 16-bit baseline, with the interval; "not resolved" when the interval spans 1 or there is
// only one repeat. Claims nothing about models and settings that were not measured.
std::string answer_of(const Summary& summary);

// The same, a sentence for each device.
std::vector<std::string> answers_of(const Summary& summary);

}  // namespace bitsweep
