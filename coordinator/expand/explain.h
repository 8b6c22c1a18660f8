// Which lines of an experiment file make a cell, or leave it out. (Why a submitted job waits is the
// coordinator's to explain.)
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/expand/expand.h"
#include "schemas/status.h"

namespace bitsweep {

struct ExplainedCell {
    std::string fate;   // "cell", "excluded", "removed by where", "merged"
    std::string place;  // "a.yaml:12:5" of the rule, or of what made the cell
    // Of `where`: the condition and the values that it read, or of a template what it leaves to the
    // card, and which known cards fail. What the method does not read.
    std::string why;
    struct From {
        std::string field;
        std::string value;
        std::string place;  // empty: bitsweep's own default
    };
    std::vector<From> from;  // every field that the cell has; `repeat` last
};

struct CellExplanation {
    std::vector<ExplainedCell> cells;  // at most max_explained, in the order of the matrix
    std::int64_t matching = 0;
};

inline constexpr std::size_t max_explained = 10'000;

// Every combination that fits all of `conditions`, as under `exclude`: {"model", "llama-*"},
// {"bits", ">=8"}; before what its method does not read is dropped. invalid_input: the file's
// mistakes, a wrong condition, none that fits (with the condition that nothing met and what there
// is).
Result<CellExplanation> explain_cells(
    const ExperimentText& text, const std::vector<std::pair<std::string, std::string>>& conditions);

}  // namespace bitsweep
