#include "results/analysis/report_parts.h"

#include "results/analysis/html.h"

namespace bitsweep {

std::string figure(const std::string& svg, const std::string& caption, const std::string& key) {
    return html::element("figure", "",
                         key + svg + html::element("figcaption", "", html::escaped(caption)));
}

Axis axis(const std::string& label, Scale scale, const Range& range) {
    return {label, scale, range.low, range.high};
}

std::string largest_model(const Report& report, const std::string& device) {
    std::string largest;
    double most = -1;
    for (const MeasuredCell& cell : report.evidence.cells) {
        const MeasuredCell* base = report.evidence.baseline_of(cell);
        const double bytes = (base == nullptr ? cell : *base).metric("weights_bytes");
        const double size = std::isnan(bytes) ? 0 : bytes;
        if (cell.device == device && size > most) {
            most = size;
            largest = cell.model;
        }
    }
    return largest;
}

void ModelFigures::add(const std::string& model, const std::string& figure) {
    if (!figure.empty()) {
        figures_.insert(model == largest_ ? figures_.begin() : figures_.end(), figure);
    }
}

std::string ModelFigures::html(std::size_t in_sight) const {
    std::string shown, folded;
    for (std::size_t i = 0; i < figures_.size(); ++i) {
        (i < in_sight ? shown : folded) += figures_[i];
    }
    return folded.empty()
               ? shown
               : shown + html::folded("The other models on " + device_ + " (" +
                                          std::to_string(figures_.size() - in_sight) + ")",
                                      folded);
}

}  // namespace bitsweep
