#include "coordinator/cli/tables.h"

#include <algorithm>
#include <cstddef>
#include <iostream>

#include "results/analysis/summary.h"

namespace bitsweep {

Table::Value cell(std::string text) {
    Table::Value value;
    value.kind = Table::Kind::text;
    value.text = std::move(text);
    return value;
}

Table::Value cell(std::int64_t integer) {
    Table::Value value;
    value.kind = Table::Kind::integer;
    value.integer = integer;
    return value;
}

void drop_idle_columns(Table& table, std::size_t first) {
    const auto is_idle = [](const Table::Value& value) {
        return value.kind == Table::Kind::text      ? value.text.empty()
               : value.kind == Table::Kind::integer ? value.integer == 0
                                                    : value.kind == Table::Kind::null;
    };
    for (std::size_t i = table.columns.size(); i-- > first;) {
        const auto at = static_cast<std::ptrdiff_t>(i);
        if (std::ranges::all_of(table.rows, [&](const auto& row) { return is_idle(row[i]); })) {
            table.columns.erase(table.columns.begin() + at);
            for (auto& row : table.rows) {
                row.erase(row.begin() + at);
            }
        }
    }
}

int print_table(const Table& table, const SharedOptions& shared) {
    const Result<std::string> text =
        format_table(table, shared.format.empty() ? "table" : shared.format,
                     is_terminal(1) ? terminal_width() : 0);
    if (!text) {
        return report(text.error());
    }
    std::cout << *text << std::flush;
    return exit_done;
}

}  // namespace bitsweep
