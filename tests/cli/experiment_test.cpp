// What people ask before anything runs: diff, explain, why a cell is new, what fits, how long it
// takes; and the files behind an experiment: bases, models by path, remembered digests.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "coordinator/cli/cell_fields.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/diff_cells.h"
#include "coordinator/cli/digest_cache.h"
#include "coordinator/cli/experiment_file.h"
#include "coordinator/cli/plan_fit.h"
#include "coordinator/cli/plan_time.h"
#include "schemas/codec.h"
#include "schemas/content.h"
#include "tests/cli/captured.h"
#include "tests/store/fixture.h"

namespace bitsweep::testing {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

constexpr const char* yaml = R"(experiment: sweep
matrix: {model: opt-66b, method: [fp16, int8], batch: [1, 2], gpu: cpu, repeat: 1}
order: listed
)";

struct ExperimentFiles : ::testing::Test {
    TempFolder folder;
    std::string db = (folder / "a.db").string();

    void SetUp() override {
        setenv("XDG_CONFIG_HOME", folder.path().c_str(), 1);  // no configuration of this user
        setenv("XDG_CACHE_HOME", (folder / "cache").c_str(), 1);
        unsetenv("BITSWEEP_MODELS");
    }
    std::string write(const char* name, const std::string& text) {
        const fs::path file = folder / name;
        fs::create_directories(file.parent_path());
        std::ofstream(file, std::ios::binary) << text;
        return file.string();
    }
    // Runs with --format json on standard output.
    Json json_of(int (*command)(const Arguments&), Arguments arguments, int code = exit_done) {
        arguments.insert(arguments.end(), {"--db", db, "--format", "json"});
        const Printed printed = run(command, arguments);
        EXPECT_EQ(printed.code, code) << printed.err;
        return Json::parse(printed.out.empty() ? "[]" : printed.out);
    }
    std::string error_of(int (*command)(const Arguments&), Arguments arguments) {
        arguments.insert(arguments.end(), {"--db", db});
        const Printed printed = run(command, arguments);
        EXPECT_EQ(printed.code, exit_bad_input);
        EXPECT_EQ(printed.out, "");
        return printed.err;
    }
    // Stores the cells of `text` as done, each a run of `seconds`.
    void measure(const std::string& text, double seconds = 10,
                 const std::function<void(StoredJob&)>& edit = {}) {
        const auto expansion = expand_yaml(text, "a.yaml", {});
        ASSERT_TRUE(expansion.ok()) << expansion.error().message;
        const std::unique_ptr<Store> store = open_store(db);
        for (const Cell& cell : expansion->cells) {
            StoredJob job;
            job.cell = cell;
            job.state = "done";
            job.attempt = Attempt{1};
            if (edit) {
                edit(job);
            }
            job.key = cell_key(job.cell.identity);
            put_jobs(*store, "sweep", {job});
            FinishedRun run = make_run(job, 50);
            run.result.finished_unix_ms =
                run.result.started_unix_ms + static_cast<std::int64_t>(seconds * 1000);
            put_run(*store, run);
        }
    }
    std::map<std::string, std::string> reasons(const std::string& file) {
        std::map<std::string, std::string> out;
        for (const Json& row : json_of(command_plan, {file, "--why"})) {
            const std::string name = row.at("method").get<std::string>() + " " +
                                     std::to_string(row.at("batch").get<int>());
            const std::string state = row.at("state");
            out[name] = state == "new" ? row.at("why").get<std::string>() : state;
        }
        return out;
    }
};

// ---- why a cell is new

TEST_F(ExperimentFiles, AnAxisThatGrowsMakesOnlyItsCellsNewAndSaysWhichField) {
    measure(yaml);
    const std::string grown = write("grown.yaml", R"(experiment: sweep
matrix: {model: opt-66b, method: [fp16, int8, nf4], batch: [1, 2], gpu: cpu, repeat: 1}
)");
    const std::map<std::string, std::string> want = {
        {"fp16 1", "done"},
        {"fp16 2", "done"},
        {"int8 1", "done"},
        {"int8 2", "done"},
        {"nf4 1", "method nf4 is new here (there is fp16, int8)"},
        {"nf4 2", "method nf4 is new here (there is fp16, int8)"}};
    EXPECT_EQ(reasons(grown), want);
}

