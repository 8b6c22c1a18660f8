// The schema's version: who may open a file, and how an older one becomes a new one.
#pragma once

#include "results/store/sqlite.h"
#include "schemas/status.h"

namespace bitsweep {

// "bswp" in the file's header: how `file` and we tell a bitsweep database from others.
inline constexpr int database_application_id = 0x62737770;

// Version of the newest migration in this build.
int newest_schema();

enum class SchemaState { empty, ours };  // empty: no table yet

// Changes nothing. corrupt: not SQLite, or another program's database; unsupported: a newer schema.
Result<SchemaState> check_schema(Connection& connection, const std::filesystem::path& file);

// Runs the missing migrations, each in a transaction with its own version number, so that a crash
// leaves a whole version. Only after check_schema.
Status migrate(Connection& connection);

}  // namespace bitsweep
