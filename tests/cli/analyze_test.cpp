// `bitsweep analyze` and `bitsweep import` as a user types them.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "coordinator/cli/command.h"
#include "tests/cli/captured.h"
#include "tests/store/fixture.h"

namespace bitsweep::testing {
namespace {

struct AnalyzeCommand : ::testing::Test {
    TempFolder folder;
    std::string db = (folder / "a.db").string();

    void SetUp() override {
        setenv("XDG_CONFIG_HOME", folder.path().c_str(), 1);  // no configuration of this user
        auto store = open_store(db);
        std::vector<StoredJob> jobs;
        const std::pair<const char*, double> cells[] = {{"gpt2", 100}, {"gpt2-xl", 10}};
        for (const auto& [model, rate] : cells) {
            for (int repeat = 0; repeat < 3; ++repeat) {
                for (const char* method : {"fp16", "int8"}) {
                    StoredJob job = make_job(method, repeat);
                    job.cell.spec.model.name = model;
                    rekey(job);
                    put_jobs(*store, "first", {job});
                    const double factor = std::string(method) == "fp16" ? 1 : 1.5;
                    put_run(*store, make_run(job, rate * factor * (1 + 0.001 * repeat)));
                }
            }
        }
    }
    Printed analyze(Arguments arguments) {
        arguments.insert(arguments.end(), {"--db", db});
        return run(command_analyze, arguments);
    }
    Printed import(Arguments arguments) {
        arguments.insert(arguments.end(), {"--db", db});
        return run(command_import, arguments);
    }
};

TEST_F(AnalyzeCommand, comparesTwoMethods) {
    const Printed printed = analyze({"compare", "int8", "fp16"});
    EXPECT_EQ(printed.code, exit_done) << printed.err;
    EXPECT_NE(printed.out.find("On gpt2, cpu: int8 is FASTER than fp16: 1.50x"), std::string::npos)
        << printed.out;
    const auto rows =
        nlohmann::json::parse(analyze({"compare", "int8", "fp16", "--format", "json"}).out);
    ASSERT_EQ(rows.size(), 2u);
    EXPECT_EQ(rows[0]["verdict"], "FASTER");
}

TEST_F(AnalyzeCommand, answersEveryQuestionInEveryFormat) {
    for (const char* name : {"crossover", "scaling", "pareto", "latency"}) {
        for (const char* format : {"table", "csv", "json", "jsonl", "markdown"}) {
            const Printed printed = analyze({name, "--format", format});
            EXPECT_EQ(printed.code, exit_done) << name << " " << printed.err;
            EXPECT_EQ(printed.err, "");
        }
    }
    EXPECT_NE(analyze({"crossover"}).out.find("beats fp16 at every measured size"),
              std::string::npos);
}

TEST_F(AnalyzeCommand, everyAnswerNamesTheRunsThatItDoesWithout) {
    auto store = open_store(db);
    for (const char* model : {"gpt2", "gpt2-xl"}) {
        StoredJob job = make_job("nf4");
        job.cell.spec.model.name = model;
        rekey(job);
        FinishedRun disturbed = make_run(job, 100);
        disturbed.result.measurements.push_back({"window_throttled", "1", 0, 1});
        put_jobs(*store, "first", {job});
        put_run(*store, disturbed);
    }
    for (const Arguments& question : std::vector<Arguments>{
             {"compare", "int8", "fp16"}, {"crossover"}, {"scaling"}, {"pareto"}, {"latency"}}) {
        const Printed printed = analyze(question);
        EXPECT_NE(printed.out.find("left out of every interval and fit: gpt2-xl nf4 on cpu, repeat "
                                   "0: throttled"),
                  std::string::npos)
            << printed.out << printed.err;
    }
    for (const Arguments& question :
         std::vector<Arguments>{{"compare", "nf4", "fp16"}, {"crossover", "nf4"}}) {
        const Printed printed = analyze(question);
        EXPECT_EQ(printed.code, exit_bad_input);
        EXPECT_NE(
            printed.err.find("`nf4` was measured, but all its 2 runs are left out: throttled"),
            std::string::npos)
            << printed.err;
    }
}

TEST_F(AnalyzeCommand, aMergeReadsEverySourceBeforeItChangesAnything) {
    const std::string target = (folder / "target.db").string();
    const std::string junk = (folder / "junk.db").string();
    std::ofstream(junk) << "hi\n";
    const Printed printed = run(command_merge, {db, junk, "--db", target});
    EXPECT_EQ(printed.code, exit_bad_input);
    EXPECT_NE(printed.err.find(junk), std::string::npos) << printed.err;
    EXPECT_FALSE(std::filesystem::exists(target));
}

TEST_F(AnalyzeCommand, aMergeThatEndsHalfwayNamesWhatItMerged) {
    const std::string other = (folder / "other.db").string();
    const std::string target = (folder / "target.db").string();
    for (const auto& [file, digest] :
         {std::pair(other, "bbbbbbbb"), std::pair(target, "aaaaaaaa")}) {
        const auto store = open_store(file);
        const StoredJob job = make_job("nf4");
        FinishedRun finished = make_run(job, 90);
        finished.result.weights_digest = digest;
        put_jobs(*store, "e", {job});
        put_run(*store, finished);
    }
    const Printed printed = run(command_merge, {db, other, "--db", target});
    EXPECT_EQ(printed.code, exit_some_failed);
    EXPECT_NE(printed.out.find(db), std::string::npos) << printed.out;
    EXPECT_NE(printed.err.find("nothing of it was merged; what the table names was merged before"),
              std::string::npos)
        << printed.err;
}

TEST_F(AnalyzeCommand, whereOnlyOtherToolsMeasuredSaysWhereTheirRowsAre) {
    const std::string seed = BITSWEEP_SOURCE_DIR "/results/published/seed-t4.csv";
    db = (folder / "empty.db").string();
    ASSERT_EQ(import({seed}).code, exit_done);
    for (const char* name : {"crossover", "scaling", "pareto", "latency"}) {
        const Printed printed = analyze({name});
        EXPECT_EQ(printed.code, exit_bad_input) << name << printed.out;
        EXPECT_NE(printed.err.find("the 4 imported rows"), std::string::npos) << printed.err;
    }
}

TEST_F(AnalyzeCommand, aCheckOfPoliciesIsAnExperimentThatPlans) {
    auto store = open_store(db);
    for (const auto& [method, ns] : {std::pair("int8", 9000.0), std::pair("int4-g64", 5000.0)}) {
        StoredJob job = make_job(method);
        job.cell.spec.model.name = "llama-nano";
        job.cell.spec.quality = {QualityMode::layers, "heldout-fiction", 4096, 256};
        rekey(job);
        FinishedRun run = make_run(job, 100);
        for (const char* layer : {"model.layers.0.mlp.up_proj", "model.layers.1.mlp.up_proj"}) {
            run.result.measurements.push_back({std::string("layer_kl:") + layer, "nat", 0, 0.1});
            run.result.measurements.push_back({std::string("layer_latency:") + layer, "ns", 0, ns});
        }
        if (std::string(method) == "int8") {
            run.result.measurements.push_back({"window_throttled", "1", 0, 1});
        }
        put_jobs(*store, "layers", {job});
        put_run(*store, run);
    }
    const std::string check = (folder / "check").string();
    const Printed printed =
        analyze({"policy", "--budget", "int8", "--check", check, "--random", "4"});
    EXPECT_EQ(printed.code, exit_done) << printed.err;
    EXPECT_NE(printed.out.find("8 policies and " + check), std::string::npos) << printed.out;
    EXPECT_NE(printed.out.find("Measure again: the times of int8 are of disturbed"),
              std::string::npos)
        << printed.out;
    const Printed planned = run(command_plan, {check + "/check.yaml", "--db", db});
    EXPECT_EQ(planned.code, exit_done) << planned.err;
    EXPECT_NE(planned.out.find("found-int8.json"), std::string::npos) << planned.out;
    EXPECT_NE(analyze({"policy", "--budget", "int8", "--check", "/dev/null/x"}).code, exit_done);
    EXPECT_NE(analyze({"policy", "--budget", "1us"})
                  .err.find("costs at most 1.000 us; the cheapest costs 10.00 us"),
              std::string::npos)
        << analyze({"policy", "--budget", "1us"}).err;
}

TEST_F(AnalyzeCommand, aPipeGetsWholeLines) {
    const std::string out = analyze({"crossover"}).out;
    EXPECT_EQ(out.find("…"), std::string::npos);
}

TEST_F(AnalyzeCommand, mistakesAreOneLineThatNamesTheRemedyAndExitWithTwo) {
    const struct {
        Arguments arguments;
        const char* words;
    } cases[] = {
        {{}, "which analysis? one of compare, crossover"},
        {{"compere"}, "did you mean `compare`?"},
        {{"compare", "int8"}, "usage: bitsweep analyze compare A B"},
        {{"compare", "int8", "fp61"}, "the nearest is `fp16`"},
        {{"compare", "int8", "fp16", "--experiment", "none"}, "it has first"},
        {{"compare", "int8", "fp16", "--device", "H100"}, "it has cpu"},
        {{"compare", "int8", "fp16", "--model", "gpt3"}, "it has gpt2, gpt2-xl"},
        {{"compare", "int8", "fp16", "--margin", "-1"}, "a percentage"},
        {{"crossover", "a", "b", "c"}, "at most two methods"},
        {{"scaling", "x"}, "takes no words"},
        {{"pareto", "--loss", "ppl"}, "kl or bits-per-byte"},
        {{"pareto", "--memory", "8 apples"}, "a size such as 8GiB"},
        {{"pareto", "--max-loss", "-1"}, "0 or more"},
        {{"latency", "int4"}, "the nearest is"},
        {{"compare", "int8", "fp16", "--max-loss", "3"}, "compare has no such flag, pareto has"},
        {{"policy", "--budget", "50us", "--memory", "8GiB"}, "a time, and the budget is of memory"},
        {{"policy", "--budget", "50us", "--by", "memory"}, "a time, and the budget is of memory"},
        {{"policy", "--budget", "bogus"}, "--budget bogus: neither a time, such as 350us, nor a"},
        {{"policy", "--random", "-3"}, "a number of policies"},
        {{"policy", "--check", ""}, "--check: an empty name"},
    };
    for (const auto& c : cases) {
        const Printed printed = analyze(c.arguments);
        EXPECT_EQ(printed.code, exit_bad_input) << c.words;
        EXPECT_NE(printed.err.find(c.words), std::string::npos) << printed.err;
        EXPECT_EQ(std::count(printed.err.begin(), printed.err.end(), '\n'), 1) << printed.err;
        EXPECT_EQ(printed.out, "");
    }
}

TEST_F(AnalyzeCommand, aReportIsAPageOrMarkdown) {
    const auto report = [&](const char* format) {
        return run(command_report, {"first", "-o", "-", "--format", format, "--db", db});
    };
    EXPECT_TRUE(report("table").out.starts_with("<!DOCTYPE html>"));
    const std::string text = report("markdown").out;
    EXPECT_TRUE(text.starts_with("# first\n"));
    EXPECT_NE(text.find("int8 beats fp16 at every measured size"), std::string::npos) << text;
}

TEST_F(AnalyzeCommand, importedFiguresStandBesideOursAndAreNeverPooled) {
    const std::string before = analyze({"compare", "int8", "fp16"}).out;
    const std::string seed = BITSWEEP_SOURCE_DIR "/results/published/seed-t4.csv";
    const Printed printed = import({seed, "--format", "json"});
    EXPECT_EQ(printed.code, exit_done) << printed.err;
    EXPECT_EQ(nlohmann::json::parse(printed.out)[0]["configurations"], 4);
    EXPECT_NE(printed.err.find("1 of 1 files were new"), std::string::npos);
    EXPECT_NE(import({seed}).err.find("0 of 1 files were new"), std::string::npos);
    EXPECT_EQ(analyze({"compare", "int8", "fp16"}).out, before);
    const Printed view = run(command_query, {"--view", "external", "--db", db});
    EXPECT_EQ(std::count(view.out.begin(), view.out.end(), '\n'), 5);
}

TEST_F(AnalyzeCommand, aBadFileImportsNothingNotEvenTheGoodOneBeforeIt) {
    const std::string bad = (folder / "bad.csv").string();
    std::ofstream(bad) << "model,methd\n";
    const std::string seed = BITSWEEP_SOURCE_DIR "/results/published/seed-t4.csv";
    const Printed printed = import({seed, bad});
    EXPECT_EQ(printed.code, exit_bad_input);
    EXPECT_NE(printed.err.find("the nearest is `method`"), std::string::npos) << printed.err;
    EXPECT_EQ(run(command_query, {"SELECT count(*) AS n FROM v_external", "--db", db}).out,
              "n\n0\n");
    EXPECT_NE(import({}).err.find("which files?"), std::string::npos);
}

}  // namespace
}  // namespace bitsweep::testing
