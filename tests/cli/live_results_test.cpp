// What the live page is told of a database.
#include "coordinator/cli/live_results.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "schemas/catalog/windows.h"
#include "tests/store/fixture.h"

namespace bitsweep::testing {
namespace {

using Json = nlohmann::json;

// The page's word on the newest window of the only device, which has this measurement.
Json newest_window(const std::filesystem::path& db, const std::string& metric, double value) {
    {
        auto store = open_store(db);
        const StoredJob job = make_job("fp16");
        put_jobs(*store, "e", {job});
        FinishedRun run = make_run(job, 100);
        run.result.measurements.push_back({metric, "1", 0, value});
        put_run(*store, run);
    }
    const auto told = LiveResults(db).windows();
    EXPECT_TRUE(told) << told.error().message;
    const Json rows = Json::parse(told ? *told : "[]");
    EXPECT_EQ(rows.size(), 1u);
    return rows.empty() ? Json() : rows[0];
}

TEST(LiveResults, knowEveryVerdictThatTheCatalogueKnows) {
    TempFolder folder;
    for (const WindowFlag& flag : window_flags()) {
        const std::string name(flag.metric);
        EXPECT_EQ(newest_window(folder / (name + ".1").c_str(), name, 1)["flagged"], 1) << name;
        EXPECT_EQ(newest_window(folder / (name + ".0").c_str(), name, 0)["flagged"], 0) << name;
    }
    EXPECT_EQ(newest_window(folder / "fine", "sm_clock_mean", 1980)["flagged"], 0);
}

}  // namespace
}  // namespace bitsweep::testing