TEST_F(ExperimentFiles, ARaisedRevisionOrChangedWeightsMakeExactlyTheTouchedCellsNew) {
    measure(yaml, 10, [](StoredJob& job) {
        if (job.cell.spec.method == "int8") {
            job.cell.identity.numerics_revision = 0;
        }
    });
    const auto why = reasons(write("a.yaml", yaml));
    EXPECT_EQ(why.at("fp16 1"), "done");
    EXPECT_EQ(why.at("int8 2"), "numerics_revision 0 -> 1: the numbers of int8 may have changed");
}

TEST_F(ExperimentFiles, ChangedWeightsNameTheDigests) {
    write("m/config.json", "{}");
    write("m/model.safetensors", "one");
    const std::string text =
        "experiment: sweep\nmatrix: {model: {path: m, name: mine}, method: fp16, "
        "gpu: cpu, repeat: 1}\n";
    const std::string file = write("a.yaml", text);
    const std::string digest = model_digest(folder / "m").value();
    measure(text, 10, [&](StoredJob& job) { job.cell.identity.weights_digest = digest; });
    EXPECT_EQ(reasons(file).at("fp16 1"), "done");
    write("m/model.safetensors", "two");
    const std::string now = model_digest(folder / "m").value();
    EXPECT_EQ(reasons(file).at("fp16 1"), "weights_digest " + digest.substr(0, 12) + " -> " +
                                              now.substr(0, 12) + ": the model's files changed");
}

TEST_F(ExperimentFiles, AFailedCellIsNotDoneAndItsClassIsCounted) {
    const auto expansion = expand_yaml(yaml, "a.yaml", {});
    StoredJob job;
    job.cell = expansion->cells[0];
    job.key = cell_key(job.cell.identity);
    job.state = "failed";
    job.last_outcome = OutcomeClass::timeout;
    put_jobs(*open_store(db), "sweep", {job});
    for (const Json& row : json_of(command_plan, {write("a.yaml", yaml)})) {
        if (row.at("what") == "failed") {
            EXPECT_EQ(row.at("count"), 1);
            EXPECT_EQ(row.at("detail"), "timeout 1 (`--retry-failed` runs them again)");
        }
        if (row.at("what") == "new") {
            EXPECT_EQ(row.at("count"), 3);
        }
    }
}

TEST_F(ExperimentFiles, CellsThatTheFileNoLongerMakesAreCounted) {
    measure(yaml);
    const std::string file = write("a.yaml", R"(experiment: sweep
matrix: {model: opt-66b, method: [fp16, nf4], batch: [1, 2], gpu: cpu, repeat: 1}
)");
    std::map<std::string, int> counts;
    for (const Json& row : json_of(command_plan, {file})) {
        counts[row.at("what")] += row.at("count").get<int>();
    }
    EXPECT_EQ(counts.at("done"), 2);
    EXPECT_EQ(counts.at("new"), 2);
    EXPECT_EQ(counts.at("no longer asked"), 2);
}

// ---- time and memory

TEST_F(ExperimentFiles, TheTimeOfNewCellsComesFromTheClosestThatWereMeasured) {
    measure(yaml, 10);
    const std::string file = write("a.yaml", R"(experiment: sweep
matrix: {model: [opt-66b, opt-125m], method: [fp16, nf4], batch: [4, 8], gpu: cpu, repeat: 1}
)");
    std::string time;
    for (const Json& row : json_of(command_plan, {file})) {
        if (row.at("what") == "time") {
            EXPECT_EQ(row.at("count"), 8);
            time = row.at("detail");
        }
    }
    EXPECT_EQ(time,
              "cpu: 1 min 20 s on one device (2 as the same model and method took, 2 as other "
              "methods of the model took, 4 scaled by parameters from other models)");
}

TEST_F(ExperimentFiles, ATemplateTakesTheTimeOfTheKindsThatWereMet) {
    measure(yaml, 10);
    const std::string file =
        write("a.yaml", "experiment: other\nmatrix: {model: opt-66b, method: fp16, repeat: 2}\n");
    std::string time;
    for (const Json& row : json_of(command_plan, {file})) {
        time = row.at("what") == "time" ? row.at("detail").get<std::string>() : time;
    }
    EXPECT_EQ(time, "cpu: 20 s on one device (2 as the same model and method took)");
}

