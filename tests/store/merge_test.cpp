// Databases joined: what arrives, and that a second time changes nothing.
#include "results/store/merge.h"

#include "results/store/external.h"
#include "schemas/codec.h"
#include "tests/store/fixture.h"

namespace bitsweep::testing {
namespace {

namespace fs = std::filesystem;

struct Merge : ::testing::Test {
    TempFolder folder;
    fs::path here = folder / "here.db", there = folder / "there.db";

    // One finished job of `method` in the experiment.
    void add(const fs::path& db, const std::string& experiment, const std::string& method,
             double rate, std::int64_t started = 1000, const std::string& device = "test cpu") {
        const auto store = open_store(db);
        const StoredJob job = make_job(method);
        put_jobs(*store, experiment, {job});
        FinishedRun run = make_run(job, rate);
        run.result.started_unix_ms = started;
        run.result.finished_unix_ms = started + 1000;
        run.result.samples = {{"decode_rate", "token/s", {rate, rate + 1}}};
        run.device_name = device;
        put_run(*store, run);
    }
    double ask(const std::string& sql) {
        return number(*open_store(here, OpenMode::read_only), sql);
    }
    Merged merge() {
        const Result<Merged> merged = merge_database(here, there);
        EXPECT_TRUE(merged.ok()) << merged.error().message;
        return merged.ok() ? *merged : Merged{};
    }
};

TEST_F(Merge, bringsExperimentsCellsRunsAndSamples) {
    add(here, "e", "fp16", 100);
    add(there, "e", "int8", 150);
    add(there, "other", "nf4", 90);
    const Merged merged = merge();
    EXPECT_EQ(merged.experiments, 1);
    EXPECT_EQ(merged.jobs, 2);
    EXPECT_EQ(merged.runs, 2);
    EXPECT_EQ(ask("SELECT count(*) FROM v_cells"), 3);
    EXPECT_EQ(ask("SELECT decode_tokens_per_s FROM v_results WHERE method = 'int8'"), 150);
    EXPECT_EQ(ask("SELECT count(*) FROM v_samples WHERE method = 'int8'"), 2);
    // The pair was measured apart and meets here.
    EXPECT_EQ(ask("SELECT speedup FROM v_speedup WHERE method = 'int8'"), 1.5);
}

TEST_F(Merge, aSecondTimeChangesNothing) {
    add(here, "e", "fp16", 100);
    add(there, "e", "int8", 150);
    merge();
    const Merged again = merge();
    EXPECT_EQ(again.experiments + again.jobs + again.runs + again.second_runs, 0);
    EXPECT_EQ(again.known_runs, 1);
    EXPECT_EQ(ask("SELECT count(*) FROM runs"), 2);
    EXPECT_EQ(ask("SELECT count(*) FROM experiment_jobs"), 2);
}

TEST_F(Merge, aCellOfBothSidesKeepsBothRunsAndShowsTheNewest) {
    add(here, "e", "fp16", 100, 1000);
    add(there, "e", "fp16", 120, 5000);
    const Merged merged = merge();
    EXPECT_EQ(merged.jobs, 0);
    EXPECT_EQ(merged.second_runs, 1);
    EXPECT_EQ(ask("SELECT count(*) FROM runs"), 2);
    EXPECT_EQ(ask("SELECT count(*) FROM v_cells"), 1);
    EXPECT_EQ(ask("SELECT decode_tokens_per_s FROM v_results"), 120);
    EXPECT_EQ(merge().runs, 0);
    EXPECT_EQ(ask("SELECT count(DISTINCT attempt) FROM runs"), 2);
}

TEST_F(Merge, whatWaitedHereIsDoneWhereTheOtherSideHasIt) {
    put_jobs(*open_store(here), "e", {make_job("fp16")});
    add(there, "e", "fp16", 100);
    merge();
    EXPECT_EQ(ask("SELECT count(*) FROM jobs WHERE state = 'done' AND result IS NOT NULL"), 1);
}

TEST_F(Merge, externalFilesComeAlongOnce) {
    add(there, "e", "fp16", 100);
    const fs::path seed = BITSWEEP_SOURCE_DIR "/results/published/seed-t4.csv";
    ASSERT_TRUE(store_external(there, {read_external(seed).value()}, 5).ok());
    EXPECT_EQ(merge().external_files, 1);
    EXPECT_EQ(merge().external_files, 0);
    EXPECT_EQ(ask("SELECT count(*) FROM v_external"), 4);
}

TEST_F(Merge, otherBytesUnderOneNameAreRefusedWithBothDigests) {
    for (const auto& [db, digest] :
         {std::pair(here, "aaaaaaaaaaaaaaaa"), std::pair(there, "bbbbbbbbbbbbbbbb")}) {
        const auto store = open_store(db);
        const StoredJob job = make_job(db == here ? "fp16" : "int8");
        put_jobs(*store, "e", {job});
        FinishedRun run = make_run(job, 100);
        run.result.weights_digest = digest;
        put_run(*store, run);
    }
    const Result<Merged> merged = merge_database(here, there);
    ASSERT_FALSE(merged.ok());
    EXPECT_EQ(merged.error().code, ErrorCode::refused);
    for (const char* words :
         {"model `tiny`", "aaaaaaaaaaaa", "bbbbbbbbbbbb", "nothing of it was merged"}) {
        EXPECT_NE(merged.error().message.find(words), std::string::npos) << merged.error().message;
    }
    EXPECT_EQ(ask("SELECT count(*) FROM jobs"), 1);
}

TEST_F(Merge, aWindowThatCountsIsShownThoughTheOtherSideHasANewerOneThatDoesNot) {
    add(here, "e", "fp16", 100, 1000);
    {
        const auto store = open_store(there);
        const StoredJob job = make_job("fp16");
        put_jobs(*store, "e", {job});
        FinishedRun run = make_run(job, 80);
        run.result.started_unix_ms = 5000;
        run.result.finished_unix_ms = 6000;
        run.result.measurements.push_back({"window_throttled", "1", 0, 1});
        put_run(*store, run);
    }
    EXPECT_EQ(merge().runs, 1);
    EXPECT_EQ(ask("SELECT decode_tokens_per_s FROM v_results"), 100);
    EXPECT_EQ(ask("SELECT count(*) FROM jobs WHERE shown = 'valid'"), 1);
    EXPECT_EQ(ask("SELECT count(*) FROM v_again WHERE NOT is_shown"), 1);
}

TEST_F(Merge, howOftenACellWasMeasuredAgainComesAlong) {
    add(here, "e", "fp16", 100);
    for (const auto& [method, again] : {std::pair("fp16", 1), std::pair("int8", 2)}) {
        add(there, "e", method, 100, 5000);
        const Status done = open_store(there)->transact([&](StoreWriter& writer) {
            StoredState record;
            record.key = make_job(method).key;
            record.state = "done";
            record.attempt = Attempt{1};
            record.shown = "valid";
            record.windows_again = again;
            return writer.set_job(record);
        });
        ASSERT_TRUE(done.ok()) << done.error().message;
    }
    for (int i = 0; i < 2; ++i) {
        merge();
        EXPECT_EQ(ask("SELECT windows_again FROM jobs WHERE method = 'fp16'"), 1);
        EXPECT_EQ(ask("SELECT windows_again FROM jobs WHERE method = 'int8'"), 2);
    }
}

TEST_F(Merge, sentinelsComeAlongAsWhatTheyAre) {
    add(here, "e", "int8", 100);
    {
        const auto store = open_store(there);
        const StoredJob reference = make_job("fp16");
        put_jobs(*store, "e", {reference});
        put_run(*store, make_run(reference, 100));
        StoredJob sentinel = make_job("fp16");
        sentinel.cell.identity.spec_key = "sentinel";
        sentinel.key = cell_key(sentinel.cell.identity);
        sentinel.reference = reference.key;
        sentinel.card = "w/cuda:0";
        const Status done = store->transact([&](StoreWriter& writer) {
            return writer.put_job(ExperimentName{"e"}, sentinel, Membership::sentinel);
        });
        ASSERT_TRUE(done.ok()) << done.error().message;
        put_run(*store, make_run(sentinel, 101));
    }
    merge();
    merge();
    EXPECT_EQ(ask("SELECT count(*) FROM v_cells"), 2);
    EXPECT_EQ(ask("SELECT count(*) FROM v_sentinels"), 1);
    EXPECT_EQ(ask("SELECT tokens_per_s FROM v_sentinels WHERE card = 'w/cuda:0'"), 101);
    EXPECT_EQ(ask("SELECT count(*) FROM v_speedup WHERE method = 'int8' AND speedup <> 1"), 0);
}

TEST_F(Merge, itselfAndNoDatabaseAreRefused) {
    add(here, "e", "fp16", 100);
    EXPECT_NE(merge_database(here, here).error().message.find("with itself"), std::string::npos);
    EXPECT_EQ(merge_database(here, there).error().code, ErrorCode::not_found);
}

}  // namespace
}  // namespace bitsweep::testing
