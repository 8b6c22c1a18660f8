#include "coordinator/cli/explain_cell.h"

#include <algorithm>
#include <cstdio>

#include "coordinator/cli/experiment_file.h"
#include "coordinator/cli/tables.h"
#include "coordinator/expand/explain.h"

namespace bitsweep {

namespace {

// "model llama-nano, method nf4, batch 8": what the file says; bitsweep's own defaults left out.
std::string said(const ExplainedCell& one) {
    std::string out;
    for (const ExplainedCell::From& from : one.from) {
        if (!from.place.empty() || from.field == "repeat") {
            out += (out.empty() ? "" : ", ") + from.field + " " + from.value;
        }
    }
    return out;
}

Table list_of(const CellExplanation& found) {
    Table table;
    table.columns = {"fate", "place", "combination", "why"};
    for (const ExplainedCell& one : found.cells) {
        table.rows.push_back({cell(one.fate), cell(one.place), cell(said(one)), cell(one.why)});
    }
    return table;
}

// One combination, field by field.
Table fields_of_one(const ExplainedCell& one) {
    Table table;
    table.columns = {"field", "value", "place"};
    table.rows.push_back(
        {cell("fate"), cell(one.fate + (one.why.empty() ? "" : ": " + one.why)), cell(one.place)});
    for (const ExplainedCell::From& from : one.from) {
        table.rows.push_back({cell(from.field), cell(from.value),
                              cell(from.place.empty() ? "default" : from.place)});
    }
    return table;
}

}  // namespace

Result<int> explain_cell(const std::string& file, const std::vector<std::string>& conditions,
                         const Parsed& parsed) {
    TRY(check_format(parsed.shared.format.empty() ? "table" : parsed.shared.format));
    ExperimentRequest request;
    request.file = file;
    request.overrides = TRY(parse_overrides(parsed.get<std::vector<std::string>>("set")));
    for (const std::string& condition : conditions) {
        if (const auto equals = condition.find('='); equals == std::string::npos || equals == 0) {
            return make_error(ErrorCode::invalid_input,
                              condition +
                                  ": which field? Write field=value, as in method=nf4 or "
                                  "'batch=>=8'");
        }
    }
    const std::string yaml = TRY(read_experiment(request.file));
    const CellExplanation found =
        TRY(explain_cells(text_of(request, yaml), TRY(parse_overrides(conditions))));
    if (found.matching > static_cast<std::int64_t>(found.cells.size())) {
        std::fprintf(stderr, "the first %zu of %lld combinations\n", found.cells.size(),
                     static_cast<long long>(found.matching));
    }
    const Table table =
        found.cells.size() == 1 ? fields_of_one(found.cells.front()) : list_of(found);
    const int printed = print_table(table, parsed.shared);
    const bool any = std::ranges::any_of(
        found.cells, [](const ExplainedCell& one) { return one.fate == "cell"; });
    return printed != exit_done ? printed : int{any ? exit_done : exit_some_failed};
}

}  // namespace bitsweep
