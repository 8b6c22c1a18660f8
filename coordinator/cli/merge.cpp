// `bitsweep merge`: results of other databases into this one.
#include "results/store/merge.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/options.h"
#include "coordinator/cli/tables.h"

namespace bitsweep {

namespace {

// `table` has a row for each source that was merged, also where a later one fails.
Status merge(const SharedOptions& shared, const std::vector<std::string>& sources, Table& table) {
    if (sources.empty()) {
        return make_error(ErrorCode::invalid_input,
                          "which databases? usage: bitsweep merge DB... --db TARGET");
    }
    for (const std::string& source : sources) {
        TRY(check_source(shared.db, source));  // of all of them before anything is changed
    }
    for (const std::string& source : sources) {
        const Merged merged = TRY(merge_database(shared.db, source));
        table.rows.push_back({cell(source), cell(merged.experiments), cell(merged.jobs),
                              cell(merged.runs), cell(merged.known_runs), cell(merged.second_runs),
                              cell(merged.external_files)});
    }
    return {};
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
    Table table;
    table.columns = {"database",   "new experiments",       "new cells",         "new runs",
                     "known runs", "second runs of a cell", "new external files"};
    const Status merged =
        merge(parsed.shared, parsed.get<std::vector<std::string>>("databases"), table);
    if (!merged && table.rows.empty()) {
        return report(merged.error());
    }
    const int printed = print_table(table, parsed.shared);
    if (merged) {
        return printed;
    }
    report(make_error(merged.error().code,
                      merged.error().message + "; what the table names was merged before"));
    return exit_some_failed;
}

}  // namespace bitsweep
