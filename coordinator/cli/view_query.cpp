#include "coordinator/cli/view_query.h"

#include <algorithm>
#include <vector>

#include "coordinator/cli/options.h"
#include "results/analysis/table_row.h"

namespace bitsweep {

// The first comment of a view is its description (schemas/sql/001_init.sql).
const char* const views_sql =
    "SELECT name AS view, trim(substr(sql, instr(sql, '-- ') + 3,"
    " instr(substr(sql, instr(sql, '-- ')), char(10)) - 4)) AS \"what it shows\""
    " FROM sqlite_schema WHERE type = 'view' AND name GLOB 'v_*' ORDER BY rowid";

namespace {

// A name as an SQL identifier.
std::string identifier(const std::string& name) {
    std::string out = "\"";
    for (const char c : name) {
        out += c;
        if (c == '"') {
            out += c;
        }
    }
    return out + "\"";
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

Status check_column(const std::string& view, const std::vector<std::string>& columns) {
    return std::find(columns.begin(), columns.end(), "experiment") != columns.end()
               ? Status()
               : make_error(
                     ErrorCode::invalid_input,
                     "the rows of `" + view + "` belong to no experiment; ask for it without one");
}

}  // namespace

Result<std::string> select_view(Store& store, const std::string& name,
                                const std::string& experiment) {
    const std::string view = name.starts_with("v_") ? name : "v_" + name;
    const Table views = TRY(store.query(views_sql));
    TRY(check_name("view", view, first_column(views), "`bitsweep query` lists the views"));
    std::string sql = "SELECT * FROM " + identifier(view);
    if (!experiment.empty()) {
        const Table known = TRY(store.query("SELECT name FROM experiments"));
        TRY(check_name("experiment", experiment, first_column(known),
                       "`bitsweep query \"SELECT name FROM experiments\"` lists them"));
        const Table columns =
            TRY(store.query("SELECT name FROM pragma_table_info(" + sql_text(view) + ")"));
        TRY(check_column(view, first_column(columns)));
        sql += " WHERE experiment = " + sql_text(experiment);
    }
    return sql;
}

}  // namespace bitsweep
