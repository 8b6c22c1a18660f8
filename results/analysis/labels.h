// How a cell is called in tables, plots and sentences: what is equal everywhere is left out, what
// differs is named, so that two rows never look the same.
#pragma once

#include <map>
#include <set>
#include <string>

#include "results/analysis/table_row.h"

namespace bitsweep {

// A column for queries over `jobs j`: "found like int8 of cpu", which policy a cell of method mixed
// has; NULL for other methods and for policies without a name.
inline constexpr const char* policy_name_column =
    "CASE WHEN j.method = 'mixed' THEN nullif(json_extract(j.spec ->> '$.policy', '$.policy'), '')"
    " || coalesce(' of ' || nullif(json_extract(j.spec ->> '$.policy', '$.gpu'), ''), '') END"
    " AS policy_name";

class Labels {
 public:
    // `cells`: rows with the columns of v_cells, `prompt`, `numerics_revision` and policy_name.
    explicit Labels(const Table& cells);

    std::string model(const Row& cell) const;  // "tiny batch=4"
    // "llmint8-bnb T=6", "mixed (found like int8 of cpu)"; with several numerics revisions of one
    // method "int8 numerics=2".
    std::string method(const Row& cell) const;
    std::string device(const Row& cell) const;  // "cpu"; with several of a kind "cpu (Xeon 6975P)"

 private:
    std::map<std::string, std::set<std::string>> values_;  // column -> values that occur
};

std::string method_label(const Row& cell);  // "llmint8-bnb T=6"

}  // namespace bitsweep
