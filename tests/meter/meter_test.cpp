// The meter itself: a synthetic engine of known truth measured by the standard protocol, through
// runner, worker, coordinator and database, to the verdicts that a person reads.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "results/analysis/compare.h"
#include "tests/cli/program.h"
#include "tests/temp_folder.h"

namespace bitsweep {
namespace {

constexpr int pairs = 100;

class Meter : public testing::Test {
 protected:
    // Cells of each method with that prompt, three fresh processes each.
    void write_experiment(const std::string& prompt, int cells) const {
        std::ofstream(folder_ / "meter.yaml")
            << "experiment: meter\n"
               "defaults: {protocol: standard, weights: random, quality: off, new_tokens: 16,\n"
               "           prompt: '"
            << prompt
            << "'}\n"
               "matrix:\n"
               "  model: gpt2-nano\n"
               "  method: [fp16, int8]\n"
               "  seed: {range: [1, "
            << cells
            << "]}\n"
               "  gpu: cpu\n"
               "  repeat: 3\n";
    }

    void measure(const std::string& prompt, int cells) {
        write_experiment(prompt, cells);
        Program program(folder_, {bitsweep_program(), "run", "meter.yaml"},
                        {{"BITSWEEP_RUNNER", METER_RUNNER}});
        ASSERT_EQ(program.wait(240), 0) << program.err();
        const auto store = Store::open(folder_ / "bitsweep.db", OpenMode::read_only);
        ASSERT_TRUE(store) << store.error().message;
        auto evidence = read_evidence(**store, {"meter", "", ""});
        ASSERT_TRUE(evidence) << evidence.error().message;
        evidence_ = std::move(*evidence);
    }

    // Verdicts of int8 over fp16, each pair of cells an answer of its own.
    std::map<SpeedVerdict, int> verdicts() const {
        std::map<std::string, Evidence> by_setting;
        for (const MeasuredCell& cell : evidence_.cells) {
            by_setting[cell.place].cells.push_back(cell);
        }
        std::map<SpeedVerdict, int> count;
        for (const auto& [place, pair] : by_setting) {
            const auto rows = compare(pair, {"int8", "fp16"});
            EXPECT_TRUE(rows) << rows.error().message;
            if (rows) {
                EXPECT_EQ(rows->size(), 1u);
                EXPECT_EQ(rows->front().pairs, 3);
                ++count[rows->front().verdict];
            }
        }
        return count;
    }

    // What is planted in int8 is left out with these words, and nothing else is.
    void expect_excluded(const std::string& prompt, const std::string& words) {
        measure(prompt, 4);
        EXPECT_EQ(evidence_.excluded.size(), 12u) << prompt;
        for (const LeftOutRun& left_out : evidence_.excluded) {
            const std::string line = left_out.text();
            EXPECT_NE(line.find("int8"), std::string::npos) << line;
            EXPECT_NE(line.find(words), std::string::npos) << line;
        }
        EXPECT_EQ(evidence_.cells.size(), 4u) << "fp16 stays";
    }

    TempFolder folder_;
    Evidence evidence_;
};

TEST_F(Meter, EqualConfigurationsAreTheSameIn95Of100) {
    measure("same", pairs);
    EXPECT_EQ(evidence_.excluded.size(), 0u);
    EXPECT_GE(verdicts()[SpeedVerdict::same], 95);
}

TEST_F(Meter, ASlowdownOfTwoPercentIsFoundIn90Of100) {
    measure("slower 2%", pairs);
    EXPECT_GE(verdicts()[SpeedVerdict::slower], 90);
}

TEST_F(Meter, AThrottledWindowIsLeftOutAndNamed) {
    expect_excluded("throttled", "throttled");
}

TEST_F(Meter, AForeignProcessIsLeftOutAndNamed) {
    expect_excluded("foreign", "another process");
}

TEST_F(Meter, AWindowBesideABusyProcessIsLeftOutAndNamed) {
    expect_excluded("busy", "other processes used its cores");
    const auto store = Store::open(folder_ / "bitsweep.db", OpenMode::read_only);
    ASSERT_TRUE(store) << store.error().message;
    const auto rows = (*store)->query(
        "SELECT method, flagged, count(*), min(run_queue_wait_share) FROM v_windows GROUP BY 1, 2");
    ASSERT_TRUE(rows) << rows.error().message;
    ASSERT_EQ(rows->rows.size(), 2u);
    EXPECT_EQ(rows->rows[0][1].integer, 0);
    EXPECT_EQ(rows->rows[1][1].integer, 1);
    EXPECT_GT(rows->rows[1][3].real, 0.3);
    const auto again = (*store)->query(
        "SELECT count(*), count(DISTINCT key) FROM v_again WHERE flags = 'window_foreign_load'");
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_EQ(again->rows[0][1].integer, 12);
    EXPECT_EQ(again->rows[0][0].integer, 36) << "standard measures such a cell twice again";
}

TEST_F(Meter, ADriftIsLeftOutAndNamed) {
    expect_excluded("drift", "drift");
}

class Verify : public Meter {
 protected:
    std::unique_ptr<Program> worker(const std::string& name, const Environment& more = {}) {
        auto worker = std::make_unique<Program>(
            folder_, Words{bitsweep_program(), "worker", "--runner", METER_RUNNER, "--name", name},
            more);
        EXPECT_TRUE(worker->says("waiting for jobs", 20)) << worker->err();
        return worker;
    }
};

TEST_F(Verify, MeasuresASampleAgainAndSaysWhichCellsDiffer) {
    Program server(folder_, {bitsweep_program(), "serve", "--listen", "tcp://127.0.0.1:0"});
    ASSERT_TRUE(server.says("coordinator at", 20)) << server.err();
    write_experiment("same", 4);
    {
        const auto first = worker("first");
        ASSERT_EQ(bitsweep(folder_, {"submit", "meter.yaml", "--wait"}).code, 0);
        const Ended same =
            bitsweep(folder_, {"verify", "meter", "--sample", "5", "--format", "csv"});
        EXPECT_EQ(same.code, 0) << same.out << same.err;
        EXPECT_NE(same.err.find("5 cells measured again, 0 do not agree within 5 %"),
                  std::string::npos)
            << same.err;
        EXPECT_NE(same.out.find("same,agrees"), std::string::npos) << same.out;
    }
    const auto slow = worker("slow", {{"METER_SLOWDOWN", "1.1"}});
    const Ended slower = bitsweep(folder_, {"verify", "meter", "--sample", "3", "--seed", "7"});
    EXPECT_EQ(slower.code, 1) << slower.out << slower.err;
    EXPECT_NE(slower.out.find("slower"), std::string::npos) << slower.out;
    EXPECT_NE(slower.err.find("3 cells measured again, 3 do not agree"), std::string::npos)
        << slower.err;
    const Ended none = bitsweep(folder_, {"verify", "nothing"});
    EXPECT_EQ(none.code, 2) << none.err;
    EXPECT_NE(none.err.find("`nothing` has no cell with a result"), std::string::npos) << none.err;
    EXPECT_EQ(bitsweep(folder_, {"verify", "meter", "--sample", "0"}).code, 2);
}

}  // namespace
}  // namespace bitsweep
