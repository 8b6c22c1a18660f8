// A report of two cards and a CPU with known laws. BITSWEEP_REPORT_DIR keeps the page and the
// database for looking at.
#include "results/analysis/report.h"

#include <cmath>
#include <cstdlib>
#include <fstream>

#include "results/store/external.h"
#include "tests/analysis/synthetic.h"

namespace bitsweep::testing {
namespace {

namespace fs = std::filesystem;

const std::vector<std::string> models = {"gpt2",         "gpt2-medium",  "gpt2-large",
                                         "gpt2-xl",      "llama-3.2-1b", "llama-3.2-3b",
                                         "llama-3.1-8b", "qwen2.5-0.5b"};

// Device times of a step, in ns and bytes per second; the CPU is the same law, slower.
const std::vector<PhysicalLaw> laws = {
    {"fp16", {}, 15'000, 1'500, 2.9e12},        {"int8", {}, 15'000, 2'500, 2.6e12},
    {"llmint8-bnb", 0, 15'000, 9'000, 2.5e12},  {"llmint8-bnb", 3, 15'000, 12'000, 2.2e12},
    {"llmint8-bnb", 6, 15'000, 11'000, 2.4e12}, {"nf4", {}, 15'000, 4'000, 1.6e12},
    {"int4-g64", {}, 15'000, 3'000, 1.9e12}};

void add_counters(SyntheticCell& cell) {
    const double step = 1e9 / cell.decode_tokens_per_s;
    const double products = 4 * static_cast<double>(find_shape(cell.model)->layers) + 1;
    const bool llmint8 = cell.method == "llmint8-bnb";
    const double threshold = cell.threshold.value_or(0);
    cell.more.insert(cell.more.end(),
                     {{"launches_per_token", "1", 0, llmint8 ? 4 * products : products},
                      {"graph_node_latency", "ns", 0, 600},
                      {"host_gap_per_token", "ns", 0, llmint8 ? 40'000.0 : 8'000.0},
                      {"syncs_per_token", "1", 0, llmint8 && threshold > 0 ? 20.0 : 0.0},
                      {"launch_round_trip", "ns", 0, 4'000},
                      {"token_latency_mean", "ns", 0, step * 1.01},
                      {"token_latency_p50", "ns", 0, step},
                      {"energy_per_token", "mJ/token", 0, step * 400e-6},
                      {"kv_cache_bytes", "B", 0, 60e6},
                      {"activations_bytes", "B", 0, 40e6},
                      {"workspace_bytes", "B", 0, 20e6}});
    if (threshold > 0) {
        cell.more.push_back({"outlier_columns", "1", 0, threshold == 3 ? 420.0 : 37.0});
    }
}

SyntheticPlan three_devices() {
    SyntheticPlan plan;
    plan.experiment = "three-devices";
    plan.devices = {{"NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3"},
                    {"Tesla T4", "Tesla T4", 0.1},
                    {"cpu", "test cpu", 0.004}};
    plan.cells = physical_cells(models, laws, QualityLaw{1.5, -1.3, -0.25});
    Gauss gauss(11);
    for (SyntheticCell& cell : plan.cells) {
        for (Measurement& m : cell.more) {
            m.value *= m.metric == "kl_mean" ? std::exp(0.15 * gauss.next()) : 1;
        }
        add_counters(cell);
    }
    plan.damage = [run = 0](FinishedRun& one, const SyntheticCell&, int) mutable {
        one.result.started_unix_ms = 60'000LL * ++run;
        one.result.finished_unix_ms = one.result.started_unix_ms + 50'000;
        if (run % 50 == 7) {
            one.result.measurements.push_back({"window_throttled", "1", 0, 1});
        }
    };
    return plan;
}

struct Reports : ::testing::Test {
    TempFolder folder;
    fs::path db = folder / "a.db";

    Report report_of(const SyntheticPlan& plan, bool with_external) {
        fill(*open_store(db), plan);
        if (with_external) {
            const fs::path published = BITSWEEP_SOURCE_DIR "/results/published";
            std::vector<ExternalFile> files;
            for (const char* name : {"seed-t4.csv", "llama-bench-h100.jsonl"}) {
                files.push_back(read_external(published / name).value());
            }
            EXPECT_EQ(store_external(db, files, 5).value(), 2);
        }
        const auto store = open_store(db, OpenMode::read_only);
        Result<Report> report = make_report(*store, {plan.experiment}, {.resamples = 400});
        EXPECT_TRUE(report.ok()) << report.error().message;
        return std::move(report).value();
    }
};

// Every opened element is closed, in order.
void expect_well_formed(const std::string& page) {
    std::vector<std::string> open;
    for (std::size_t at = page.find('<'); at != std::string::npos; at = page.find('<', at + 1)) {
        const std::size_t end = page.find('>', at);
        ASSERT_NE(end, std::string::npos);
        const std::string tag = page.substr(at + 1, end - at - 1);
        const std::string name = tag.substr(0, tag.find_first_of(" /", 1));
        if (tag.starts_with("!") || tag.starts_with("meta") || tag.ends_with("/")) {
            continue;
        }
        if (!tag.starts_with("/")) {
            open.push_back(name);
            continue;
        }
        ASSERT_FALSE(open.empty()) << tag;
        ASSERT_EQ("/" + open.back(), tag) << page.substr(at > 200 ? at - 200 : 0, 300);
        open.pop_back();
    }
    EXPECT_TRUE(open.empty());
}

int count(const std::string& text, const std::string& word) {
    int found = 0;
    for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
        ++found;
    }
    return found;
}

TEST_F(Reports, showEveryPlotAndEveryPart) {
    const Report report = report_of(three_devices(), true);
    const std::string page = to_html(report);
    if (const char* keep = std::getenv("BITSWEEP_REPORT_DIR")) {
        std::ofstream(fs::path(keep) / "three-devices.html") << page;
        fs::copy_file(db, fs::path(keep) / "three-devices.db",
                      fs::copy_options::overwrite_existing);
    }
    for (const SpeedFit& fit : report.scaling.speed) {
        EXPECT_LT(fit.held_out, 0.05) << fit.device << " " << fit.method;
    }
    expect_well_formed(page);
    // Three devices with speed-up, split, memory and order, and each model's front and thresholds;
    // two laws.
    EXPECT_EQ(count(page, "<figure>"), (4 + 2 * static_cast<int>(models.size())) * 3 + 2);
    EXPECT_NE(page.find("The other models on Tesla T4"), std::string::npos);
    for (const char* id : {"summary", "crossover", "latency", "pareto", "threshold", "memory",
                           "scaling", "left-out", "external", "methods", "provenance", "repeat"}) {
        EXPECT_NE(page.find("<section id=\"" + std::string(id)), std::string::npos) << id;
        EXPECT_NE(page.find("href=\"#" + std::string(id)), std::string::npos) << id;
    }
    for (const std::string& model : models) {  // a curve of each, not of the largest alone
        for (const char* threshold : {"0", "3", "6"}) {
            const std::string point = model + ", T = " + threshold + ": ";
            EXPECT_EQ(count(page, point), (std::string(threshold) == "0" ? 2 : 3) * 3) << point;
        }
    }
    EXPECT_GE(count(page, "external: "), 6 * 3);  // six peers' ratios on each device's plot
    EXPECT_NE(page.find("dialogpt-small llm.int8 on Tesla T4"), std::string::npos);
    EXPECT_GE(report.evidence.excluded.size(), 5u);
    EXPECT_NE(page.find("throttled"), std::string::npos);
    EXPECT_LT(page.size(), 3u << 20);
}

TEST_F(Reports, areOneFileWithoutScriptOrNetwork) {
    const std::string page = to_html(report_of(three_devices(), true));
    for (const char* banned :
         {"<script", "http://", "https://", " src=", "<link", "@import", "url(", "javascript:"}) {
        EXPECT_EQ(page.find(banned), std::string::npos) << banned;
    }
    EXPECT_NE(page.find("prefers-color-scheme: dark"), std::string::npos);
    EXPECT_NE(page.find("@media print"), std::string::npos);
}

TEST_F(Reports, nameEveryPlotForThoseWhoCannotSeeIt) {
    const std::string page = to_html(report_of(three_devices(), false));
    EXPECT_EQ(count(page, "<svg viewBox") - count(page, "role=\"img\" aria-label=\""), 0);
    EXPECT_EQ(count(page, "<svg class=\"key\"") - count(page, "aria-hidden=\"true\""), 0);
    EXPECT_EQ(count(page, "NaN") + count(page, "nan\""), 0);
}

TEST_F(Reports, escapeWhatAnExperimentBringsAlong) {
    SyntheticPlan plan;
    plan.experiment = "e";
    plan.cells = {{"<b>&\"", "fp16", {}, 100}, {"<b>&\"", "int8", {}, 120}};
    plan.devices = {{"cpu", "<script>alert(1)</script>"}};
    const std::string page = to_html(report_of(plan, false));
    EXPECT_EQ(page.find("<script"), std::string::npos);
    EXPECT_EQ(page.find("<b>"), std::string::npos);
    expect_well_formed(page);
}

TEST_F(Reports, countUnderTheirTitleWhatTheTableOfCellsShows) {
    SyntheticPlan plan;
    plan.cells = {
        {"gpt2", "fp16", {}, 100}, {"gpt2", "int8", {}, 120}, {"opt-125m", "nf4", {}, 90}};
    plan.damage = [](FinishedRun& run, const SyntheticCell& cell, int) {
        if (cell.method != "fp16") {
            run.result.measurements.push_back({"window_throttled", "1", 0, 1});
        }
    };
    const std::string page = to_html(report_of(plan, false));
    EXPECT_NE(page.find("3 cells of 2 models and 3 methods, 9 runs on cpu, 6 of them left out"),
              std::string::npos);
}

TEST_F(Reports, ofAnExperimentWithoutAResultSaySo) {
    SyntheticPlan plan;
    plan.experiment = "nothing";
    fill(*open_store(db), plan);
    put_jobs(*open_store(db), "nothing", {make_job("fp16")});
    const auto store = open_store(db, OpenMode::read_only);
    const Result<Report> report = make_report(*store, {"nothing"});
    ASSERT_TRUE(report.ok()) << report.error().message;
    const std::string page = to_html(*report);
    expect_well_formed(page);
    EXPECT_NE(page.find("No cell has a result yet"), std::string::npos);
    EXPECT_FALSE(make_report(*store, {"other"}).ok());
}

TEST_F(Reports, asMarkdownHoldTheTables) {
    const std::string text = to_markdown(report_of(three_devices(), true));
    for (const char* words : {"# three-devices", "## Crossover", "## Pareto", "## Scaling",
                              "| model |", "External results"}) {
        EXPECT_NE(text.find(words), std::string::npos) << words;
    }
}

}  // namespace
}  // namespace bitsweep::testing
