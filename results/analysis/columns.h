// The columns of a summary, written once for the terminal and for the page.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "results/analysis/summary.h"

namespace bitsweep {

enum class Block { identity, speed, quality };

struct SummaryColumn {
    std::string_view title;
    std::string_view unit;  // second line of the header; may be empty
    Block block;
    bool right;  // numbers stand right
    std::string (*text)(const SummaryRow& row);
};

std::span<const SummaryColumn> summary_columns();

// Head, device and repeats stand above the table where they are the same in every row.
bool stands_above(const SummaryColumn& column, const Summary& summary);

// Nothing of it was measured in any row: it takes no place.
bool is_empty(const SummaryColumn& column, const Summary& summary);

// Which way a row's speed-up is settled: for colour.
enum class Verdict { none, faster, slower, open };
Verdict verdict_of(const SummaryRow& row);

}  // namespace bitsweep
