// A thin owner of SQLite's C API: handles close themselves, errors are values that carry SQLite's
// words. Nothing here knows bitsweep's tables.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <unordered_map>

#include "schemas/status.h"

namespace bitsweep {

// What a caller can do about a result code: io (disk full, read-only, locked, cannot open),
// corrupt (not a database, damaged), timeout (interrupted), out_of_memory, internal (a constraint
// broke: our bug), else invalid_input (the SQL itself is wrong).
ErrorCode error_code_of(int sqlite_code);

// A prepared statement. A failed bind is remembered and reported by the next step().
class Statement {
 public:
    explicit Statement(sqlite3_stmt* statement) : handle_(statement) {}

    Statement& bind(int index, std::int64_t value);  // index counts from 1, as in SQLite
    Statement& bind(int index, int value) { return bind(index, std::int64_t{value}); }
    Statement& bind(int index, double value);            // NaN becomes NULL, as SQLite does
    Statement& bind(int index, std::string_view value);  // copied
    Statement& bind(int index, const char* value) { return bind(index, std::string_view(value)); }
    Statement& bind_null(int index);
    template <class... Values>
    Statement& bind_all(const Values&... values) {
        int index = 0;
        (bind(++index, values), ...);
        return *this;
    }

    // Binds every parameter, runs to the end and is ready again. Nothing is copied: the values live
    // during the call, and the next one binds others before it steps.
    template <class... Values>
    Status execute(const Values&... values) {
        int index = 0;
        (bind_in_place(++index, values), ...);
        return run_in_place();
    }

    // The same for one statement that takes the values of several rows, one behind the other.
    // `values_of(row)` is a tuple of them.
    template <class Rows, class ValuesOf>
    Status execute_rows(const Rows& rows, const ValuesOf& values_of) {
        int index = 0;
        for (const auto& row : rows) {
            const auto bind_row = [&](const auto&... values) {
                (bind_in_place(++index, values), ...);
            };
            std::apply(bind_row, values_of(row));
        }
        return run_in_place();
    }

    Result<bool> step();  // true: a row is there; false: done
    Status run();         // steps to the end, then makes the statement ready for the next use
    void reset();         // ends the read that a half-read statement holds open

    // Columns of the row, counted from 0. A NULL reads as 0 or "".
    std::int64_t integer(int column) const;
    double real(int column) const;
    std::string text(int column) const;
    std::string_view view(int column) const;  // until the next step
    bool is_null(int column) const;
    sqlite3_stmt* raw() const { return handle_.get(); }

 private:
    template <class Value>
    void bind_in_place(int index, const Value& value) {
        if constexpr (std::is_convertible_v<const Value&, std::string_view>) {
            bind_text(index, value, SQLITE_STATIC);
        } else if constexpr (requires { value.has_value(); }) {
            value ? bind_in_place(index, *value) : void(bind_null(index));
        } else {
            bind(index, value);
        }
    }
    void bind_text(int index, std::string_view value, sqlite3_destructor_type owner);
    // As run(), but what is bound stays bound.
    Status run_in_place();

    struct Finalizer {
        void operator()(sqlite3_stmt* s) const { sqlite3_finalize(s); }
    };
    std::unique_ptr<sqlite3_stmt, Finalizer> handle_;
    int bind_error_ = SQLITE_OK;
};

class Connection {
 public:
    // `flags` as sqlite3_open_v2 takes them. io: cannot be opened.
    static Result<Connection> open(const std::filesystem::path& file, int flags);
    // `uri` is a file: URI; `shown` is the name that messages use.
    static Result<Connection> open_uri(const std::string& uri, const std::filesystem::path& shown,
                                       int flags);

    Status exec(const char* sql);  // any number of statements, no rows
    Result<Statement> prepare(std::string_view sql);
    // Prepared once and kept; `sql` must be a constant that outlives the connection.
    Result<Statement*> cached(std::string_view sql);
    Result<std::int64_t> integer(std::string_view sql);  // first column of the first row, or 0
    std::int64_t last_rowid() const;
    bool in_transaction() const;
    // The newest error of this connection, in one line that names the file.
    Error error() const;
    sqlite3* raw() const { return handle_.get(); }

 private:
    Connection(sqlite3* handle, std::filesystem::path shown)
        : handle_(handle), shown_(std::move(shown)) {}
    struct Closer {
        void operator()(sqlite3* db) const { sqlite3_close_v2(db); }
    };
    // Declared before the statements: they must go first.
    std::unique_ptr<sqlite3, Closer> handle_;
    std::filesystem::path shown_;
    std::unordered_map<const char*, Statement> statements_;  // by where the constant stands
};

}  // namespace bitsweep
