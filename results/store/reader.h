// SQL that people type: one statement, reading only, bounded in time and size.
#pragma once

#include <string>

#include "results/store/sqlite.h"
#include "results/store/store.h"

namespace bitsweep {

// Prepares a connection for strangers' SQL: an authorizer that lets reading through and nothing
// else, no attached files, no oversized values. For connections that were opened read-only.
void restrict_to_reading(Connection& connection);

// invalid_input: SQLite's words, a statement that would write, more than one statement, a result
// too large; timeout: longer than `limit_ms`.
Result<Table> run_query(Connection& connection, const std::string& sql, std::int64_t limit_ms);

}  // namespace bitsweep
