// The figures of a report, each a <figure> with a caption, or "" where its data were not measured.
#pragma once

#include <set>
#include <string>

#include "results/analysis/report.h"

namespace bitsweep {

// Methods keep colour and shape through the whole page.
class Palette {
 public:
    explicit Palette(const Report& report) : methods_(report.evidence.methods()) {}
    int of(const std::string& method) const;
    double aside(int series) const;  // pixels beside a shared x (Mark::aside)
    std::string legend() const;
    std::string legend(const std::set<std::string>& shown) const;  // of these alone

 private:
    std::vector<std::string> methods_;
};

// One device each; `device` is a kind of the evidence.
std::string speedup_figure(const Report& report, const std::string& device, const Palette& palette);
std::string latency_figure(const Report& report, const std::string& device);
std::string pareto_figure(const Report& report, const std::string& device, const Palette& palette);
std::string threshold_figure(const Report& report, const std::string& device,
                             const Palette& palette);
std::string memory_figure(const Report& report, const std::string& device);
std::string order_figure(const Report& report, const std::string& device);

std::string held_out_figure(const Report& report, const Palette& palette);
std::string quality_figure(const Report& report, const Palette& palette);

}  // namespace bitsweep
