#include "coordinator/cli/tables.h"

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
