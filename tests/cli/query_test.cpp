// `bitsweep query` and `bitsweep report`: what they print and which exit code they give.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "coordinator/cli/command.h"
#include "tests/cli/captured.h"
#include "tests/store/fixture.h"

namespace bitsweep::testing {
namespace {

namespace fs = std::filesystem;

struct QueryCommand : ::testing::Test {
    TempFolder folder;
    std::string db = (folder / "a.db").string();

    void SetUp() override {
        setenv("XDG_CONFIG_HOME", folder.path().c_str(), 1);  // no configuration of this user
        auto store = open_store(db);
        for (int repeat = 0; repeat < 2; ++repeat) {
            const std::vector<StoredJob> jobs = {make_job("fp16", repeat),
                                                 make_job("int8", repeat)};
            put_jobs(*store, "first", jobs);
            put_run(*store, make_run(jobs[0], 100));
            put_run(*store, make_run(jobs[1], 150));
        }
        const StoredJob other = make_job("nf4");
        put_jobs(*store, "second", {other});
        put_run(*store, make_run(other, 70));
    }
    Printed query(Arguments arguments) {
        arguments.insert(arguments.end(), {"--db", db});
        return run(command_query, arguments);
    }
    Printed write_report(Arguments arguments) {
        arguments.insert(arguments.end(), {"--db", db});
        return run(command_report, arguments);
    }
};

TEST_F(QueryCommand, withoutArgumentsListsEveryViewWithALine) {
    const Printed printed = query({"--format", "json"});
    EXPECT_EQ(printed.code, exit_done);
    const auto views = nlohmann::json::parse(printed.out);
    ASSERT_EQ(views.size(), 14u);
    for (const auto& view : views) {
        EXPECT_EQ(view["view"].get<std::string>().substr(0, 2), "v_");
        EXPECT_GT(view["what it shows"].get<std::string>().size(), 20u);
    }
}

TEST_F(QueryCommand, sqlIsAnsweredInCsvWhereNoPersonLooks) {
    const Printed printed = query({"SELECT method, repeat FROM v_results WHERE method = 'nf4'"});
    EXPECT_EQ(printed.code, exit_done);
    EXPECT_EQ(printed.out, "method,repeat\nnf4,0\n");
    EXPECT_EQ(query({"-- which?\n--\nSELECT 1 AS a -- one"}).out, "a\n1\n");
    EXPECT_EQ(printed.err, "");
}

TEST_F(QueryCommand, aViewCanBeNamedShortlyAndLimitedToAnExperiment) {
    for (const char* name : {"v_speedup", "speedup"}) {
        const Printed printed =
            query({"--view", name, "--experiment", "first", "--format", "json"});
        EXPECT_EQ(printed.code, exit_done);
        const auto rows = nlohmann::json::parse(printed.out);
        ASSERT_EQ(rows.size(), 4u);
        EXPECT_EQ(rows[1]["speedup"], 1.5);
    }
    EXPECT_EQ(nlohmann::json::parse(query({"--view", "cells", "--format", "json"}).out).size(), 5u);
}

TEST_F(QueryCommand, mistakesAreOneLineThatNamesTheRemedyAndExitWithTwo) {
    const struct {
        Arguments arguments;
        const char* words;
    } cases[] = {
        {{"DELETE FROM runs"}, "only reading"},
        {{"DELETE FROM jobs"}, "because it is a view"},
        {{"SELEC"}, "syntax error"},
        {{"--view", "v_speedupp"}, "did you mean `v_speedup`?"},
        {{"--view", "zzzzzzzzzzzz"}, "`bitsweep query` lists the views"},
        {{"--view", "v_speedup", "--experiment", "frist"}, "did you mean `first`?"},
        {{"--experiment", "first"}, "belongs to --view"},
        {{"SELECT 1", "--view", "v_speedup"}, "not both"},
        {{"SELECT 1", "--format", "xml"}, "xml"},
        {{"SELECT 1", "--vew", "x"}, "did you mean --view?"},
    };
    for (const auto& c : cases) {
        const Printed printed = query(c.arguments);
        EXPECT_EQ(printed.code, exit_bad_input) << c.words;
        EXPECT_NE(printed.err.find(c.words), std::string::npos) << printed.err;
        EXPECT_EQ(std::count(printed.err.begin(), printed.err.end(), '\n'), 1) << printed.err;
        EXPECT_EQ(printed.out, "");
    }
}

TEST_F(QueryCommand, aMissingDatabaseIsNamedAndNotMade) {
    db = (folder / "none.db").string();
    const Printed printed = query({"SELECT 1"});
    EXPECT_EQ(printed.code, exit_bad_input);
    EXPECT_NE(printed.err.find("none.db: no such database"), std::string::npos);
    EXPECT_FALSE(fs::exists(db));
}

TEST_F(QueryCommand, aReportIsOneFileThatHoldsTheExperiment) {
    const fs::path file = folder / "report.html";
    const Printed printed = write_report({"first", "-o", file.string()});
    EXPECT_EQ(printed.code, exit_done);
    EXPECT_EQ(printed.out, "");
    std::ifstream stream(file);
    const std::string html{std::istreambuf_iterator<char>(stream), {}};
    EXPECT_TRUE(html.starts_with("<!DOCTYPE html>"));
    EXPECT_NE(html.find("tiny"), std::string::npos);
    EXPECT_TRUE(html.ends_with("</html>\n"));
    EXPECT_EQ(write_report({"first", "-o", "-"}).out, html);
}

TEST_F(QueryCommand, aReportThatCannotBeMadeLeavesNothingAndSaysWhy) {
    const std::string file = (folder / "r.html").string();
    const struct {
        Arguments arguments;
        const char* words;
    } cases[] = {
        {{}, "which experiment?"},
        {{"first"}, "add -o F.html"},
        {{"third", "-o", file}, "it has first, second"},
        {{"first", "-o", (folder / "no/such/r.html").string()}, "there is no folder"},
    };
    for (const auto& c : cases) {
        const Printed printed = write_report(c.arguments);
        EXPECT_EQ(printed.code, exit_bad_input) << c.words;
        EXPECT_NE(printed.err.find(c.words), std::string::npos) << printed.err;
    }
    EXPECT_FALSE(fs::exists(file));
    EXPECT_FALSE(fs::exists(file + ".part"));
}

}  // namespace
}  // namespace bitsweep::testing
