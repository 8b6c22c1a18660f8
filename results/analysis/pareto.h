// Which configurations are worth running: speed, loss of quality, memory and energy together.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "results/analysis/evidence.h"
#include "results/analysis/finding.h"

namespace bitsweep {

enum class Loss {
    kl,             // from the same model's fp32: a front for each model
    bits_per_byte,  // of the text: one front for all models, whatever their tokenizers
};

struct ParetoQuestion {
    Loss loss = Loss::kl;
    std::optional<double> most_loss;   // in the unit of `loss`
    std::optional<double> most_bytes;  // of memory
};

struct ParetoPoint {
    std::string model, method;
    int head_bits = 16;
    int processes = 0;         // fewer than 2: nothing is sure
    Interval rate;             // decode token/s
    double loss = 0;           // NaN: not measured, then it is on no front
    double bytes = 0;          // all that is allocated; else the weights
    double energy_mj = 0;      // per token, of the card, else of the CPU; NaN: not measured
    double on_front = 0;       // share of the resamples in which nothing dominates it
    std::string dominated_by;  // by what most often, where that is more than half of the resamples
    bool eligible = false;     // within the question's limits
    double fastest = 0;        // share of the resamples in which it is the fastest eligible one
};

struct ParetoFront {
    std::string device, model;        // model: empty where all models share the front
    std::vector<ParetoPoint> points;  // fastest first
};

// A point dominates another that is not faster, has no less loss, needs no less memory and, where
// both were measured, no less energy, and is worse in one of them. Speed is resampled over
// processes; loss and bytes are counted on the same text and allocation every time, so they are
// taken as they are.
std::vector<ParetoFront> find_fronts(const Evidence& evidence, const ParetoQuestion& question,
                                     const Resampling& how);
Finding pareto_finding(const std::vector<ParetoFront>& fronts, const ParetoQuestion& question);

}  // namespace bitsweep
