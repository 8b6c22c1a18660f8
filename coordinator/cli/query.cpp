// `bitsweep query`: read-only SQL or a named view.
#include <iostream>

#include "coordinator/cli/command.h"
#include "coordinator/cli/options.h"
#include "coordinator/cli/view_query.h"
#include "results/analysis/summary.h"
#include "results/analysis/table_row.h"
#include "results/store/store.h"

namespace bitsweep {

namespace {

namespace po = boost::program_options;

Result<Table> answer(const Parsed& parsed) {
    const auto sql = parsed.get<std::string>("sql");
    const auto view = parsed.get<std::string>("view");
    const auto experiment = parsed.get<std::string>("experiment");
    if (!sql.empty() && !view.empty()) {
        return make_error(ErrorCode::invalid_input, "give either SQL or --view, not both");
    }
    if (view.empty() && !experiment.empty()) {
        return make_error(ErrorCode::invalid_input,
                          "--experiment belongs to --view; in SQL write WHERE experiment = " +
                              sql_text(experiment));
    }
    const auto store = TRY(Store::open(parsed.shared.db, OpenMode::read_only));
    if (view.empty()) {
        return store->query(sql.empty() ? views_sql : sql);
    }
    return store->query(TRY(select_view(*store, view, experiment)));
}

// SQL may begin with lines of comment, which would be read as flags.
Arguments without_leading_comments(Arguments arguments) {
    for (std::string& word : arguments) {
        while (word.starts_with("--") && word.find('\n') != std::string::npos) {
            word.erase(0, word.find('\n') + 1);
        }
    }
    return arguments;
}

}  // namespace

int command_query(const Arguments& arguments) {
    OptionSet options("query [SQL] [--view NAME] [--experiment E]",
                      "Read-only SQL or a named view; without arguments, lists the views.\n"
                      "A table on a terminal, else CSV; --format says otherwise.");
    // clang-format off
    options.add()
        ("view", po::value<std::string>()->value_name("NAME"), "all rows of a view, e.g. v_speedup")
        ("experiment", po::value<std::string>()->value_name("E"), "only this experiment's rows");
    // clang-format on
    options.positional("sql", 1);
    const Parsed parsed = options.parse(without_leading_comments(arguments));
    if (parsed.stop) {
        return *parsed.stop;
    }
    const Result<Table> table = answer(parsed);
    if (!table) {
        return report(table.error());
    }
    // Nothing is shortened unless a person looks at it.
    const bool on_terminal = is_terminal(1);
    const std::string format =
        !parsed.shared.format.empty() ? parsed.shared.format : (on_terminal ? "table" : "csv");
    const Result<std::string> text =
        format_table(*table, format, on_terminal ? terminal_width() : 0);
    if (!text) {
        return report(text.error());
    }
    std::cout << *text << std::flush;
    return exit_done;
}

}  // namespace bitsweep
