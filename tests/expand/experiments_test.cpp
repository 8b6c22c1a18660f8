// The committed experiments say what they are, and the JSON Schema for editors agrees with the
// expander about every valid file.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "coordinator/expand/fields.h"
#include "coordinator/expand/overrides.h"
#include "coordinator/expand/yaml_node.h"
#include "schemas/catalog/cards.h"
#include "schemas/catalog/methods.h"
#include "schemas/catalog/shapes.h"
#include "schemas/codec.h"
#include "tests/expand/files.h"

namespace bitsweep::testing {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// As the program itself hands the file to its first gate.
std::string json_of(const fs::path& file) {
    const Result<yaml::Node> node = yaml::read_document(read_text_file(file), file.string());
    EXPECT_TRUE(node.ok()) << node.error().message;
    return node.ok() ? yaml::to_json(*node) : "null";
}

std::vector<fs::path> experiments() {
    std::vector<fs::path> out;
    for (const auto& entry :
         fs::directory_iterator(fs::path(BITSWEEP_SOURCE_DIR) / "experiments")) {
        if (entry.path().extension() == ".yaml") {
            out.push_back(entry.path());
        }
    }
    std::ranges::sort(out);
    return out;
}

TEST(Experiments, EachOpensWithQuestionHypothesisJobsAndCost) {
    EXPECT_GE(experiments().size(), 2u);
    for (const fs::path& file : experiments()) {
        SCOPED_TRACE(file.filename().string());
        const std::string text = read_text_file(file);
        const std::string head = text.substr(0, text.find("\nexperiment:"));
        std::size_t at = 0;
        for (const char* word : {"# Question:", "# Hypothesis:", "# Jobs:", "# Cost:"}) {
            const std::size_t found = head.find(word, at);
            EXPECT_NE(found, std::string::npos) << word;
            at = found;
        }
        const Expansion expansion = expanded(text);
        EXPECT_FALSE(expansion.question.empty());
        EXPECT_FALSE(expansion.hypothesis.empty());
        EXPECT_FALSE(expansion.cost.empty());
        EXPECT_EQ(expansion.experiment.value, file.stem().string());
    }
}

TEST(Experiments, EachMakesAsManyJobsAsItSays) {
    for (const fs::path& file : experiments()) {
        const std::string text = read_text_file(file);
        const std::size_t at = text.find("\njobs: ");
        ASSERT_NE(at, std::string::npos) << file;
        EXPECT_EQ(expanded(text).cells.size(), std::stoul(text.substr(at + 7))) << file;
    }
}

TEST(Experiments, QuickstartMeasuresSevenFormatsOfSixModelsThreeTimes) {
    const Expansion expansion =
        expanded(read_text_file(fs::path(BITSWEEP_SOURCE_DIR) / "experiments" / "quickstart.yaml"));
    std::set<std::tuple<std::string, std::string, double>> cells;
    std::set<std::string> with_quality;
    for (const Cell& cell : expansion.cells) {
        const JobSpec& spec = cell.spec;
        cells.insert({spec.model.name, spec.method, spec.threshold.value_or(-1)});
        EXPECT_EQ(spec.protocol, Protocol::quick);
        EXPECT_EQ(spec.new_tokens, 32);
        EXPECT_EQ(spec.quality.mode, QualityMode::once);
        EXPECT_EQ(spec.quality.tokens, 2048);
        EXPECT_EQ(spec.quality.window, spec.model.name == "smollm2-135m" ? 512 : 256);
        EXPECT_LT(spec.repeat, 3);
    }
    std::set<std::tuple<std::string, std::string, double>> want;
    for (const char* model :
         {"llama-pico", "llama-nano", "llama-micro", "gpt2-nano", "opt-nano", "smollm2-135m"}) {
        for (const char* method : {"fp16", "int8", "nf4", "int4-g64"}) {
            want.insert({model, method, -1});
        }
        for (const double threshold : {0.0, 3.0, 6.0}) {
            want.insert({model, "llmint8-bnb", threshold});
        }
    }
    EXPECT_EQ(cells, want);
    EXPECT_EQ(expansion.cells.size(), want.size() * 3);
}

TEST(Experiments, SeedReportIsTheSeedsProtocol) {
    const Expansion expansion = expanded(
        read_text_file(fs::path(BITSWEEP_SOURCE_DIR) / "experiments" / "seed-report.yaml"));
    ASSERT_EQ(expansion.cells.size(), 2u);
    EXPECT_EQ(expansion.cells[0].spec.method, "fp16");
    EXPECT_EQ(expansion.cells[1].spec.method, "llmint8-bnb");
    EXPECT_EQ(expansion.cells[1].spec.threshold, 6.0);
    for (const Cell& cell : expansion.cells) {
        EXPECT_EQ(cell.spec.model.name, "smollm2-135m");
        EXPECT_EQ(cell.spec.prompt, "Hello, how are you?");
        EXPECT_EQ(cell.spec.new_tokens, 10);
        EXPECT_EQ(cell.spec.protocol, Protocol::seed_report);
        EXPECT_EQ(cell.spec.warmup, 1);
        EXPECT_EQ(cell.spec.batch, 1);
    }
}

TEST(Experiments, TheSchemaForEditorsAcceptsEveryValidFile) {
    std::vector<fs::path> files = experiments();
    for (const fs::path& file : yaml_files("valid")) {
        files.push_back(file);
    }
    for (const fs::path& file : files) {
        const Status valid = validate(Noun::experiment, json_of(file));
        EXPECT_TRUE(valid.ok()) << file << ": " << (valid.ok() ? "" : valid.error().message);
    }
}

TEST(Experiments, TheSchemaForEditorsRefusesUnknownKeysToo) {
    for (const char* name : {"unknown_top_key", "unknown_field", "unknown_default", "no_matrix",
                             "no_name", "retries_typo", "model_with_unknown_key"}) {
        const fs::path file = fs::path(BITSWEEP_SOURCE_DIR) / "tests" / "expand" / "invalid" /
                              (std::string(name) + ".yaml");
        EXPECT_FALSE(validate(Noun::experiment, json_of(file)).ok()) << name;
    }
}

TEST(Experiments, TheSchemaForEditorsRefusesWhatAPatternCan) {
    const auto accepted = [](const std::string& text) {
        const auto node = yaml::read_document(text, "a.yaml");
        EXPECT_TRUE(node.ok()) << text;
        return node.ok() && validate(Noun::experiment, yaml::to_json(*node)).ok();
    };
    const std::string tail = ", matrix: {model: gpt2, method: fp16}}";
    for (const char* keys :
         {"experiment: a-1.B_", "experiment: 2024", "experiment: a, order: shuffled(7)",
          "experiment: a, order: interleave(prompt_tokens)", "experiment: a, timeout: 90s",
          "experiment: a, include: [{batch: 2}]", "experiment: a, defaults: {}",
          "experiment: a, zip: [{threshold: {log: [1, 8], n: 3}, batch: {range: [1, 3]}}]"}) {
        EXPECT_TRUE(accepted("{" + std::string(keys) + tail)) << keys;
    }
    for (const char* keys :
         {"experiment: a b", "experiment: \u00e9", "experiment: ..", "experiment: a, order: random",
          "experiment: a, order: shuffled(-1)", "experiment: a, order: interleave(Q)",
          "experiment: a, timeout: 1h30m", "experiment: a, timeout: 0s",
          "experiment: a, include: [{}]", "experiment: a, zip: [{batch: {range: [1, 2], n: 3}}]",
          "experiment: a, zip: [{batch: {log: [1, 2]}}]",
          "experiment: a, zip: [{batch: {log: [1, 2], linear: [1, 2], n: 2}}]",
          "experiment: a, defaults: {model: {weights: random}}"}) {
        EXPECT_FALSE(accepted("{" + std::string(keys) + tail)) << keys;
    }
}

// What an editor offers is what there is.
TEST(Experiments, TheSchemaForEditorsCompletesModelsMethodsCardsAndFields) {
    const Json schema = Json::parse(schema_text(Noun::experiment));
    const auto offered = [&](const char* field) {
        return schema["definitions"][std::string("one_") + field]["anyOf"][0]["enum"]
            .get<std::set<std::string>>();
    };
    std::set<std::string> models;
    for (const ModelShape& shape : shape_table()) {
        models.insert(std::string(shape.name));
    }
    EXPECT_EQ(offered("model"), models);
    std::set<std::string> cards = {"cpu"};
    for (const Card& card : card_table()) {
        cards.insert(std::string(card.name));
    }
    EXPECT_EQ(offered("gpu"), cards);
    const std::set<std::string> methods = offered("method");
    for (const MethodRow& row : method_table()) {
        const bool has_numbers = row.id.find_first_of("BN") != std::string_view::npos;
        EXPECT_TRUE(has_numbers || methods.contains(std::string(row.id))) << row.id;
    }
    for (const std::string& method : methods) {
        EXPECT_TRUE(parse_method(method).ok()) << method;
    }
    for (const FieldRow& row : field_table()) {
        EXPECT_TRUE(schema["definitions"]["axes"]["properties"].contains(std::string(row.name)));
        EXPECT_TRUE(schema["definitions"]["values"]["properties"].contains(std::string(row.name)));
    }
    for (const std::string_view key : top_level_keys()) {
        EXPECT_TRUE(schema["properties"].contains(std::string(key))) << key;
    }
}

}  // namespace
}  // namespace bitsweep::testing
