// `bitsweep plan` and `bitsweep schema`: what they print, against a database and without one.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "coordinator/cli/command.h"
#include "coordinator/expand/expand.h"
#include "schemas/codec.h"
#include "tests/cli/captured.h"
#include "tests/store/fixture.h"

namespace bitsweep::testing {
namespace {

using Json = nlohmann::json;

// Models that no folder holds: the cells' digests stay unknown.
constexpr const char* yaml = R"(experiment: sweep
question: which?
matrix: {model: opt-66b, method: [fp16, int8, nf4], threshold: [0, 6], gpu: {each: any}, repeat: 1}
order: listed
)";

struct PlanCommand : ::testing::Test {
    TempFolder folder;
    std::string db = (folder / "a.db").string();
    std::string file = (folder / "sweep.yaml").string();

    void SetUp() override {
        setenv("XDG_CONFIG_HOME", folder.path().c_str(), 1);  // no configuration of this user
        std::ofstream(file) << yaml;
    }
    // The cells as a coordinator with one CPU would have stored them, one in each state.
    void fill_database() {
        const auto expansion = expand_yaml(yaml, "sweep.yaml", {{"gpu", "cpu"}});
        ASSERT_TRUE(expansion.ok());
        std::vector<StoredJob> jobs;
        for (const Cell& cell : expansion->cells) {
            StoredJob job;
            job.cell = cell;
            job.key = cell_key(cell.identity);
            job.state = cell.spec.method == "fp16" ? "done" : "waiting";
            if (cell.spec.method == "nf4") {
                job.state = "failed";
                job.last_outcome = OutcomeClass::timeout;
                job.last_message = "no progress in 600 s";
            }
            jobs.push_back(job);
        }
        put_jobs(*open_store(db), "sweep", jobs);
    }
    Printed plan(Arguments arguments) {
        arguments.insert(arguments.end(), {"--db", db});
        return run(command_plan, arguments);
    }
    std::map<std::string, std::int64_t> counts() {
        const Printed printed = plan({file, "--format", "json"});
        EXPECT_EQ(printed.code, exit_done) << printed.err;
        std::map<std::string, std::int64_t> out;
        for (const Json& row : Json::parse(printed.out)) {
            const std::string what = row.at("what");
            const std::string detail = row.at("detail");
            out[what == "axis" ? "axis " + detail.substr(0, detail.find(':')) : what] +=
                row.at("count").get<std::int64_t>();
        }
        return out;
    }
};

TEST_F(PlanCommand, membersThatTheFileNoLongerHasAreCountedUntilTheyHaveLeft) {
    fill_database();
    EXPECT_EQ(counts().count("no longer asked"), 0u);
    std::string shorter = yaml;
    shorter.replace(shorter.find("[fp16, int8, nf4]"), 17, "[fp16]");
    std::ofstream(file) << shorter;
    EXPECT_EQ(counts().at("no longer asked"), 2);
    {
        const auto store = open_store(db);
        const auto jobs = store->jobs({"sweep"});
        ASSERT_TRUE(jobs.ok());
        for (const StoredJob& job : *jobs) {
            if (job.state == "failed") {
                const Status left = store->transact([&](StoreWriter& writer) {
                    return writer.put_job({"sweep"}, job, Membership::former);
                });
                ASSERT_TRUE(left.ok()) << left.error().message;
            }
        }
    }
    EXPECT_EQ(counts().at("no longer asked"), 1);
}

TEST_F(PlanCommand, withoutADatabaseEverythingIsNewAndNoneIsMade) {
    const auto count = counts();
    EXPECT_EQ(count.at("cells"), 3);
    EXPECT_EQ(count.at("new"), 3);
    EXPECT_EQ(count.at("axis method"), 3);
    EXPECT_EQ(count.at("axis threshold"), 0);  // no method here reads one
    EXPECT_EQ(count.count("done"), 0u);
    EXPECT_FALSE(std::filesystem::exists(db));
}

TEST_F(PlanCommand, withADatabaseTheStatesOfTheKindsThatItMetAreCounted) {
    fill_database();
    const auto count = counts();
    EXPECT_EQ(count.at("cells"), 3);
    EXPECT_EQ(count.at("done"), 1);
    EXPECT_EQ(count.at("waiting"), 1);
    EXPECT_EQ(count.at("failed"), 1);
    EXPECT_EQ(count.count("new"), 0u);
}

TEST_F(PlanCommand, aCancelledCellIsSaidToRunWithTheNextSubmission) {
    fill_database();
    {
        const auto store = open_store(db);
        auto jobs = store->jobs({"sweep"}).value();
        for (StoredJob& job : jobs) {
            job.state = job.state == "waiting" ? "cancelled" : job.state;
        }
        const Status set = store->transact([&](StoreWriter& writer) -> Status {
            for (const StoredJob& job : jobs) {
                TRY(writer.set_job(job));
            }
            return {};
        });
        ASSERT_TRUE(set.ok()) << set.error().message;
    }
    const Printed table = plan({file});
    EXPECT_NE(table.out.find("a submission runs them"), std::string::npos) << table.out;
    const Printed why = plan({file, "--why"});
    EXPECT_NE(why.out.find("cancelled before; a submission runs it"), std::string::npos) << why.out;
}

TEST_F(PlanCommand, whySaysHowACellEndedAndWhichLineMadeIt) {
    fill_database();
    const Printed printed = plan({file, "--why", "--format", "json"});
    ASSERT_EQ(printed.code, exit_done) << printed.err;
    std::map<std::string, Json> rows;
    for (const Json& row : Json::parse(printed.out)) {
        rows[row.at("method")] = row;
    }
    ASSERT_EQ(rows.size(), 3u);
    EXPECT_EQ(rows["nf4"].at("state"), "failed");
    EXPECT_EQ(rows["nf4"].at("why"),
              "timeout: no progress in 600 s (`bitsweep submit --retry-failed` runs it again)");
    EXPECT_EQ(rows["fp16"].at("state"), "done");
    EXPECT_EQ(rows["fp16"].at("line"), 3);
    EXPECT_EQ(rows["fp16"].at("gpu"), "cpu");
    // 66e9 parameters at 2 bytes are 122 GiB; four bits are less than a third of that.
    EXPECT_GT(rows["fp16"].at("memory_mib").get<double>(), 120.0 * 1024);
    EXPECT_LT(rows["nf4"].at("memory_mib").get<double>(), 50.0 * 1024);
}

TEST_F(PlanCommand, setChangesWhatIsPlanned) {
    const Printed printed = plan(
        {file, "--list", "--set", "method=[fp16, bf16]", "--set", "repeat=4", "--format", "json"});
    ASSERT_EQ(printed.code, exit_done) << printed.err;
    EXPECT_EQ(Json::parse(printed.out).size(), 8u);
}

TEST_F(PlanCommand, mistakesAreOneLineAndExitCode2) {
    std::ofstream(file) << "experiment: a\nmatrix: {model: opt-66b, method: fp17}\n";
    const Printed wrong = plan({file});
    EXPECT_EQ(wrong.code, exit_bad_input);
    EXPECT_TRUE(wrong.err.starts_with("bitsweep: " + file + ":2:34: no method 'fp17'"))
        << wrong.err;
    EXPECT_EQ(std::count(wrong.err.begin(), wrong.err.end(), '\n'), 1);
    EXPECT_EQ(wrong.out, "");
    EXPECT_EQ(plan({}).code, exit_bad_input);
    EXPECT_EQ(plan({(folder / "none.yaml").string()}).code, exit_bad_input);
    EXPECT_EQ(plan({file, "--format", "xml"}).code, exit_bad_input);
}

TEST(SchemaCommand, printsEachSchemaAndRefusesOthers) {
    for (const char* noun : {"experiment", "job", "result", "message"}) {
        const Printed printed = run(command_schema, {noun});
        EXPECT_EQ(printed.code, exit_done);
        EXPECT_EQ(Json::parse(printed.out).at("title"), noun);
    }
    EXPECT_EQ(Json::parse(run(command_schema, {}).out).at("title"), "experiment");
    const Printed wrong = run(command_schema, {"jobb"});
    EXPECT_EQ(wrong.code, exit_bad_input);
    EXPECT_EQ(wrong.err, "bitsweep: there is no schema `jobb`; did you mean `job`?\n");
}

}  // namespace
}  // namespace bitsweep::testing
