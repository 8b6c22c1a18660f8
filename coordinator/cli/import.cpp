// `bitsweep import`: other tools' results beside ours.
#include <chrono>
#include <iostream>

#include "coordinator/cli/command.h"
#include "coordinator/cli/options.h"
#include "coordinator/cli/tables.h"
#include "results/store/external.h"

namespace bitsweep {

namespace {

namespace po = boost::program_options;

std::string about() {
    std::string text =
        "Reads results of other tools into the database, where reports show them as `external` "
        "and\n"
        "nothing ever pools them with bitsweep's own. A file whose bytes are there already "
        "changes\n"
        "nothing. The format is recognised by the content: llama-bench -o json, jsonl or sql;\n"
        "optimum-benchmark's benchmark.json; CSV with these columns (units: worker/metrics):\n\n";
    for (const CsvColumn& column : csv_columns()) {
        std::string name(column.name);
        name.resize(22, ' ');
        text += "  " + name + std::string(column.meaning) +
                (column.unit.empty() ? "" : ", " + std::string(column.unit)) + "\n";
    }
    return text + "\n`bitsweep query --view v_external` shows what was imported.\n";
}

std::int64_t now_unix_ms() {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
}

// Every file is read before anything is written: a mistake in the last changes nothing.
Result<Table> import(const SharedOptions& shared, const std::vector<std::string>& names) {
    if (names.empty()) {
        return make_error(ErrorCode::invalid_input,
                          "which files? usage: bitsweep import FILE... (llama-bench, "
                          "optimum-benchmark or CSV)");
    }
    std::vector<ExternalFile> files;
    Table table;
    table.columns = {"file", "format", "configurations", "skipped"};
    for (const std::string& name : names) {
        files.push_back(TRY(read_external(name)));
        const ExternalFile& file = files.back();
        table.rows.push_back({cell(file.name), cell(file.format),
                              cell(static_cast<std::int64_t>(file.runs.size())),
                              cell(std::int64_t{file.skipped})});
    }
    const int fresh = TRY(store_external(shared.db, files, now_unix_ms()));
    std::fprintf(stderr, "%d of %zu files were new to %s\n", fresh, files.size(),
                 shared.db.c_str());
    return table;
}

}  // namespace

int command_import(const Arguments& arguments) {
    OptionSet options("import FILE...", about());
    options.positional("files", -1);
    const Parsed parsed = options.parse(arguments);
    if (parsed.stop) {
        return *parsed.stop;
    }
    const Result<Table> table =
        import(parsed.shared, parsed.get<std::vector<std::string>>("files"));
    return table ? print_table(*table, parsed.shared) : report(table.error());
}

}  // namespace bitsweep
