#include "results/store/migrate.h"

#include <iterator>
#include <string>
#include <string_view>

#include "results/store/embedded_migrations.h"

namespace bitsweep {
namespace {

// Migration N brings user_version from N to N + 1.
constexpr std::string_view migrations[] = {
    embedded::_001_init_sql,         embedded::_002_orders_sql,
    embedded::_003_external_sql,     embedded::_004_asked_sql,
    embedded::_005_states_sql,       embedded::_006_card_condition_sql,
    embedded::_007_sentinels_sql,    embedded::_008_foreign_load_sql,
    embedded::_009_shared_specs_sql, embedded::_010_disturbed_sql};

}  // namespace

int newest_schema() {
    return static_cast<int>(std::size(migrations));
}

Result<SchemaState> check_schema(Connection& connection, const std::filesystem::path& file) {
    const std::int64_t tables = TRY(connection.integer("SELECT count(*) FROM sqlite_schema"));
    const std::int64_t application = TRY(connection.integer("PRAGMA application_id"));
    const std::int64_t version = TRY(connection.integer("PRAGMA user_version"));
    if (tables == 0 && application == 0 && version == 0) {
        return SchemaState::empty;
    }
    if (application != database_application_id) {
        return make_error(ErrorCode::corrupt,
                          file.string() +
                              ": an SQLite database, but not one of bitsweep; nothing was changed, "
                              "give another file with --db");
    }
    if (version > newest_schema()) {
        return make_error(ErrorCode::unsupported,
                          file.string() + ": has schema version " + std::to_string(version) +
                              ", this bitsweep knows up to " + std::to_string(newest_schema()) +
                              "; nothing was changed, use a newer bitsweep");
    }
    return SchemaState::ours;
}

namespace {

// What a table refers to may be another table for a moment: rows are checked when all is done.
Status run_migrations(Connection& connection, std::int64_t version) {
    for (std::int64_t next = version; next < newest_schema(); ++next) {
        const std::string script =
            "BEGIN IMMEDIATE;" + std::string(migrations[next]) +
            ";PRAGMA application_id = " + std::to_string(database_application_id) +
            ";PRAGMA user_version = " + std::to_string(next + 1);
        TRY(connection.exec(script.c_str()));
        Statement orphans = TRY(connection.prepare("PRAGMA foreign_key_check"));
        if (TRY(orphans.step())) {
            return make_error(ErrorCode::corrupt, "migration " + std::to_string(next + 1) +
                                                      ": a row of " + orphans.text(0) +
                                                      " refers to nothing in " + orphans.text(2) +
                                                      "; nothing was changed");
        }
        TRY(connection.exec("COMMIT"));
    }
    return {};
}

}  // namespace

Status migrate(Connection& connection) {
    const std::int64_t version = TRY(connection.integer("PRAGMA user_version"));
    if (version >= newest_schema()) {
        return {};
    }
    const std::int64_t checked = TRY(connection.integer("PRAGMA foreign_keys"));
    TRY(connection.exec("PRAGMA foreign_keys = OFF"));
    Status done = run_migrations(connection, version);
    if (!done && connection.in_transaction()) {
        TRY(connection.exec("ROLLBACK"));
    }
    TRY(connection.exec("PRAGMA legacy_alter_table = OFF"));
    TRY(connection.exec(checked == 0 ? "PRAGMA foreign_keys = OFF" : "PRAGMA foreign_keys = ON"));
    return done;
}

}  // namespace bitsweep
