#include "results/analysis/columns.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "results/analysis/number_text.h"

namespace bitsweep {
namespace {

std::string with_interval(const std::string& centre, double low, double high, int digits) {
    if (std::isnan(low) || std::isnan(high)) {
        return centre;
    }
    return centre + " [" + significant(low, digits) + "-" + significant(high, digits) + "]";
}

std::string method(const SummaryRow& row) {
    return row.method + (row.rounds_activations ? " *" : "");
}

std::string decode(const SummaryRow& row) {
    if (std::isnan(row.decode_tokens_per_s) && std::isfinite(row.disturbed_tokens_per_s)) {
        return "(" + significant(row.disturbed_tokens_per_s, 4) + ")";
    }
    return with_interval(significant(row.decode_tokens_per_s, 4), row.decode_low, row.decode_high,
                         4);
}

std::string speedup(const SummaryRow& row) {
    if (row.is_baseline) {
        return "baseline";
    }
    if (row.pairs == 0) {
        return "-";
    }
    return with_interval(ratio_text(row.speedup), row.speedup_low, row.speedup_high, 3);
}

std::string top1(const SummaryRow& row) {
    return fixed_text(row.top1 * 100, 2);
}

constexpr std::array columns = {
    SummaryColumn{"method", "", Block::identity, false, method},
    SummaryColumn{"head", "bits", Block::identity, true,
                  [](const SummaryRow& row) { return std::to_string(row.head_bits); }},
    SummaryColumn{"device", "", Block::identity, false,
                  [](const SummaryRow& row) { return row.device; }},
    SummaryColumn{"repeats", "", Block::speed, true,
                  [](const SummaryRow& row) { return std::to_string(row.repeats); }},
    SummaryColumn{"decode", "token/s", Block::speed, true, decode},
    SummaryColumn{"speed-up", "x 16-bit", Block::speed, true, speedup},
    SummaryColumn{"weights", "MiB", Block::speed, true,
                  [](const SummaryRow& row) { return fixed_text(row.weights_mib, 2); }},
    SummaryColumn{"ratio", "x fp16", Block::speed, true,
                  [](const SummaryRow& row) { return fixed_text(row.weights_ratio, 3); }},
    SummaryColumn{"perplexity", "", Block::quality, true,
                  [](const SummaryRow& row) { return significant(row.perplexity, 5); }},
    SummaryColumn{"KL", "nat", Block::quality, true,
                  [](const SummaryRow& row) { return small_text(row.kl_mean); }},
    SummaryColumn{"top-1", "%", Block::quality, true, top1},
    SummaryColumn{"text", "", Block::quality, false,
                  [](const SummaryRow& row) { return row.text.empty() ? "-" : row.text; }},
};

}  // namespace

std::span<const SummaryColumn> summary_columns() {
    return columns;
}

bool stands_above(const SummaryColumn& column, const Summary& summary) {
    const bool movable =
        column.title == "head" || column.title == "device" || column.title == "repeats";
    return movable && !summary.rows.empty() &&
           std::all_of(summary.rows.begin(), summary.rows.end(), [&](const SummaryRow& row) {
               return column.text(row) == column.text(summary.rows.front());
           });
}

bool is_empty(const SummaryColumn& column, const Summary& summary) {
    return std::all_of(summary.rows.begin(), summary.rows.end(),
                       [&](const SummaryRow& row) { return column.text(row) == "-"; });
}

Verdict verdict_of(const SummaryRow& row) {
    if (row.is_baseline || row.pairs == 0) {
        return Verdict::none;
    }
    return row.speedup_low > 1    ? Verdict::faster
           : row.speedup_high < 1 ? Verdict::slower
                                  : Verdict::open;
}

}  // namespace bitsweep
