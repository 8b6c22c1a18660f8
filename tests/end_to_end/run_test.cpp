// `bitsweep run` with the real runner on the smallest committed models.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <thread>

#include "results/store/store.h"
#include "tests/cli/program.h"
#include "tests/temp_folder.h"

namespace bitsweep {

namespace {

namespace fs = std::filesystem;

constexpr const char* experiment = R"(experiment: tiny
question: Is int8 faster than fp16 here?
defaults:
  {protocol: quick, new_tokens: 8, quality: once, eval: {text: heldout-fiction, tokens: 512}}
matrix:
  model: [llama-pico, gpt2-nano]
  method: [fp16, int8]
  gpu: {each: any}
  repeat: 2
)";

class Run : public testing::Test {
 protected:
    void SetUp() override { std::ofstream(folder_ / "tiny.yaml") << experiment; }

    Ended run(Words words) {
        words.insert(words.begin(), {bitsweep_program(), "run", "tiny.yaml"});
        Program program(folder_, words);
        const int code = program.wait(90);
        return {code, program.out(), program.err()};
    }

    std::int64_t number(const std::string& sql) {
        const auto store = Store::open(folder_ / "bitsweep.db", OpenMode::read_only);
        const auto table = store ? (*store)->query(sql) : Result<Table>(store.error());
        return table && !table->rows.empty() ? table->rows[0][0].integer : -1;
    }

    TempFolder folder_;
};

TEST_F(Run, MeasuresSummarisesAndAnswersTheSecondTimeFromTheDatabase) {
    const Ended first = run({"--report", "tiny.html"});
    EXPECT_EQ(first.code, 0) << first.err;
    EXPECT_NE(first.out.find("llama-pico"), std::string::npos) << first.out;
    EXPECT_NE(first.out.find("int8"), std::string::npos) << first.out;
    EXPECT_EQ(first.err.find("\r"), std::string::npos) << "progress bars are for terminals";
    EXPECT_EQ(number("SELECT COUNT(*) FROM jobs WHERE state = 'done'"), 8);
    EXPECT_EQ(number("SELECT COUNT(DISTINCT job) FROM runs WHERE outcome = 'done'"), 8);
    EXPECT_GT(fs::file_size(folder_ / "tiny.html"), 1'000u);

    const auto start = std::chrono::steady_clock::now();
    const Ended second = run({});
    EXPECT_EQ(second.code, 0) << second.err;
    EXPECT_NE(second.err.find("8 cells, 0 to run, 8 done before"), std::string::npos) << second.err;
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
    EXPECT_EQ(second.out, first.out);

    const Ended grown = run({"--set", "repeat=3"});
    EXPECT_NE(grown.err.find("12 cells, 4 to run, 8 done before"), std::string::npos) << grown.err;
    EXPECT_EQ(number("SELECT COUNT(*) FROM jobs WHERE state = 'done'"), 12);
}

TEST_F(Run, CtrlCLeavesADatabaseThatTheNextRunContinues) {
    Program first(folder_, {bitsweep_program(), "run", "tiny.yaml", "--set", "repeat=20"});
    for (int i = 0; i < 2'000 && number("SELECT COUNT(*) FROM runs") < 2; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    first.signal(SIGINT);
    EXPECT_EQ(first.wait(20), 130) << first.err();
    const std::int64_t kept = number("SELECT COUNT(DISTINCT job) FROM runs WHERE outcome = 'done'");
    EXPECT_GE(kept, 2);
    EXPECT_LT(kept, 80);
    EXPECT_EQ(number("SELECT COUNT(*) FROM jobs WHERE state = 'running'"), 0);
    const Ended second = run({"--set", "repeat=20"});
    EXPECT_EQ(second.code, 0) << second.err;
    EXPECT_EQ(number("SELECT COUNT(DISTINCT job) FROM runs WHERE outcome = 'done'"), 80);
}

TEST_F(Run, RefusesAFileThatIsNoDatabaseAndLeavesNothingBesideIt) {
    std::ofstream(folder_ / "notes.txt") << "no database";
    const Ended ended = run({"--db", "notes.txt"});
    EXPECT_EQ(ended.code, 2) << ended.err;
    EXPECT_NE(ended.err.find("notes.txt: file is not a database"), std::string::npos) << ended.err;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder_)) {
        const std::string name = entry.path().filename().string();
        EXPECT_TRUE(name == "notes.txt" || !name.starts_with("notes.txt")) << name;
    }
}

TEST_F(Run, AModelThatIsNotHereIsAnAnswerAndNoEndlessWait) {
    const Ended ended = run({"--set", "model=[llama-3.2-1b]"});
    EXPECT_EQ(ended.code, 1) << ended.err;
    EXPECT_NE(ended.err.find("llama-3.2-1b"), std::string::npos) << ended.err;
}

TEST_F(Run, ACardThatIsNotHereIsAnAnswerAndNoEndlessWait) {
    const Ended ended = run({"--set", "gpu=[T4]"});
    EXPECT_EQ(ended.code, 1) << ended.err;
    EXPECT_NE(ended.err.find("no attached device is of kind T4"), std::string::npos) << ended.err;
    EXPECT_EQ(number("SELECT COUNT(*) FROM runs"), 0);
}

}  // namespace
}  // namespace bitsweep
