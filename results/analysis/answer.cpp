#include "results/analysis/answer.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "results/analysis/number_text.h"

namespace bitsweep {
namespace {

using Rows = std::vector<const SummaryRow*>;

bool same_place(const SummaryRow& a, const SummaryRow& b) {
    return a.model == b.model && a.device == b.device;
}

// Weights at 16 bits, so that a packed row does not make its model look small, else as they are;
// -1: not measured.
double full_size(const SummaryRow& row) {
    const double size = row.weights_mib / row.weights_ratio;
    return std::isfinite(size) ? size : std::isfinite(row.weights_mib) ? row.weights_mib : -1;
}

// The rows of one device that belong to the model with the largest weights.
Rows largest_model(const Summary& summary, const std::string& device) {
    const SummaryRow* largest = nullptr;
    for (const SummaryRow& row : summary.rows) {
        if (row.device == device && (largest == nullptr || full_size(row) > full_size(*largest))) {
            largest = &row;
        }
    }
    Rows rows;
    for (const SummaryRow& row : summary.rows) {
        if (same_place(row, *largest)) {
            rows.push_back(&row);
        }
    }
    return rows;
}

bool resolved(const SummaryRow& row) {
    return row.pairs > 1 && (row.speedup_low > 1 || row.speedup_high < 1);
}

std::string evidence(const SummaryRow& row) {
    if (row.pairs < 2) {
        return ratio_text(row.speedup) + "x";
    }
    return "95 % " + ratio_text(row.speedup_low) + "-" + ratio_text(row.speedup_high) + ", " +
           std::to_string(row.pairs) + " repeats";
}

// A head of its own is part of what is compared.
std::string name_of(const SummaryRow& row, const SummaryRow& base) {
    return row.method +
           (row.head_bits == base.head_bits ? "" : " head " + std::to_string(row.head_bits));
}

void join(std::string& out, const std::string& more, const char* between) {
    out += (out.empty() || more.empty() ? "" : between) + more;
}

// "int8 decodes 1.62x as fast as fp16 (95 % 1.58-1.66, 3 repeats), nf4 0.5x (...); not resolved,
// the interval spans 1: int4-g64 (...)"
std::string verdicts(const Rows& rows, const SummaryRow& base) {
    std::string told, open, single, uncompared;
    for (const SummaryRow* row : rows) {
        const std::string name = name_of(*row, base);
        if (row->pairs == 0) {
            join(uncompared, name, ", ");
        } else if (resolved(*row)) {
            join(told,
                 name + (told.empty() ? " decodes " : " ") + ratio_text(row->speedup) +
                     (told.empty() ? "x as fast as " + base.method : "x") + " (" + evidence(*row) +
                     ")",
                 ", ");
        } else {
            join(row->pairs < 2 ? single : open, name + " (" + evidence(*row) + ")", ", ");
        }
    }
    join(told, open.empty() ? "" : "not resolved, the interval spans 1: " + open, "; ");
    join(told, single.empty() ? "" : "not resolved, one repeat has no interval: " + single, "; ");
    join(told, uncompared.empty() ? "" : "not compared: " + uncompared, "; ");
    return told;
}

std::string place(const SummaryRow& row, bool name_device, bool name_head) {
    return "on " + row.model + (name_head ? " head " + std::to_string(row.head_bits) : "") +
           (name_device ? " on " + row.device : "");
}

std::string answer_for(const Summary& summary, const std::string& device, bool name_device) {
    Rows rows = largest_model(summary, device);
    const auto found =
        std::find_if(rows.begin(), rows.end(), [](const SummaryRow* r) { return r->is_baseline; });
    const SummaryRow& first = found == rows.end() ? *rows.front() : **found;
    const bool name_head =
        std::any_of(summary.rows.begin(), summary.rows.end(),
                    [&](const SummaryRow& row) { return row.head_bits != first.head_bits; });
    const std::string where = place(first, name_device, name_head);
    const bool disturbed = std::ranges::any_of(rows, [](const SummaryRow* row) {
        return std::isfinite(row->disturbed_tokens_per_s) &&
               (row->method.starts_with("fp16") || row->method.starts_with("bf16"));
    });
    if (found == rows.end() && disturbed) {
        return where +
               ", not resolved: no window of its 16-bit baseline counts, all were disturbed";
    }
    if (found == rows.end()) {
        return where + ", not resolved: no 16-bit baseline was measured";
    }
    std::erase_if(rows, [](const SummaryRow* row) { return row->is_baseline; });
    if (rows.empty()) {
        return where + ", nothing was measured beside " + first.method;
    }
    // Fastest first; what is not resolved last, in the experiment's order.
    std::stable_sort(rows.begin(), rows.end(), [](const SummaryRow* a, const SummaryRow* b) {
        const double left = resolved(*a) ? a->speedup : -1;
        const double right = resolved(*b) ? b->speedup : -1;
        return left > right;
    });
    return where + ", " + verdicts(rows, first);
}

}  // namespace

std::vector<std::string> answers_of(const Summary& summary) {
    std::vector<std::string> devices;
    for (const SummaryRow& row : summary.rows) {
        if (std::find(devices.begin(), devices.end(), row.device) == devices.end()) {
            devices.push_back(row.device);
        }
    }
    std::vector<std::string> sentences;
    for (const std::string& device : devices) {
        sentences.push_back(answer_for(summary, device, devices.size() > 1) + ".");
        sentences.back().front() = 'O';  // every sentence begins with "on"
    }
    return sentences;
}

std::string answer_of(const Summary& summary) {
    if (summary.rows.empty()) {
        return "not resolved: no cell has a result";
    }
    std::string joined;
    for (const std::string& sentence : answers_of(summary)) {
        joined += (joined.empty() ? "" : " ") + sentence;
    }
    return joined;
}

}  // namespace bitsweep