TEST_F(ExperimentFiles, WhatAnotherExperimentMeasuredIsDoneHereToo) {
    measure(yaml);
    std::string merged = yaml;
    merged.replace(merged.find("sweep"), 5, "other");
    merged.replace(merged.find("[1, 2]"), 6, "[2, 4]");
    const std::map<std::string, std::string> want = {
        {"fp16 2", "done"},
        {"fp16 4", "batch 4 is new here (there is 1, 2)"},
        {"int8 2", "done"},
        {"int8 4", "batch 4 is new here (there is 1, 2)"}};
    EXPECT_EQ(reasons(write("merged.yaml", merged)), want);
}

TEST(PlanTime, DurationsReadAsPeopleSayThem) {
    EXPECT_EQ(duration_in_words(0.4), "less than a second");
    EXPECT_EQ(duration_in_words(192), "3 min 12 s");
    EXPECT_EQ(duration_in_words(7500), "2 h 5 min");
    EXPECT_EQ(duration_in_words(4 * 86'400 + 3 * 3600), "4 days 3 h");
}

JobSpec large_job(const std::string& gpu) {
    JobSpec spec;
    spec.model.name = "llama-3.1-8b";
    spec.method = "fp16";
    spec.gpu = gpu;
    return spec;
}

TEST(PlanFit, WhatFitsNoKnownCardNamesTheSmallestThatWouldDo) {
    JobSpec spec = large_job("T4");  // 15.0 GiB of weights alone
    EXPECT_EQ(misfit(spec, memory_of(spec), {}).substr(0, 6), "needs ");
    EXPECT_NE(misfit(spec, memory_of(spec), {})
                  .find("T4 has 15.0 GiB; the smallest known card that holds it is V100-16GB"),
              std::string::npos)
        << misfit(spec, memory_of(spec), {});
    spec.gpu = "H200";
    EXPECT_EQ(misfit(spec, memory_of(spec), {}), "");
    spec.gpu = "*";
    spec.model.name = "llama-3.1-405b";
    EXPECT_NE(misfit(spec, memory_of(spec), {}).find("no known card holds it"), std::string::npos);
    spec.gpu = "some-card";
    EXPECT_EQ(misfit(spec, memory_of(spec), {}), "");  // nobody knows
}

// More kinds than are kept, each with other batches and lengths, twice.
TEST(PlanFit, MemoryOfOneJobAfterAnotherIsThatOfEachAlone) {
    JobMemories memories;
    int batch = 0;
    for (int round = 0; round < 2; ++round) {
        for (const char* model : {"gpt2", "opt-350m", "llama-3.1-8b", "no-such-shape"}) {
            for (const char* method : {"fp16", "fp32", "int8", "llmint8-paper", "int4-g64"}) {
                for (const int head : {16, 8}) {
                    for (const char* gpu : {"cpu", "T4"}) {
                        JobSpec spec = large_job(gpu);
                        spec.model.name = model;
                        spec.method = method;
                        spec.head_bits = head;
                        spec.kv = batch % 3 == 0 ? "int8" : "16";
                        spec.threshold = batch % 2 == 0 ? 0.0 : 6.0;
                        spec.batch = 1 + batch++ % 7;
                        spec.new_tokens = 100 + batch;
                        EXPECT_EQ(memory_of(spec, memories), memory_of(spec)) << batch;
                    }
                }
            }
        }
    }
}

TEST(PlanFit, AttachedDevicesCountBeforeTheTable) {
    DeviceInfo card;
    card.kind = "NVIDIA-T4-8GB";
    card.memory_bytes = std::uint64_t{8} << 30;
    const JobSpec spec = large_job("T4");
    EXPECT_NE(misfit(spec, memory_of(spec), {card}).find("attached NVIDIA-T4-8GB has 8.0 GiB"),
              std::string::npos);
    card.memory_bytes = std::uint64_t{80} << 30;
    EXPECT_EQ(misfit(spec, memory_of(spec), {card}), "");
}

// ---- diff

TEST_F(ExperimentFiles, DiffPairsEditedCellsFieldByField) {
    const std::string before = write("old.yaml", yaml);
    const std::string after = write("new.yaml", R"(experiment: sweep
defaults: {new_tokens: 64}
matrix: {model: opt-66b, method: [fp16, int8, nf4], batch: [1, 2], gpu: cpu, repeat: 1}
timeout: 20m
order: listed
)");
    std::map<std::string, int> counts;
    std::string changes;
    for (const Json& row : json_of(command_diff, {before, after}, exit_some_failed)) {
        ++counts[row.at("what")];
        if (row.at("what") == "changed") {
            changes = row.at("changes");
        }
    }
    EXPECT_EQ(counts, (std::map<std::string, int>{{"changed", 4}, {"added", 2}}));
    EXPECT_EQ(changes, "new_tokens 128 -> 64");
    const Printed printed = run(command_diff, {before, after});
    EXPECT_NE(printed.err.find("0 cells are the same, 4 changed, 2 added, 0 removed"),
              std::string::npos);
    EXPECT_NE(printed.err.find("4 cells: new_tokens 128 -> 64"), std::string::npos);
    EXPECT_NE(printed.err.find("timeout in ms: 600000 -> 1200000"), std::string::npos);
}

TEST_F(ExperimentFiles, DiffPairsWhatTheFewestChangesMakeEqual) {
    // Taken in order the first of both sides would be a pair, by three fields.
    const auto file = [&](const char* name, const std::string& zip) {
        return write(name,
                     "experiment: sweep\nmatrix: {model: opt-66b, gpu: cpu, repeat: 1}\n"
                     "zip:\n  - {" +
                         zip + "}\n");
    };
    const std::string before =
        file("old.yaml", "method: [nf4, int8], batch: [1, 1], new_tokens: [8, 8]");
    const std::string after =
        file("new.yaml", "method: [int8, fp16], batch: [2, 3], new_tokens: [9, 8]");
    std::vector<std::string> changes;
    for (const Json& row : json_of(command_diff, {before, after}, exit_some_failed)) {
        changes.push_back(row.at("changes"));
    }
    std::ranges::sort(changes);
    EXPECT_EQ(changes, (std::vector<std::string>{"batch 1 -> 2, new_tokens 8 -> 9",
                                                 "batch 1 -> 3, method nf4 -> fp16"}));
}

TEST_F(ExperimentFiles, DiffOfTheSameCellsIsEmptyAndExitCode0) {
    const std::string one = write("one.yaml", yaml);
    std::string text = yaml;
    text.replace(text.find("[fp16, int8]"), 12, "[int8, fp16]");
    const std::string other = write("other.yaml", text);
    EXPECT_EQ(json_of(command_diff, {one, other}).size(), 0u);
    EXPECT_EQ(error_of(command_diff, {one}), "bitsweep: write `bitsweep diff OLD NEW`\n");
}

TEST(CellFields, AreTheCanonicalFormFlattened) {
    JobSpec spec;
    spec.model.name = "Llama-Nano";
    spec.method = "fp16";
    spec.prompt = "a\"b, {c}:\\";
    const CellFields fields = fields_of(spec);
    const auto value = [&](const std::string& name) {
        const auto found =
            std::ranges::find(fields, name, [](const auto& one) { return one.first; });
        return found == fields.end() ? "absent" : found->second;
    };
    EXPECT_EQ(value("model.name"), "llama-nano");
    EXPECT_EQ(value("quality.tokens"), "2048");
    EXPECT_EQ(value("batch"), "1");
    EXPECT_EQ(value("stop_at_eos"), "false");
    EXPECT_EQ(value("prompt"), "a\\\"b, {c}:\\\\");
    EXPECT_EQ(value("threshold"), "absent");
    EXPECT_EQ(changes(fields, fields).size(), 0u);
    spec.method = "llmint8-bnb";
    spec.threshold = 6;
    EXPECT_EQ(in_words(changes(fields, fields_of(spec))),
              "method fp16 -> llmint8-bnb, threshold (none) -> 6");
    const CellFields before = fields_of(spec);
    spec.prompt = "\"x\"\nand";
    EXPECT_EQ(in_words(changes(before, fields_of(spec))), "prompt a\"b, {c}:\\ -> \"x\"\nand");
    EXPECT_EQ(fields_of("{\"a").size(), 1u);
    EXPECT_EQ(fields_of("nonsense").size(), 0u);
}

TEST_F(ExperimentFiles, AFileThatIsNamedAndNotThereIsNoExperimentFile) {
    const auto refused = [&](const std::string& policy) {
        return error_of(command_plan,
                        {write("p.yaml",
                               "experiment: p\nmatrix: {model: llama-nano, method: mixed, "
                               "policy: " +
                                   policy + "}\n")});
    };
    EXPECT_NE(refused("nofile.json").find("`nofile.json`: there is no file "), std::string::npos)
        << refused("nofile.json");
    const std::string outside = refused("../p.yaml");
    EXPECT_NE(outside.find("it leads out of the folder "), std::string::npos) << outside;
    EXPECT_EQ(outside.find("link"), std::string::npos) << outside;
}

// ---- explain

TEST_F(ExperimentFiles, ExplainNamesTheLineThatMakesACellOrLeavesItOut) {
    const std::string file =
        write("a.yaml", std::string(yaml) + "exclude: [{method: int8, batch: 2}]\n");
    for (const Json& row : json_of(command_explain, {file, "method=fp16", "batch=2"})) {
        if (row.at("field") == "batch") {
            EXPECT_EQ(row.at("place"), file + ":2:59");
        }
    }
    const Json out = json_of(command_explain, {file, "method=int8", "batch=>1"}, exit_some_failed);
    EXPECT_EQ(out.at(0).at("value"), "excluded");
    EXPECT_EQ(out.at(0).at("place"), file + ":4:11");
    EXPECT_EQ(json_of(command_explain, {file}).size(), 4u);
    EXPECT_EQ(error_of(command_explain, {file, "batch=9"}),
              "bitsweep: no combination has `batch=9`; `batch` is 1, 2\n");
    EXPECT_NE(error_of(command_explain, {file, "batch"}).find("batch: which field?"),
              std::string::npos);
    EXPECT_NE(error_of(command_explain, {folder.string()}).find("a folder"), std::string::npos);
    EXPECT_EQ(error_of(command_explain, {"a.yml", "batch=9"}),
              "bitsweep: there is no experiment file a.yml\n");
}

// ---- files

TEST_F(ExperimentFiles, ABaseIsReadBesideTheFileAndNeverThroughALinkThatLeadsOut) {
    write("dir/common/base.yaml", yaml);
    write("secret.yaml", yaml);
    const std::string top =
        write("dir/top.yaml", "experiment: top\nextends: common/base.yaml\nmatrix: {batch: 4}\n");
    EXPECT_EQ(json_of(command_plan, {top, "--list"}).size(), 2u);
    fs::create_symlink(folder / "secret.yaml", folder / "dir/link.yaml");
    const std::string out = write("dir/out.yaml", "experiment: top\nextends: link.yaml\n");
    EXPECT_NE(error_of(command_plan, {out}).find("through a link"), std::string::npos);
}

TEST_F(ExperimentFiles, TheRecordOfASubmissionHasWhatTheFileDoesNotSay) {
    write("base.yaml", yaml);
    ExperimentRequest request;
    request.file = write("top.yaml", "experiment: top\nextends: base.yaml\n");
    request.overrides = {{"batch", "2"}};
    const Result<PreparedExperiment> prepared = prepare(request);
    ASSERT_TRUE(prepared.ok()) << prepared.error().message;
    EXPECT_TRUE(
        prepared->submit.yaml.starts_with("experiment: top\nextends: base.yaml\n# --set "
                                          "batch=2\n# ---- extends base.yaml\n# experiment:"));
    EXPECT_EQ(prepared->submit.cells.size(), 2u);
}

TEST_F(ExperimentFiles, AModelByPathIsFoundBesideTheFileAndLinkedForWorkersHere) {
    write("dir/m/config.json", "{}");
    write("dir/m/model.safetensors", "weights");
    ExperimentRequest request;
    request.file = write("dir/a.yaml",
                         "experiment: a\ndefaults: {quality: off}\nmatrix: {model: {path: m, "
                         "name: mine}, method: fp16, gpu: cpu, repeat: 1}\n");
    const Result<PreparedExperiment> prepared = prepare(request);
    ASSERT_TRUE(prepared.ok()) << prepared.error().message;
    const Cell& cell = prepared->submit.cells.at(0);
    EXPECT_EQ(cell.spec.model.path, (folder / "dir/m").string());
    EXPECT_EQ(not_here(prepared->submit.cells).size(), 0u);
    EXPECT_EQ(cell.identity.weights_digest, model_digest(folder / "dir/m").value());
    const fs::path links = folder / "links";
    const auto paths = model_paths(prepared->submit.cells);
    ASSERT_TRUE(paths.ok()) << paths.error().message;
    ASSERT_TRUE(link_models(*paths, links).ok());
    ASSERT_TRUE(link_models(*paths, links).ok());  // again, as the next run does
    EXPECT_EQ(list_models(std::vector<fs::path>{links}), std::vector<std::string>{"mine"});
    ASSERT_TRUE(link_models({}, links).ok());  // a run that means another model of that name
    EXPECT_EQ(list_models(std::vector<fs::path>{links}), std::vector<std::string>{});
    fs::remove_all(folder / "dir/m");
    std::vector<Cell> cells = prepared->submit.cells;
    cells[0].spec.quality = {QualityMode::once, "no-such-text", 100};
    const auto gone = not_here(cells);
    ASSERT_EQ(gone.size(), 2u);
    EXPECT_NE(texts_are_here(cells).error().message.find("no-such-text"), std::string::npos);
    EXPECT_TRUE(texts_are_here(prepared->submit.cells).ok());
    EXPECT_NE(gone[0].what.find("model mine: there is no "), std::string::npos);
    EXPECT_EQ(
        gone[1].what,
        "text no-such-text is not here; `run` refuses it, another machine's worker may have it");
}

TEST_F(ExperimentFiles, APolicyOfAnotherModelIsRefusedBeforeAnythingIsSent) {
    const auto policy = [&](const std::string& model) {
        write("dir/p.json", "{\"policy\": \"p\"" +
                                (model.empty() ? "" : ", \"model\": \"" + model + "\"") +
                                ", \"layers\": {\"model.layers.0.mlp.up_proj\": \"int8\"}}");
    };
    ExperimentRequest request;
    request.file = write("dir/a.yaml",
                         "experiment: a\ndefaults: {quality: off}\nmatrix: {model: gpt2, "
                         "method: mixed, policy: p.json, gpu: cpu}\n");
    for (const char* model : {"", "gpt2"}) {
        policy(model);
        const auto prepared = prepare(request);
        EXPECT_TRUE(prepared.ok()) << prepared.error().message;
    }
    policy("llama-pico");
    const auto prepared = prepare(request);
    ASSERT_FALSE(prepared.ok());
    EXPECT_EQ(prepared.error().code, ErrorCode::invalid_input);
    EXPECT_NE(prepared.error().message.find("made for llama-pico, and its model is gpt2"),
              std::string::npos)
        << prepared.error().message;
}

TEST_F(ExperimentFiles, ABigFileIsDigestedOnceUntilItChanges) {
    const fs::path file = write("big.bin", std::string(2 << 20, 'x'));
    const fs::path memory = folder / "cache/digests";
    // Files that have just changed are not remembered: their times may stay the same.
    {
        DigestCache cache(memory);
        EXPECT_EQ(cache.of(file).value(), file_digest(file).value());
        cache.save();
        EXPECT_FALSE(fs::exists(memory));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2'100));
    DigestCache first(memory);
    EXPECT_TRUE(first.of(file).ok());
    EXPECT_EQ(first.files_read(), 1);
    first.save();
    DigestCache second(memory);
    EXPECT_EQ(second.of(file).value(), file_digest(file).value());
    EXPECT_EQ(second.files_read(), 0);
    // The same size and the same modification time: the change time tells.
    const fs::file_time_type time = fs::last_write_time(file);
    std::ofstream(file, std::ios::binary) << std::string(2 << 20, 'y');
    fs::last_write_time(file, time);
    EXPECT_EQ(second.of(file).value(), file_digest(file).value());
    EXPECT_EQ(second.files_read(), 1);
    EXPECT_EQ(second.of(folder / "none").error().code, ErrorCode::not_found);
}

TEST_F(ExperimentFiles, ADamagedDigestCacheIsAnEmptyOne) {
    const std::string file = write("big.bin", std::string(1 << 20, 'x'));
    const std::string zeros(64, '0');
    for (const std::string& text :
         {std::string("nonsense"),
          "bitsweep digests 1\n" + zeros + " 1048576 x 0 0 0 " + file + "\n",
          "bitsweep digests 1\nshort 1048576 0 0 0 0 " + file + "\n",
          "bitsweep digests 1\n" + zeros + " 1048576 0 0 0 0 " + file + "\n"}) {
        DigestCache cache(write("digests", text));
        EXPECT_EQ(cache.of(file).value(), file_digest(file).value()) << text;
    }
}

}  // namespace
}  // namespace bitsweep::testing
