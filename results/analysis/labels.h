// How a cell is called in tables, plots and sentences: what is equal everywhere is left out, what
// differs is named, so that two rows never look the same.
#pragma once

#include <map>
#include <set>
#include <string>

#include "results/analysis/table_row.h"

namespace bitsweep {

class Labels {
 public:
    // `cells`: rows with the columns of v_cells, `prompt` and `numerics_revision`.
    explicit Labels(const Table& cells);

    std::string model(const Row& cell) const;  // "tiny batch=4"
    // "llmint8-bnb T=6"; with several numerics revisions of one method "int8 numerics=2".
    std::string method(const Row& cell) const;
    std::string device(const Row& cell) const;  // "cpu"; with several of a kind "cpu (Xeon 6975P)"

 private:
    std::map<std::string, std::set<std::string>> values_;  // column -> values that occur
};

std::string method_label(const Row& cell);  // "llmint8-bnb T=6"

}  // namespace bitsweep
