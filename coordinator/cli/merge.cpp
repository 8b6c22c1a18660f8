// `bitsweep merge`: results of other databases into this one.
#include "results/store/merge.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/options.h"
#include "coordinator/cli/tables.h"

namespace bitsweep {

namespace {

Result<Table> merge(const SharedOptions& shared, const std::vector<std::string>& sources) {
    if (sources.empty()) {
        return make_error(ErrorCode::invalid_input,
                          "which databases? usage: bitsweep merge DB... --db TARGET");
    }
    Table table;
    table.columns = {"database",   "new experiments",       "new cells",         "new runs",
                     "known runs", "second runs of a cell", "new external files"};
    for (const std::string& source : sources) {
        const Merged merged = TRY(merge_database(shared.db, source));
        table.rows.push_back({cell(source), cell(merged.experiments), cell(merged.jobs),
                              cell(merged.runs), cell(merged.known_runs), cell(merged.second_runs),
                              cell(merged.external_files)});
    }
    return table;
}

}  // namespace

int command_merge(const Arguments& arguments) {
    OptionSet options("merge DB... [--db TARGET]",
                      "Adds the results of other databases to this one. Merging again changes\n"
                      "nothing: cells are known by their content, runs by what they are.");
    options.positional("databases", -1);
    const Parsed parsed = options.parse(arguments);
    if (parsed.stop) {
        return *parsed.stop;
    }
    const Result<Table> table =
        merge(parsed.shared, parsed.get<std::vector<std::string>>("databases"));
    return table ? print_table(*table, parsed.shared) : report(table.error());
}

}  // namespace bitsweep
