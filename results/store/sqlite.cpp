#include "results/store/sqlite.h"

namespace bitsweep {
namespace {

// What a person can do about it, beside SQLite's own words.
std::string_view advice(int code) {
    switch (code & 0xff) {
        case SQLITE_FULL:
            return "; free some space, what was acknowledged is kept; a coordinator goes on by "
                   "itself";
        case SQLITE_READONLY:
        case SQLITE_PERM:
            return "; make the file and its folder writable, or give another one with --db";
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
            return "; another program holds a lock on it: end that one, then try again";
        case SQLITE_CANTOPEN:
            return "; check that the folder exists and may be written";
        default:
            return "";
    }
}

Error describe(int code, const char* words, const std::filesystem::path& file) {
    return make_error(error_code_of(code),
                      file.string() + ": " + words + std::string(advice(code)));
}

std::filesystem::path file_of(sqlite3_stmt* statement) {
    const char* file = sqlite3_db_filename(sqlite3_db_handle(statement), "main");
    return file != nullptr && *file != 0 ? file : "(in memory)";
}

}  // namespace

ErrorCode error_code_of(int sqlite_code) {
    switch (sqlite_code & 0xff) {
        case SQLITE_FULL:
        case SQLITE_IOERR:
        case SQLITE_READONLY:
        case SQLITE_CANTOPEN:
        case SQLITE_PERM:
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
        case SQLITE_PROTOCOL:
            return ErrorCode::io;
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB:
            return ErrorCode::corrupt;
        case SQLITE_INTERRUPT:
            return ErrorCode::timeout;
        case SQLITE_NOMEM:
            return ErrorCode::out_of_memory;
        case SQLITE_CONSTRAINT:
        case SQLITE_MISUSE:
        case SQLITE_RANGE:
            return ErrorCode::internal;
        default:
            return ErrorCode::invalid_input;
    }
}

Statement& Statement::bind(int index, std::int64_t value) {
    const int code = sqlite3_bind_int64(raw(), index, value);
    bind_error_ = bind_error_ == SQLITE_OK ? code : bind_error_;
    return *this;
}

Statement& Statement::bind(int index, double value) {
    const int code = sqlite3_bind_double(raw(), index, value);
    bind_error_ = bind_error_ == SQLITE_OK ? code : bind_error_;
    return *this;
}

void Statement::bind_text(int index, std::string_view value, sqlite3_destructor_type owner) {
    // A null pointer would bind NULL; an empty text has to stay a text.
    const char* data = value.data() == nullptr ? "" : value.data();
    const int code = sqlite3_bind_text64(raw(), index, data, value.size(), owner, SQLITE_UTF8);
    bind_error_ = bind_error_ == SQLITE_OK ? code : bind_error_;
}

Statement& Statement::bind(int index, std::string_view value) {
    bind_text(index, value, SQLITE_TRANSIENT);
    return *this;
}

Statement& Statement::bind_null(int index) {
    const int code = sqlite3_bind_null(raw(), index);
    bind_error_ = bind_error_ == SQLITE_OK ? code : bind_error_;
    return *this;
}

Result<bool> Statement::step() {
    if (bind_error_ != SQLITE_OK) {
        const int code = std::exchange(bind_error_, SQLITE_OK);
        return describe(code, sqlite3_errstr(code), file_of(raw()));
    }
    const int code = sqlite3_step(raw());
    if (code == SQLITE_ROW) {
        return true;
    }
    if (code == SQLITE_DONE) {
        return false;
    }
    sqlite3* db = sqlite3_db_handle(raw());
    const Error error = describe(sqlite3_extended_errcode(db), sqlite3_errmsg(db), file_of(raw()));
    reset();
    return error;
}

Status Statement::run() {
    TRY(run_in_place());
    sqlite3_clear_bindings(raw());
    return {};
}

Status Statement::run_in_place() {
    while (TRY(step())) {
    }
    sqlite3_reset(raw());
    return {};
}

void Statement::reset() {
    sqlite3_reset(raw());
    sqlite3_clear_bindings(raw());
}

std::int64_t Statement::integer(int column) const {
    return sqlite3_column_int64(raw(), column);
}

double Statement::real(int column) const {
    return sqlite3_column_double(raw(), column);
}

std::string_view Statement::view(int column) const {
    const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(raw(), column));
    const auto size = static_cast<std::size_t>(sqlite3_column_bytes(raw(), column));
    return bytes == nullptr ? std::string_view() : std::string_view(bytes, size);
}

std::string Statement::text(int column) const {
    return std::string(view(column));
}

bool Statement::is_null(int column) const {
    return sqlite3_column_type(raw(), column) == SQLITE_NULL;
}

Result<Connection> Connection::open(const std::filesystem::path& file, int flags) {
    // Nobody asks for SQLite's own count of bytes, and it costs a lock at every allocation.
    [[maybe_unused]] static const int once = sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    sqlite3* db = nullptr;
    const int code = sqlite3_open_v2(file.c_str(), &db,
                                     flags | SQLITE_OPEN_EXRESCODE | SQLITE_OPEN_NOMUTEX, nullptr);
    Connection connection(db, file);
    if (code != SQLITE_OK) {
        return describe(code, sqlite3_errstr(code), file);
    }
    return connection;
}

Result<Connection> Connection::open_uri(const std::string& uri, const std::filesystem::path& shown,
                                        int flags) {
    Connection connection = TRY(open(uri, flags | SQLITE_OPEN_URI));
    connection.shown_ = shown;
    return connection;
}

Status Connection::exec(const char* sql) {
    if (sqlite3_exec(raw(), sql, nullptr, nullptr, nullptr) != SQLITE_OK) {
        return error();
    }
    return {};
}

Result<Statement> Connection::prepare(std::string_view sql) {
    sqlite3_stmt* statement = nullptr;
    const int code =
        sqlite3_prepare_v2(raw(), sql.data(), static_cast<int>(sql.size()), &statement, nullptr);
    if (code != SQLITE_OK) {
        return error();
    }
    return Statement(statement);
}

Result<Statement*> Connection::cached(std::string_view sql) {
    auto found = statements_.find(sql.data());
    if (found == statements_.end()) {
        found = statements_.emplace(sql.data(), TRY(prepare(sql))).first;
    }
    return &found->second;
}

Result<std::int64_t> Connection::integer(std::string_view sql) {
    Statement statement = TRY(prepare(sql));
    return TRY(statement.step()) ? statement.integer(0) : 0;
}

std::int64_t Connection::last_rowid() const {
    return sqlite3_last_insert_rowid(raw());
}

bool Connection::in_transaction() const {
    return sqlite3_get_autocommit(raw()) == 0;
}

Error Connection::error() const {
    return describe(sqlite3_extended_errcode(raw()), sqlite3_errmsg(raw()), shown_);
}

}  // namespace bitsweep
