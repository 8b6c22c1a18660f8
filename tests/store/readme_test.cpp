// The queries that results/README.md shows, run as they stand.
#include <fstream>

#include "tests/store/fixture.h"

namespace bitsweep::testing {
namespace {

std::vector<std::string> blocks_of_readme() {
    std::ifstream stream(BITSWEEP_SOURCE_DIR "/results/README.md");
    std::vector<std::string> blocks;
    bool inside = false;
    for (std::string line; std::getline(stream, line);) {
        if (line == "```sql") {
            blocks.emplace_back();
        }
        inside = line == "```sql" || (inside && line != "```");
        if (inside && line != "```sql") {
            blocks.back() += line + "\n";
        }
    }
    return blocks;
}

TEST(Readme, everyQueryThatItShowsAnswers) {
    TempFolder folder;
    const auto store = open_store(folder / "a.db");
    for (const char* method : {"fp16", "int8"}) {
        const StoredJob job = make_job(method);
        put_jobs(*store, "e", {job});
        FinishedRun run = make_run(job, 100);
        run.result.measurements.push_back({"kl_mean", "nat", 0, 0.001});
        run.result.measurements.push_back({"weights_bytes", "B", 0, 1e6});
        run.result.samples = {{"token_latency", "ns", {1, 2, 3}}};
        run.result.provenance = {{"host", "h"}};
        put_run(*store, run);
    }
    const std::vector<std::string> blocks = blocks_of_readme();
    ASSERT_GE(blocks.size(), 6u);
    for (const std::string& sql : blocks) {
        const Result<Table> table = store->query(sql);
        ASSERT_TRUE(table.ok()) << sql << table.error().message;
        // Nothing of this small database has an outlier threshold.
        const bool may_be_empty = sql.find("threshold IS NOT NULL") != std::string::npos;
        EXPECT_TRUE(may_be_empty || !table->rows.empty()) << sql;
    }
}

}  // namespace
}  // namespace bitsweep::testing
