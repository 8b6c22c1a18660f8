// What jobs have in common is written once; whoever asks sees every job whole.
#include <bit>
#include <filesystem>
#include <map>

#include "results/store/merge.h"
#include "schemas/codec.h"
#include "tests/store/fixture.h"

namespace bitsweep::testing {
namespace {

namespace fs = std::filesystem;

// Jobs that differ in their numbers, in what decides which fields the canonical form has, and in
// what only the specification says.
std::vector<StoredJob> various_jobs() {
    std::vector<StoredJob> jobs;
    const auto add = [&](auto change) {
        StoredJob job = make_job("llmint8-bnb", 0, 6.0);
        change(job.cell);
        rekey(job);
        jobs.push_back(std::move(job));
    };
    for (int i = 0; i < 40; ++i) {
        add([&](Cell& cell) {
            cell.spec.batch = 1 + i;
            cell.spec.new_tokens = 1'000'000 - i;
            cell.spec.repeat = i % 3;
            cell.spec.threads = i % 5;
            cell.spec.prompt_tokens = i % 4 == 0 ? 0 : i;
            cell.spec.seed = 9'007'199'254'740'991 - static_cast<std::uint64_t>(i);
            cell.spec.threshold = i % 2 == 0 ? 6.0 : 0.5;
        });
    }
    add([](Cell& cell) { cell.spec.prompt = "\x01 and \\u0005 and char(3)"; });
    add([](Cell& cell) { cell.spec.model.path = "somewhere/tiny"; });
    add([](Cell& cell) { cell.identity.weights_digest = std::string(64, 'a'); });
    add([](Cell& cell) { cell.identity.dataset_digest = std::string(64, 'b'); });
    add([](Cell& cell) { cell.identity.numerics_revision = 7; });
    return jobs;
}

// Of every job: what the view says of it and what a restart reads are what was put in.
void expect_whole(const fs::path& file, const std::vector<StoredJob>& jobs) {
    const auto store = open_store(file, OpenMode::read_only);
    std::map<std::string, StoredJob> stored;
    auto read = store->jobs({});
    ASSERT_TRUE(read.ok()) << read.error().message;
    for (StoredJob& job : *read) {
        stored[job.key.value] = std::move(job);
    }
    for (const StoredJob& job : jobs) {
        const JobSpec& spec = job.cell.spec;
        const std::string where = " FROM jobs WHERE key = '" + job.key.value + "'";
        EXPECT_EQ(text(*store, "SELECT spec" + where), to_json(spec));
        EXPECT_EQ(text(*store, "SELECT canonical" + where), canonical_json(spec));
        EXPECT_EQ(text(*store, "SELECT spec_key" + where), spec_key(spec));
        EXPECT_EQ(text(*store, "SELECT series" + where), series_key(spec));
        EXPECT_EQ(text(*store, "SELECT setting" + where), setting_key(spec));
        EXPECT_EQ(number(*store, "SELECT threads" + where), spec.threads);
        EXPECT_EQ(number(*store, "SELECT threshold" + where), *spec.threshold);
        EXPECT_EQ(text(*store,
                       "SELECT weights_digest || '/' || dataset_digest || '/' ||"
                       " numerics_revision" +
                           where),
                  job.cell.identity.weights_digest + "/" + job.cell.identity.dataset_digest + "/" +
                      std::to_string(job.cell.identity.numerics_revision));
        const Cell& back = stored.at(job.key.value).cell;
        EXPECT_EQ(to_json(back.spec), to_json(spec));
        EXPECT_EQ(cell_key(back.identity), job.key);
    }
}

TEST(SharedSpecs, everyJobIsWholeForWhoeverAsks) {
    TempFolder folder;
    put_jobs(*open_store(folder / "a.db"), "e", various_jobs());
    expect_whole(folder / "a.db", various_jobs());
}

TEST(SharedSpecs, cellsOfAMatrixShareOneRow) {
    TempFolder folder;
    const auto store = open_store(folder / "a.db");
    std::vector<StoredJob> jobs;
    for (int i = 0; i < 400; ++i) {
        StoredJob job = make_job(i % 2 == 0 ? "fp16" : "int8");
        job.cell.spec.batch = 1 + i / 20;
        job.cell.spec.new_tokens = 1 + i % 20;
        rekey(job);
        jobs.push_back(job);
    }
    put_jobs(*store, "e", jobs);
    EXPECT_EQ(number(*store, "SELECT count(*) FROM job_specs"), 400);
    EXPECT_EQ(number(*store, "SELECT count(*) FROM shared_specs"), 2);
    put_jobs(*store, "f", jobs);
    EXPECT_EQ(number(*store, "SELECT count(*) FROM shared_specs"), 2);
}

TEST(SharedSpecs, mergedJobsAreWholeWhateverTheRowsOfTheOthersAre) {
    TempFolder folder;
    const std::vector<StoredJob> jobs = various_jobs();
    const auto half = static_cast<std::ptrdiff_t>(jobs.size() / 2);
    put_jobs(*open_store(folder / "here.db"), "e", {jobs.begin() + half - 5, jobs.end()});
    put_jobs(*open_store(folder / "there.db"), "e", {jobs.begin(), jobs.begin() + half + 5});
    ASSERT_TRUE(merge_database(folder / "here.db", folder / "there.db").ok());
    expect_whole(folder / "here.db", jobs);
    const auto store = open_store(folder / "here.db");
    EXPECT_EQ(number(*store,
                     "SELECT count(*) FROM shared_specs WHERE id NOT IN"
                     " (SELECT shared FROM job_specs)"),
              0);
}

}  // namespace
}  // namespace bitsweep::testing
