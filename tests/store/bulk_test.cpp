// Submissions of many new jobs, whose indexes are dropped and built again (bulk_indexes.h).
#include <gtest/gtest.h>

#include "tests/store/fixture.h"

namespace bitsweep::testing {
namespace {

constexpr const char* indexes =
    "SELECT group_concat(sql, ';') FROM (SELECT sql FROM sqlite_schema WHERE type = 'index' AND "
    "tbl_name = 'job_specs' ORDER BY name)";

std::vector<StoredJob> jobs_from(int first, int count) {
    std::vector<StoredJob> jobs;
    for (int i = first; i < first + count; ++i) {
        jobs.push_back(make_job("fp16", i));
    }
    return jobs;
}

TEST(Bulk, many_new_jobs_leave_the_same_indexes_and_are_all_in_them) {
    TempFolder folder;
    auto store = open_store(folder / "a.db");
    const std::string before = text(*store, indexes);
    put_jobs(*store, "small", jobs_from(0, 10));
    put_jobs(*store, "large", jobs_from(5, 9'000));
    put_jobs(*store, "more", jobs_from(8'000, 2'000));
    EXPECT_EQ(text(*store, indexes), before);
    EXPECT_EQ(text(*store, "PRAGMA integrity_check"), "ok");
    EXPECT_EQ(number(*store, "SELECT count(*) FROM jobs"), 10'000);
    EXPECT_EQ(number(*store,
                     "SELECT count(*) FROM job_specs INDEXED BY jobs_spec_key WHERE "
                     "spec_key > ''"),
              10'000);
    const StoredJob one = make_job("fp16", 8'500);
    const auto found = store->find(std::vector<Cell>{one.cell});
    ASSERT_TRUE(found.ok() && found.value().at(0));
    EXPECT_EQ(found.value().at(0)->key, one.key);
}

TEST(Bulk, a_submission_that_fails_at_its_end_leaves_the_indexes_as_they_were) {
    TempFolder folder;
    auto store = open_store(folder / "a.db");
    const std::string before = text(*store, indexes);
    const Status failed = store->transact([&](StoreWriter& writer) -> Status {
        TRY(writer.put_experiment(make_experiment("e")));
        for (const StoredJob& job : jobs_from(0, 5'000)) {
            TRY(writer.put_job({"e"}, job));
        }
        return make_error(ErrorCode::io, "the disk is full");
    });
    EXPECT_FALSE(failed.ok());
    EXPECT_EQ(text(*store, indexes), before);
    EXPECT_EQ(number(*store, "SELECT count(*) FROM jobs"), 0);
    put_jobs(*store, "e", jobs_from(0, 5'000));
    EXPECT_EQ(text(*store, indexes), before);
    EXPECT_EQ(number(*store, "SELECT count(*) FROM jobs"), 5'000);
    EXPECT_EQ(text(*store, "PRAGMA integrity_check"), "ok");
}

}  // namespace
}  // namespace bitsweep::testing
