// Small helpers for tables that a command builds by hand.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "coordinator/cli/options.h"
#include "results/store/store.h"

namespace bitsweep {

Table::Value cell(std::string text);
Table::Value cell(std::int64_t integer);

// Takes out the columns from `first` on that have nothing but 0 and empty texts: a narrow terminal
// has better use for the room.
void drop_idle_columns(Table& table, std::size_t first);

// To standard output in the format of --format; returns an ExitCode.
int print_table(const Table& table, const SharedOptions& shared);

}  // namespace bitsweep
