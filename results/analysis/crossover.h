// From which size on does method A beat method B on a card?
#pragma once

#include <string>
#include <vector>

#include "results/analysis/evidence.h"
#include "results/analysis/finding.h"
#include "results/analysis/scaling.h"

namespace bitsweep {

struct CrossoverQuestion {
    std::string a, b;  // methods; empty a: every method; empty b: the 16-bit baseline
};

// The speed-up of A over B at one size.
struct CrossoverPoint {
    std::string model;
    double width = 0, parameters = 0;
    Interval speedup;  // paired by repeat
    ProcessSampler ratio{{}};
};

enum class CrossoverClass {
    within,      // the interval lies inside the measured range
    always,      // A is ahead at every measured size
    never,       // A is behind from some size to the largest measured, or everywhere
    unresolved,  // the data allow more than one of these
};

// Where the line through the measured speed-ups (logarithm against logarithm of the size, models of
// one size averaged) rises above 1 for the last time, so that A is ahead from there to the largest
// measured size. -infinity: ahead at the smallest already; +infinity: behind at the largest.
struct CrossingPlace {
    double value = 0, low = 0, high = 0;       // 95 %, over resampled pairs of processes
    double inside = 0, always = 0, never = 0;  // shares of the resamples; NaN, as low and high,
                                               // where a size has one process only
    CrossoverClass verdict = CrossoverClass::unresolved;
};

struct Crossover {
    std::string device, a, b, setting;   // setting: "batch=8" where it is not 1, else empty
    std::vector<CrossoverPoint> points;  // by rising parameters
    std::vector<CrossoverPoint> alone;   // of one pair of processes each: no interval, so left out
                                         // of the crossing where enough others are there
    CrossingPlace width, parameters;
    // By the physical fits of A and B: the width at which 4 products of a layer cost A as much more
    // as its bytes save: d^2 = 4 (product_A - product_B) / (k (byte_B x bytes_B - byte_A x
    // bytes_A)), k = weights of a layer / d^2, bytes per weight with scales. Depth cancels. NaN:
    // not fitted.
    Estimate model_width;
};

// One for each device and pair of methods that at least 2 sizes of models were measured with.
// invalid_input, not_found: as compare.h.
Result<std::vector<Crossover>> find_crossovers(const Evidence& evidence, const Scaling& scaling,
                                               const CrossoverQuestion& question,
                                               const Resampling& how);
Finding crossover_finding(const std::vector<Crossover>& crossovers);

// The crossing in one sentence.
std::string sentence_of(const Crossover& crossover);

// All crossings of a device in one sentence: "On H100, of 124M to 8.03B parameters, faster than
// fp16: int8 from 494M (435M to 508M), nf4 never in the measured range (95 % intervals)." Of three
// sizes or more only.
std::vector<std::string> crossing_answers(const std::vector<Crossover>& crossovers);

}  // namespace bitsweep
