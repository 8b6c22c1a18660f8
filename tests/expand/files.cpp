#include "tests/expand/files.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>

#include "schemas/codec.h"

namespace bitsweep::testing {
namespace {

using Json = nlohmann::json;

Json plain_cell() {
    JobSpec spec;
    spec.model.name = "llama-nano";
    spec.method = "fp16";
    spec.quality = {QualityMode::once, "heldout-fiction", 32'768, 256};
    return Json::parse(canonical_json(spec)).flatten();
}

std::string cell_line(const Cell& cell) {
    static const Json plain = plain_cell();
    const Json fields = Json::parse(canonical_json(cell.spec)).flatten();
    Json shown = Json::object();
    for (const auto& [name, value] : fields.items()) {
        if (!plain.contains(name) || plain[name] != value) {
            shown[name] = value;
        }
    }
    for (const auto& [name, value] : plain.items()) {
        if (!fields.contains(name)) {
            shown[name] = nullptr;
        }
    }
    if (!cell.spec.model.path.empty()) {
        shown["path"] = cell.spec.model.path;
    }
    return "line " + std::to_string(cell.yaml_line) + ": " + shown.dump() +
           (cell.card_condition ? " where the card meets " + *cell.card_condition : "");
}

}  // namespace

std::string read_text_file(const std::filesystem::path& file) {
    std::ifstream stream(file, std::ios::binary);
    EXPECT_TRUE(stream.good()) << file;
    return std::string(std::istreambuf_iterator<char>(stream), {});
}

std::vector<std::filesystem::path> yaml_files(const std::string& folder) {
    std::vector<std::filesystem::path> out;
    for (const auto& entry : std::filesystem::directory_iterator(
             std::filesystem::path(BITSWEEP_SOURCE_DIR) / "tests" / "expand" / folder)) {
        if (entry.path().extension() == ".yaml") {
            out.push_back(entry.path());
        }
    }
    std::ranges::sort(out);
    return out;
}

std::string describe(const Expansion& expansion) {
    std::ostringstream out;
    out << "axes:";
    for (const auto& [name, count] : expansion.axes) {
        out << " " << name << " " << count;
    }
    out << "\n";
    for (const ExpansionNote& note : expansion.notes) {
        out << "note: " << note.cells << " " << note.what << "\n";
    }
    for (const auto& [name, value] : expansion.tags) {
        out << "tag: " << name << " = " << value << "\n";
    }
    if (!expansion.cells.empty()) {
        const JobPolicy& policy = expansion.cells[0].policy;
        out << "policy: priority " << policy.priority << ", timeout " << policy.timeout.ms
            << " ms, retries " << policy.retries_crash << " " << policy.retries_fail << "\n";
    }
    for (const Cell& cell : expansion.cells) {
        out << cell_line(cell) << "\n";
    }
    return out.str();
}

Expansion expanded(const std::string& yaml, const Overrides& overrides) {
    Result<Expansion> result = expand_yaml(yaml, "test.yaml", overrides);
    EXPECT_TRUE(result.ok()) << (result.ok() ? "" : result.error().message);
    return result.ok() ? std::move(result).value() : Expansion{};
}

std::string refusal(const std::string& yaml, const Overrides& overrides) {
    const Result<Expansion> result = expand_yaml(yaml, "test.yaml", overrides);
    if (result.ok()) {
        return "accepted";
    }
    EXPECT_EQ(result.error().code, ErrorCode::invalid_input);
    return result.error().message;
}

}  // namespace bitsweep::testing
