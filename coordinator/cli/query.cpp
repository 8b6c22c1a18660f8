// `bitsweep query`: read-only SQL or a named view.
#include <iostream>

#include "coordinator/cli/command.h"
#include "coordinator/cli/options.h"
#include "results/analysis/summary.h"
#include "results/store/store.h"

namespace bitsweep {

namespace {

namespace po = boost::program_options;

// The first comment of a view is its description (schemas/sql/001_init.sql).
constexpr const char* views_sql =
    "SELECT name AS view, trim(substr(sql, instr(sql, '-- ') + 3,"
    " instr(substr(sql, instr(sql, '-- ')), char(10)) - 4)) AS \"what it shows\""
    " FROM sqlite_schema WHERE type = 'view' ORDER BY rowid";

std::string quoted(const std::string& text, char mark) {
    std::string out(1, mark);
    for (const char c : text) {
        out += c;
        if (c == mark) {
            out += c;
        }
    }
    return out + mark;
}

std::vector<std::string> first_column(const Table& table) {
    std::vector<std::string> values;
    for (const auto& row : table.rows) {
        values.push_back(row.front().text);
    }
    return values;
}

// `wanted` if it is among `names`, else not_found with the nearest of them.
Status check_name(const char* noun, const std::string& wanted,
                  const std::vector<std::string>& names, const char* remedy) {
    for (const std::string& name : names) {
        if (name == wanted) {
            return {};
        }
    }
    const std::string near = nearest(wanted, names);
    return make_error(ErrorCode::not_found,
                      std::string("there is no ") + noun + " `" + wanted + "`; " +
                          (near.empty() ? remedy : "did you mean `" + near + "`?"));
}

// The SELECT of a view: "speedup" is short for "v_speedup".
Result<std::string> select_view(Store& store, const std::string& name,
                                const std::string& experiment) {
    const std::string view = name.starts_with("v_") ? name : "v_" + name;
    const Table views = TRY(store.query(views_sql));
    TRY(check_name("view", view, first_column(views), "`bitsweep query` lists the views"));
    std::string sql = "SELECT * FROM " + quoted(view, '"');
    if (!experiment.empty()) {
        const Table known = TRY(store.query("SELECT name FROM experiments"));
        TRY(check_name("experiment", experiment, first_column(known),
                       "`bitsweep query \"SELECT name FROM experiments\"` lists them"));
        sql += " WHERE experiment = " + quoted(experiment, '\'');
    }
    return sql;
}

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
                              quoted(experiment, '\''));
    }
    const auto store = TRY(Store::open(parsed.shared.db, OpenMode::read_only));
    if (view.empty()) {
        return store->query(sql.empty() ? views_sql : sql);
    }
    return store->query(TRY(select_view(*store, view, experiment)));
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
    const Parsed parsed = options.parse(arguments);
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
