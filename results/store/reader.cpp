#include "results/store/reader.h"

#include <array>
#include <chrono>
#include <cstring>

namespace bitsweep {
namespace {

using Clock = std::chrono::steady_clock;

// One value may not be larger than any that bitsweep stores: 10 million raw samples of 20 digits
// are 200 MB, and nobody prints those in one cell.
constexpr int largest_value_bytes = 64 << 20;
// Checks the clock every few hundred microseconds of work.
constexpr int instructions_between_checks = 10'000;

// Pragmas that only read. Anything else might change the file or the connection.
constexpr std::array readable_pragmas = {
    "application_id",  "compile_options",   "database_list", "encoding",    "foreign_key_list",
    "function_list",   "index_info",        "index_list",    "index_xinfo", "page_count",
    "page_size",       "table_info",        "table_list",    "table_xinfo", "user_version",
    "integrity_check", "foreign_key_check", "quick_check"};

int authorize(void*, int action, const char* first, const char* second, const char*, const char*) {
    switch (action) {
        case SQLITE_SELECT:
        case SQLITE_READ:
        case SQLITE_RECURSIVE:
            return SQLITE_OK;
        case SQLITE_UPDATE:
            // How SQLite declares json_each and its kin to itself. A statement that really would
            // write the schema is not sqlite3_stmt_readonly, and refused for that.
            return std::strcmp(first, "sqlite_master") == 0 ? SQLITE_OK : SQLITE_DENY;
        case SQLITE_FUNCTION:
            return second != nullptr && std::strcmp(second, "load_extension") == 0 ? SQLITE_DENY
                                                                                   : SQLITE_OK;
        case SQLITE_PRAGMA:
            for (const char* name : readable_pragmas) {
                // A read takes no argument, except the table's name in table_info and its kin.
                const bool takes_name =
                    std::strchr(name, '_') != nullptr && std::strcmp(name, "application_id") != 0 &&
                    std::strcmp(name, "user_version") != 0 && std::strcmp(name, "page_size") != 0;
                if (sqlite3_stricmp(name, first) == 0 && (second == nullptr || takes_name)) {
                    return SQLITE_OK;
                }
            }
            return SQLITE_DENY;
        default:
            return SQLITE_DENY;
    }
}

int past_deadline(void* deadline) {
    return Clock::now() > *static_cast<const Clock::time_point*>(deadline) ? 1 : 0;
}

Table::Value value_at(sqlite3_stmt* statement, int column) {
    Table::Value value;
    switch (sqlite3_column_type(statement, column)) {
        case SQLITE_INTEGER:
            value.kind = Table::Kind::integer;
            value.integer = sqlite3_column_int64(statement, column);
            break;
        case SQLITE_FLOAT:
            value.kind = Table::Kind::real;
            value.real = sqlite3_column_double(statement, column);
            break;
        case SQLITE_BLOB: {
            // Our tables hold none; an expression may make one. Shown as SQL writes it.
            value.kind = Table::Kind::text;
            const auto* bytes =
                static_cast<const unsigned char*>(sqlite3_column_blob(statement, column));
            const int size = sqlite3_column_bytes(statement, column);
            value.text = "X'";
            for (int i = 0; i < size; ++i) {
                constexpr char digits[] = "0123456789ABCDEF";
                value.text += digits[bytes[i] >> 4];
                value.text += digits[bytes[i] & 15];
            }
            value.text += "'";
            break;
        }
        case SQLITE_TEXT:
            value.kind = Table::Kind::text;
            value.text.assign(reinterpret_cast<const char*>(sqlite3_column_text(statement, column)),
                              static_cast<std::size_t>(sqlite3_column_bytes(statement, column)));
            break;
        default:
            break;
    }
    return value;
}

Result<Table> read_rows(Statement& statement, std::size_t most_bytes) {
    Table table;
    const int columns = sqlite3_column_count(statement.raw());
    for (int i = 0; i < columns; ++i) {
        table.columns.emplace_back(sqlite3_column_name(statement.raw(), i));
    }
    std::size_t bytes = 0;
    while (TRY(statement.step())) {
        std::vector<Table::Value>& row = table.rows.emplace_back();
        row.reserve(static_cast<std::size_t>(columns));
        for (int i = 0; i < columns; ++i) {
            row.push_back(value_at(statement.raw(), i));
            bytes += sizeof(Table::Value) + row.back().text.size();
        }
        if (bytes > most_bytes) {
            return make_error(ErrorCode::invalid_input,
                              "the result is larger than " + std::to_string(most_bytes >> 20) +
                                  " MiB (" + std::to_string(table.rows.size()) +
                                  " rows so far): add a WHERE or a LIMIT, or read the file with "
                                  "sqlite3");
        }
    }
    return table;
}

Result<Statement> prepare_single(Connection& connection, const std::string& sql) {
    sqlite3_stmt* raw = nullptr;
    const char* rest = nullptr;
    const int code = sqlite3_prepare_v2(connection.raw(), sql.c_str(),
                                        static_cast<int>(sql.size()) + 1, &raw, &rest);
    Statement statement(raw);
    if (code == SQLITE_AUTH) {
        return make_error(ErrorCode::invalid_input,
                          "only reading is allowed here; bitsweep never lets SQL change results");
    }
    if (code != SQLITE_OK) {
        return make_error(ErrorCode::invalid_input,
                          std::string("SQL: ") + sqlite3_errmsg(connection.raw()));
    }
    if (raw == nullptr) {
        return make_error(ErrorCode::invalid_input, "SQL: there is no statement");
    }
    // What follows may be blanks, semicolons and comments: those prepare to nothing.
    while (*rest != 0) {
        sqlite3_stmt* next = nullptr;
        const int next_code = sqlite3_prepare_v2(connection.raw(), rest, -1, &next, &rest);
        Statement other(next);
        if (next_code != SQLITE_OK || next != nullptr) {
            return make_error(ErrorCode::invalid_input,
                              "SQL: one statement at a time; what follows the first `;` is "
                              "another");
        }
    }
    if (sqlite3_stmt_readonly(raw) == 0) {
        return make_error(ErrorCode::invalid_input,
                          "only reading is allowed here; bitsweep never lets SQL change results");
    }
    return statement;
}

}  // namespace

void restrict_to_reading(Connection& connection) {
    sqlite3* db = connection.raw();
    sqlite3_set_authorizer(db, authorize, nullptr);
    sqlite3_limit(db, SQLITE_LIMIT_ATTACHED, 0);
    sqlite3_limit(db, SQLITE_LIMIT_LENGTH, largest_value_bytes);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
}

Result<Table> run_query(Connection& connection, const std::string& sql, const QueryLimits& limits) {
    Statement statement = TRY(prepare_single(connection, sql));
    Clock::time_point deadline = Clock::now() + std::chrono::milliseconds(limits.ms);
    sqlite3_progress_handler(connection.raw(), instructions_between_checks, past_deadline,
                             &deadline);
    Result<Table> table = read_rows(statement, limits.bytes);
    sqlite3_progress_handler(connection.raw(), 0, nullptr, nullptr);
    if (!table && table.error().code == ErrorCode::timeout) {
        return make_error(ErrorCode::timeout,
                          "the query took longer than " + std::to_string(limits.ms / 1000) +
                              " s and was ended; narrow it, or run it in the sqlite3 shell");
    }
    return table;
}

}  // namespace bitsweep
