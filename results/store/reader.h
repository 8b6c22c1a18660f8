// SQL that people type: one statement, reading only, bounded in time and size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "results/store/sqlite.h"
#include "results/store/store.h"

namespace bitsweep {

// Prepares a connection for strangers' SQL: an authorizer that lets reading through and nothing
// else, no attached files, no oversized values. For connections that were opened read-only.
void restrict_to_reading(Connection& connection);

struct QueryLimits {
    std::int64_t ms = 0;
    std::size_t bytes = 0;  // of the table in memory
};

// invalid_input: SQLite's words, a statement that would write, more than one statement, a result
// too large; timeout: longer than the limit.
Result<Table> run_query(Connection& connection, const std::string& sql, const QueryLimits& limits);

}  // namespace bitsweep
