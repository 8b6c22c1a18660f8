// llama-bench's output (ggml-org/llama.cpp, tools/llama-bench): JSON, JSON lines and SQL.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "results/store/external.h"
#include "results/store/sqlite.h"

namespace bitsweep {
namespace {

using nlohmann::json;

// What a row says, whatever it was written in.
struct Row {
    std::string commit, cpu, gpu, backends, type, time;
    double bytes = 0, parameters = 0, mean = 0;
    std::int64_t prompt = 0, generated = 0, depth = 0;
    std::vector<double> samples;
};

double median_of(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const std::size_t middle = values.size() / 2;
    return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) {
        return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    });
    return text;
}

// "llama 1B Q4_0" or "qwen2 7B Q4_K - Medium": the model, then what its weights are.
void name_model(const std::string& type, ExternalRun& run) {
    std::size_t cut = type.find(' ');
    cut = cut == std::string::npos ? cut : type.find(' ', cut + 1);
    run.model = type.substr(0, cut);
    run.method = cut == std::string::npos ? "unknown" : lower(type.substr(cut + 1));
}

// No value: a test of both at once, or of nothing.
std::optional<ExternalRun> run_of(const Row& row, int position) {
    const bool decode = row.generated > 0 && row.prompt == 0;
    const bool prefill = row.prompt > 0 && row.generated == 0;
    const double value = row.samples.empty() ? row.mean : median_of(row.samples);
    if (decode == prefill || !(value > 0) || !std::isfinite(value)) {
        return std::nullopt;
    }
    ExternalRun run;
    run.position = position;
    run.tool = "llama-bench" + (row.commit.empty() ? "" : " " + row.commit);
    name_model(row.type, run);
    run.gpu = row.gpu.empty() ? "cpu" : row.gpu;
    run.host = row.cpu;
    run.measured = row.time;
    if (row.parameters > 0) {
        run.parameters = row.parameters;
        run.weight_bits = 8 * row.bytes / row.parameters;
    }
    run.prompt_tokens = row.prompt + row.depth;
    run.new_tokens = row.generated;
    run.note = row.samples.empty() ? "mean of the repetitions: this format keeps no samples" : "";
    run.measurements.push_back(
        {decode ? "decode_tokens_per_s" : "prefill_tokens_per_s", "token/s", value, row.samples});
    if (row.bytes > 0) {
        run.measurements.push_back({"weights_bytes", "B", row.bytes, {}});
    }
    return run;
}

std::string text_at(const json& object, const char* key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

double number_at(const json& object, const char* key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_number() ? found->get<double>() : 0;
}

Row row_of(const json& object) {
    Row row{text_at(object, "build_commit"), text_at(object, "cpu_info"),
            text_at(object, "gpu_info"),     text_at(object, "backends"),
            text_at(object, "model_type"),   text_at(object, "test_time")};
    row.bytes = number_at(object, "model_size");
    row.parameters = number_at(object, "model_n_params");
    row.mean = number_at(object, "avg_ts");
    row.prompt = static_cast<std::int64_t>(number_at(object, "n_prompt"));
    row.generated = static_cast<std::int64_t>(number_at(object, "n_gen"));
    row.depth = static_cast<std::int64_t>(number_at(object, "n_depth"));
    if (const auto found = object.find("samples_ts"); found != object.end()) {
        for (const json& value : *found) {
            if (value.is_number() && value.get<double>() > 0) {
                row.samples.push_back(value.get<double>());
            }
        }
    }
    return row;
}

Status check_row(const json& object, int position) {
    if (!object.is_object() || !object.contains("n_gen") || !object.contains("model_type") ||
        !object.contains("avg_ts")) {
        return make_error(ErrorCode::invalid_input,
                          "entry " + std::to_string(position) +
                              " is not llama-bench's: it lacks one of model_type, n_gen, avg_ts");
    }
    return {};
}

// One array, or an object a line.
Result<std::vector<json>> entries_of(std::string_view text) {
    const json whole = json::parse(text, nullptr, false);
    if (whole.is_array()) {
        return std::vector<json>(whole.begin(), whole.end());
    }
    std::vector<json> entries;
    int line_number = 0;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        const std::string_view line = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        ++line_number;
        if (line.find_first_not_of(" \t\r") == std::string_view::npos) {
            continue;
        }
        entries.push_back(json::parse(line, nullptr, false));
        if (entries.back().is_discarded()) {
            return make_error(ErrorCode::invalid_input,
                              "line " + std::to_string(line_number) + " is not JSON");
        }
    }
    return entries;
}

// Lets a dump make and fill its own table, in memory, and nothing else.
int only_inserts(void*, int action, const char*, const char*, const char*, const char*) {
    switch (action) {
        case SQLITE_CREATE_TABLE:
        case SQLITE_INSERT:
        case SQLITE_UPDATE:  // CREATE TABLE writes the schema's own row
        case SQLITE_READ:
        case SQLITE_SELECT:
        case SQLITE_TRANSACTION:
        case SQLITE_REINDEX:
            return SQLITE_OK;
        default:
            return SQLITE_DENY;
    }
}

}  // namespace

Result<std::vector<ExternalRun>> llama_bench_json(std::string_view text, int& skipped) {
    std::vector<ExternalRun> runs;
    int position = 0;
    for (const json& entry : TRY(entries_of(text))) {
        TRY(check_row(entry, ++position));
        if (auto run = run_of(row_of(entry), position)) {
            runs.push_back(std::move(*run));
        } else {
            ++skipped;
        }
    }
    return runs;
}

Result<std::vector<ExternalRun>> llama_bench_sql(const std::string& text, int& skipped) {
    Connection connection =
        TRY(Connection::open(":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
    sqlite3_set_authorizer(connection.raw(), only_inserts, nullptr);
    sqlite3_limit(connection.raw(), SQLITE_LIMIT_ATTACHED, 0);
    if (const Status done = connection.exec(text.c_str()); !done) {
        return make_error(ErrorCode::invalid_input, "SQL: " + done.error().message);
    }
    auto rows = connection.prepare(
        "SELECT build_commit, cpu_info, gpu_info, backends, model_type, test_time, model_size,"
        " model_n_params, avg_ts, n_prompt, n_gen, n_depth FROM llama_bench");
    if (!rows) {
        // Older versions have no depth.
        rows = connection.prepare(
            "SELECT build_commit, cpu_info, gpu_info, backends, model_type, test_time, model_size,"
            " model_n_params, avg_ts, n_prompt, n_gen, 0 FROM llama_bench");
    }
    if (!rows) {
        return make_error(ErrorCode::invalid_input,
                          "SQL without the table llama_bench and its columns: write it with "
                          "`llama-bench -o sql`");
    }
    std::vector<ExternalRun> runs;
    int position = 0;
    while (TRY(rows->step())) {
        Row row{rows->text(0), rows->text(1), rows->text(2),
                rows->text(3), rows->text(4), rows->text(5)};
        row.bytes = rows->real(6);
        row.parameters = rows->real(7);
        row.mean = rows->real(8);
        row.prompt = rows->integer(9);
        row.generated = rows->integer(10);
        row.depth = rows->integer(11);
        if (auto run = run_of(row, ++position)) {
            runs.push_back(std::move(*run));
        } else {
            ++skipped;
        }
    }
    return runs;
}

}  // namespace bitsweep
