// Is A faster than B? A verdict for every model and device on which both were measured.
#pragma once

#include <string>
#include <vector>

#include "results/analysis/evidence.h"
#include "results/analysis/finding.h"

namespace bitsweep {

enum class SpeedVerdict { same, faster, slower, unresolved };
std::string_view to_string(SpeedVerdict verdict);  // "SAME" ...

struct CompareQuestion {
    std::string a, b;      // two methods ("int8", "llmint8-bnb T=6"), or two kinds of device
    double margin = 0.01;  // a smaller difference is called the same
    double level = 0.05;   // chance of any false FASTER or SLOWER in the whole answer
};

struct Comparison {
    std::string model, method, device;  // device: "A / B" where devices are compared
    int pairs = 0;       // of processes; where devices are compared, the fewer of the two sides
    double speedup = 0;  // of A over B: geometric mean
    double low = 0, high = 0;  // at `confidence`
    double confidence = 0;     // 1 - level / (comparisons that this one had to survive)
    double p = 1;              // Holm-adjusted
    SpeedVerdict verdict = SpeedVerdict::unresolved;
};

// The measured method of that name. "llmint8-bnb" stands for its only threshold. invalid_input:
// several thresholds or heads (lists them), every run of it left out (says why), or no such method
// (names the nearest method or device).
Result<std::string> resolve_method(const Evidence& evidence, const std::string& asked);

// Methods: Student's t on the logarithms of the ratios paired by repeat, so that what drifts for
// both is taken out. Devices: no pairs, so Welch's t on the logarithms. One pair is no verdict.
// invalid_input: A or B is neither a measured method nor a device (names the nearest), or A is B;
// not_found: nothing was measured with both.
Result<std::vector<Comparison>> compare(const Evidence& evidence, const CompareQuestion& question);

Finding compare_finding(const std::vector<Comparison>& rows, const CompareQuestion& question);

}  // namespace bitsweep
