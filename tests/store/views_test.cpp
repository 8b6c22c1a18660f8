// A small database whose every view was computed by hand.
#include <cstdio>

#include "schemas/catalog/windows.h"
#include "tests/store/fixture.h"

namespace bitsweep::testing {
namespace {

struct Views : ::testing::Test {
    TempFolder folder;
    std::unique_ptr<Store> store = open_store(folder / "a.db");

    void add(const std::string& method, int repeat, double decode,
             std::vector<Measurement> more = {}, const std::string& device_name = "test cpu") {
        const StoredJob job = make_job(method, repeat);
        put_jobs(*store, "e", {job});
        FinishedRun run = make_run(job, decode);
        run.device_name = device_name;
        run.result.measurements.insert(run.result.measurements.end(), more.begin(), more.end());
        put_run(*store, run);
    }
    // As the coordinator says of a cell of which no window counts.
    void flag(const std::string& method, int repeat) {
        StoredState state;
        state.key = make_job(method, repeat).key;
        state.state = "done";
        state.attempt = {1};
        state.shown = "flagged";
        const Status done =
            store->transact([&](StoreWriter& writer) { return writer.set_job(state); });
        ASSERT_TRUE(done.ok()) << done.error().message;
    }
    void fill() {
        add("fp16", 0, 100);
        add("fp16", 1, 110);
        add("fp16", 2, 90);
        add("int8", 0, 150,
            {{"weights_bytes", "B", 0, 3.0 * 1048576},
             {"weights_ratio", "1", 0, 0.75},
             {"perplexity", "1", 0, 12.5},
             {"kl_mean", "nat", 0, 0.001},
             {"top1_agreement", "1", 0, 0.99},
             {"text_identical", "1", 0, 0},
             {"text_first_divergence", "1", 0, 7}});
        add("int8", 1, 220);
        add("int8", 2, 90);
        add("nf4", 0, 200);
        add("nf4", 1, 300);
    }
};

TEST_F(Views, summaryGivesMediansOverRepeatsAndTheQualityOfTheOneThatMeasuredIt) {
    fill();
    EXPECT_EQ(number(*store, "SELECT count(*) FROM v_summary"), 3);
    const std::string int8 = " FROM v_summary WHERE experiment = 'e' AND method = 'int8'";
    EXPECT_EQ(number(*store, "SELECT repeats" + int8), 3);
    EXPECT_EQ(number(*store, "SELECT decode_tokens_per_s" + int8), 150);
    EXPECT_EQ(number(*store, "SELECT decode_min" + int8), 90);
    EXPECT_EQ(number(*store, "SELECT decode_max" + int8), 220);
    EXPECT_EQ(number(*store, "SELECT weights_mib" + int8), 3);
    EXPECT_EQ(number(*store, "SELECT weights_ratio" + int8), 0.75);
    EXPECT_EQ(number(*store, "SELECT perplexity" + int8), 12.5);
    EXPECT_EQ(number(*store, "SELECT top1_agreement" + int8), 0.99);
    EXPECT_EQ(number(*store, "SELECT text_first_divergence" + int8), 7);
    EXPECT_EQ(number(*store, "SELECT decode_tokens_per_s FROM v_summary WHERE method = 'nf4'"),
              250);
    EXPECT_EQ(number(*store, "SELECT perplexity IS NULL FROM v_summary WHERE method = 'nf4'"), 1);
    EXPECT_EQ(text(*store, "SELECT group_concat(method) FROM v_summary"), "fp16,int8,nf4");
}

TEST_F(Views, aRepeatWithoutAMetricDoesNotMoveItsMedian) {
    add("fp16", 0, 100, {{"token_latency_p50", "ns", 0, 10}});
    add("fp16", 1, 110, {{"token_latency_p50", "ns", 0, 30}});
    add("fp16", 2, 90);
    EXPECT_EQ(number(*store, "SELECT token_latency_p50_ns FROM v_summary"), 20);
    EXPECT_EQ(number(*store, "SELECT decode_tokens_per_s FROM v_summary"), 100);
}

TEST_F(Views, aDisturbedWindowStandsInNoSpeed) {
    add("fp16", 0, 100);
    add("fp16", 1, 110);
    add("int8", 0, 150, {{"kl_mean", "nat", 0, 0.001}});
    add("int8", 1, 1);
    flag("int8", 1);
    add("nf4", 0, 1, {{"kl_mean", "nat", 0, 0.002}});
    flag("nf4", 0);
    const std::string int8 = " FROM v_summary WHERE method = 'int8'";
    EXPECT_EQ(number(*store, "SELECT decode_tokens_per_s" + int8), 150);
    EXPECT_EQ(number(*store, "SELECT decode_min" + int8), 150);
    EXPECT_EQ(number(*store, "SELECT repeats" + int8), 1);
    EXPECT_EQ(number(*store, "SELECT disturbed" + int8), 1);
    const std::string nf4 = " FROM v_summary WHERE method = 'nf4'";
    EXPECT_EQ(number(*store, "SELECT decode_tokens_per_s IS NULL" + nf4), 1);
    EXPECT_EQ(number(*store, "SELECT repeats" + nf4), 0);
    EXPECT_EQ(number(*store, "SELECT kl_mean" + nf4), 0.002);  // what was computed stays
    EXPECT_EQ(text(*store, "SELECT group_concat(method || repeat) FROM v_speedup WHERE flagged"),
              "int81,nf40");
    add("fp16", 2, 1);
    flag("fp16", 2);
    add("int8", 2, 150);
    EXPECT_EQ(number(*store, "SELECT flagged FROM v_speedup WHERE method = 'int8' AND repeat = 2"),
              1);
}

TEST_F(Views, speedupIsPairedByRepeat) {
    fill();
    EXPECT_EQ(number(*store, "SELECT count(*) FROM v_speedup"), 8);
    EXPECT_EQ(text(*store,
                   "SELECT group_concat(speedup) FROM (SELECT speedup FROM v_speedup "
                   "WHERE method = 'int8' ORDER BY repeat)"),
              "1.5,2.0,1.0");
    EXPECT_EQ(number(*store, "SELECT speedup FROM v_speedup WHERE method = 'nf4' AND repeat = 0"),
              2);
    EXPECT_EQ(number(*store,
                     "SELECT min(speedup) + max(speedup) FROM v_speedup "
                     "WHERE method = 'fp16'"),
              2);
}

TEST_F(Views, speedupComparesEqualSettingsOnOneDeviceOnly) {
    add("fp16", 0, 100);
    add("int8", 0, 500, {}, "another cpu");
    StoredJob long_job = make_job("int8");
    long_job.cell.spec.new_tokens = 512;
    rekey(long_job);
    StoredJob small_head = make_job("int8");
    small_head.cell.spec.head_bits = 8;
    rekey(small_head);
    put_jobs(*store, "e", {long_job, small_head});
    put_run(*store, make_run(long_job, 700));
    put_run(*store, make_run(small_head, 800));
    EXPECT_EQ(text(*store, "SELECT group_concat(method) FROM v_speedup"), "fp16");
}

TEST_F(Views, withoutFp16TheBaselineIsBf16) {
    add("bf16", 0, 50);
    add("int8", 0, 100);
    EXPECT_EQ(number(*store, "SELECT speedup FROM v_speedup WHERE method = 'int8'"), 2);
    add("fp16", 0, 200);
    EXPECT_EQ(number(*store, "SELECT speedup FROM v_speedup WHERE method = 'int8'"), 0.5);
    EXPECT_EQ(text(*store, "SELECT baseline FROM v_speedup WHERE method = 'bf16'"), "fp16");
}

TEST_F(Views, qualityHasARowOnlyWhereItWasMeasured) {
    fill();
    EXPECT_EQ(number(*store, "SELECT count(*) FROM v_quality"), 1);
    EXPECT_EQ(number(*store, "SELECT kl_mean FROM v_quality"), 0.001);
    EXPECT_EQ(number(*store, "SELECT kl_p99 IS NULL FROM v_quality"), 1);
}

TEST_F(Views, memoryGivesTheLedgerInWholeBytes) {
    add("int8", 0, 1,
        {{"weights_codes_bytes", "B", 0, 4294967297.0}, {"kv_cache_bytes", "B", 0, 4096}});
    EXPECT_EQ(text(*store, "SELECT weights_codes_bytes || ' ' || kv_cache_bytes FROM v_memory"),
              "4294967297 4096");
}

TEST_F(Views, samplesAreExpandedInTheirOrder) {
    const StoredJob job = make_job("fp16");
    put_jobs(*store, "e", {job});
    FinishedRun run = make_run(job, 1);
    run.result.samples = {{"token_latency", "ns", {30, 10, 20}}};
    put_run(*store, run);
    EXPECT_EQ(text(*store, "SELECT group_concat(sample || ':' || value) FROM v_samples"),
              "0:30,1:10,2:20");
    EXPECT_EQ(text(*store, "SELECT DISTINCT method || metric || unit FROM v_samples"),
              "fp16token_latencyns");
}

TEST_F(Views, outliersHaveARowPerLayerAndNotOneForTheirSum) {
    add("int8", 0, 1,
        {{"outlier_columns", "1", 0, 5},
         {"outlier_columns:model.layers.0.mlp.down_proj", "1", 0, 4},
         {"outlier_columns_per_token:model.layers.0.mlp.down_proj", "1", 0, 1.5},
         {"outlier_max_abs:model.layers.0.mlp.down_proj", "1", 0, 60.5},
         {"outlier_columns:model.layers.0.self_attn.q_proj", "1", 0, 1}});
    EXPECT_EQ(number(*store, "SELECT count(*) FROM v_outliers"), 2);
    EXPECT_EQ(text(*store,
                   "SELECT columns || ' ' || columns_per_token || ' ' || max_abs "
                   "FROM v_outliers WHERE layer = 'model.layers.0.mlp.down_proj'"),
              "4 1.5 60.5");
}

TEST_F(Views, failuresNameClassEvidenceAndWhetherTheJobCameThroughInTheEnd) {
    const StoredJob job = make_job("fp16");
    put_jobs(*store, "e", {job});
    FinishedRun crashed = make_run(job, 1);
    crashed.result.outcome = {OutcomeClass::crash, "the runner died", "signal 11"};
    put_run(*store, crashed);
    EXPECT_EQ(text(*store,
                   "SELECT outcome || ', ' || message || ', ' || evidence || ', ' || "
                   "job_state FROM v_failures"),
              "crash, the runner died, signal 11, waiting");
    EXPECT_EQ(number(*store, "SELECT count(*) FROM v_results"), 0);
}

TEST_F(Views, everyViewIsDescribedByItsFirstComment) {
    EXPECT_EQ(number(*store, "SELECT count(*) FROM sqlite_schema WHERE type = 'view'"), 15);
    EXPECT_EQ(number(*store,
                     "SELECT count(*) FROM sqlite_schema WHERE type = 'view' AND "
                     "sql NOT GLOB 'CREATE VIEW * AS -- *'"),
              0);
}

TEST_F(Views, theSqlite3ShellReadsTheFileUnmodified) {
    if (std::system("command -v sqlite3 > /dev/null 2>&1") != 0) {
        GTEST_SKIP() << "no sqlite3 shell on this machine";
    }
    fill();
    const std::string command = "sqlite3 -readonly '" + (folder / "a.db").string() +
                                "' \"SELECT printf('%.2f', speedup) FROM v_speedup WHERE method = "
                                "'nf4' AND repeat = 1\"";
    FILE* shell = popen(command.c_str(), "r");
    ASSERT_NE(shell, nullptr);
    char line[64] = {};
    EXPECT_NE(fgets(line, sizeof line, shell), nullptr);
    EXPECT_EQ(pclose(shell), 0);
    EXPECT_STREQ(line, "2.73\n");
}

TEST_F(Views, flagEveryVerdictThatTheCatalogueKnows) {
    for (const WindowFlag& flag : window_flags()) {
        store = nullptr;
        store = open_store(folder / (std::string(flag.metric) + ".db").c_str());
        add("fp16", 0, 100);
        add("int8", 0, 100, {{std::string(flag.metric), "1", 0, 1}});
        EXPECT_EQ(text(*store, "SELECT group_concat(method) FROM v_windows WHERE flagged"), "int8")
            << flag.metric << ": add it to v_windows in a new migration";
        EXPECT_EQ(text(*store, "SELECT group_concat(flags) FROM v_again"), flag.metric)
            << flag.metric << ": add it to v_again in a new migration";
    }
}

}  // namespace
}  // namespace bitsweep::testing
