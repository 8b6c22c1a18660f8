#include "results/store/reader.h"
#include "results/store/sqlite.h"
#include "tests/store/fixture.h"

namespace bitsweep::testing {
namespace {

struct Query : ::testing::Test {
    TempFolder folder;
    std::unique_ptr<Store> store = open_store(folder / "a.db");
    void SetUp() override { put_jobs(*store, "e", {make_job("fp16")}); }

    Error refusal(const std::string& sql) {
        const Result<Table> table = store->query(sql);
        EXPECT_FALSE(table.ok()) << sql;
        return table.ok() ? Error{} : table.error();
    }
};

TEST_F(Query, valuesKeepTheirKinds) {
    const Table table =
        store->query("SELECT 1 AS i, 1.5 AS r, 'x' AS t, NULL AS n, X'00ff' AS b").value();
    EXPECT_EQ(table.columns, (std::vector<std::string>{"i", "r", "t", "n", "b"}));
    ASSERT_EQ(table.rows.size(), 1u);
    const auto& row = table.rows[0];
    EXPECT_EQ(row[0].kind, Table::Kind::integer);
    EXPECT_EQ(row[0].integer, 1);
    EXPECT_EQ(row[1].kind, Table::Kind::real);
    EXPECT_EQ(row[1].real, 1.5);
    EXPECT_EQ(row[2].text, "x");
    EXPECT_EQ(row[3].kind, Table::Kind::null);
    EXPECT_EQ(row[4].text, "X'00FF'");
}

TEST_F(Query, statementsThatWouldWriteAreRefusedAndChangeNothing) {
    for (const char* sql : {"DELETE FROM jobs",
                            "INSERT INTO events VALUES (1, 2, 'x', '{}')",
                            "DROP TABLE runs",
                            "UPDATE jobs SET state = 'done' RETURNING id",
                            "CREATE TABLE t (x)",
                            "CREATE TEMP TABLE t (x)",
                            "CREATE TEMP VIEW v AS SELECT 1",
                            "BEGIN IMMEDIATE",
                            "VACUUM",
                            "VACUUM INTO '/tmp/never'",
                            "ATTACH ':memory:' AS other",
                            "REINDEX",
                            "ANALYZE",
                            "PRAGMA user_version = 3",
                            "PRAGMA application_id = 3",
                            "PRAGMA journal_mode = DELETE",
                            "PRAGMA writable_schema = ON",
                            "PRAGMA foreign_keys = OFF",
                            "UPDATE sqlite_schema SET sql = ''",
                            "SELECT load_extension('x')",
                            "PRAGMA query_only = 0",
                            "SAVEPOINT s"}) {
        EXPECT_EQ(refusal(sql).code, ErrorCode::invalid_input) << sql;
    }
    EXPECT_EQ(number(*store, "SELECT count(*) FROM jobs"), 1);
    EXPECT_EQ(number(*store, "SELECT count(*) FROM jobs WHERE state = 'waiting'"), 1);
    put_jobs(*store, "e", {make_job("int8")});
}

TEST_F(Query, mistakesComeBackInSqlitesWords) {
    EXPECT_NE(refusal("SELEC 1").message.find("syntax error"), std::string::npos);
    EXPECT_NE(refusal("SELECT * FROM jobz").message.find("no such table: jobz"), std::string::npos);
    EXPECT_NE(refusal("").message.find("no statement"), std::string::npos);
    EXPECT_NE(refusal("-- nothing").message.find("no statement"), std::string::npos);
    EXPECT_NE(refusal("SELECT 1; SELECT 2").message.find("one statement"), std::string::npos);
}

TEST_F(Query, whatFollowsTheStatementMayBeBlankOrAComment) {
    EXPECT_EQ(number(*store, "SELECT 1;"), 1);
    EXPECT_EQ(number(*store, "SELECT 1;  \n ; -- the end\n /* really */"), 1);
}

TEST_F(Query, jsonWindowsCommonTablesAndTheSchemaWork) {
    EXPECT_EQ(number(*store, "SELECT sum(value) FROM json_each('[1,2,3]')"), 6);
    EXPECT_EQ(number(*store,
                     "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
                     "LIMIT 10) SELECT sum(i) FROM n"),
              55);
    EXPECT_EQ(number(*store, "SELECT count(*) FROM pragma_table_info('bindings')"), 4);
    EXPECT_EQ(store->query("PRAGMA table_info(bindings)").value().rows.size(), 4u);
    EXPECT_EQ(store->query("EXPLAIN QUERY PLAN SELECT * FROM runs").value().rows.size(), 1u);
}

TEST_F(Query, aQueryWithoutEndIsEndedInTime) {
    auto connection = Connection::open(folder / "a.db", SQLITE_OPEN_READONLY);
    ASSERT_TRUE(connection.ok());
    restrict_to_reading(*connection);
    const std::string endless =
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
    const auto table = run_query(*connection, endless, {50, 1 << 20});
    ASSERT_FALSE(table.ok());
    EXPECT_EQ(table.error().code, ErrorCode::timeout);
    EXPECT_TRUE(run_query(*connection, "SELECT 1", {50, 1 << 20}).ok());
}

TEST_F(Query, anOversizedResultIsRefusedBeforeItFillsTheMemory) {
    auto connection = Connection::open(folder / "a.db", SQLITE_OPEN_READONLY);
    ASSERT_TRUE(connection.ok());
    restrict_to_reading(*connection);
    const auto table = run_query(*connection,
                                 "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
                                 " SELECT hex(zeroblob(100000)) FROM n",
                                 {10'000, 4 << 20});
    ASSERT_FALSE(table.ok());
    EXPECT_EQ(table.error().code, ErrorCode::invalid_input);
    EXPECT_NE(table.error().message.find("larger than 4 MiB (21 rows so far)"), std::string::npos)
        << table.error().message;
    EXPECT_EQ(refusal("SELECT zeroblob(100000000)").code, ErrorCode::invalid_input);
}

}  // namespace
}  // namespace bitsweep::testing
