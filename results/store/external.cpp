#include "results/store/external.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include "results/store/json_text.h"
#include "results/store/sqlite.h"
#include "results/store/store.h"
#include "schemas/codec_scan.h"
#include "schemas/content.h"

namespace bitsweep {
namespace {

namespace fs = std::filesystem;

constexpr std::uintmax_t most_bytes = 64u << 20;  // a llama-bench row has 1.5 kB: 40,000 rows

constexpr const char* put_source =
    "INSERT INTO external_sources (digest, file, format, imported_unix_ms) VALUES (?1, ?2, ?3, ?4)"
    " ON CONFLICT (digest) DO NOTHING RETURNING id";
constexpr const char* put_run =
    "INSERT INTO external_runs (source, position, tool, model, parameters, method, weight_bits,"
    " threshold, gpu, host, batch, prompt_tokens, new_tokens, measured, reference, note)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16) RETURNING id";
constexpr const char* put_measurement =
    "INSERT INTO external_measurements (run, metric, unit, value, samples)"
    " VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (run, metric) DO NOTHING";

Result<std::string> whole(const fs::path& file) {
    std::error_code failed;
    const std::uintmax_t size = fs::file_size(file, failed);
    if (failed) {
        return make_error(ErrorCode::not_found, file.string() + ": " + failed.message());
    }
    if (size > most_bytes) {
        return make_error(ErrorCode::invalid_input,
                          file.string() + ": larger than 64 MiB; split it by lines");
    }
    std::ifstream stream(file, std::ios::binary);
    std::string text{std::istreambuf_iterator<char>(stream), {}};
    if (!stream && !stream.eof()) {
        return make_error(ErrorCode::io, file.string() + ": cannot be read");
    }
    return text;
}

// Stored text is shown in pages and tables that are UTF-8.
Status check_utf8(std::string_view text) {
    if (codec::is_utf8(text)) {
        return {};
    }
    int line = 1;
    for (std::size_t start = 0; start < text.size(); ++line) {
        const std::size_t end = std::min(text.find('\n', start), text.size());
        if (!codec::is_utf8(text.substr(start, end - start))) {
            break;
        }
        start = end + 1;
    }
    return make_error(ErrorCode::invalid_input, "line " + std::to_string(line) +
                                                    " is not UTF-8; save the file as UTF-8 "
                                                    "(`iconv -f latin1 -t utf8`)");
}

std::string first_word(std::string_view text) {
    const std::size_t start = text.find_first_not_of(" \t\r\n\xef\xbb\xbf");
    return start == std::string_view::npos ? "" : std::string(text.substr(start, 12));
}

bool starts_like_sql(const std::string& word) {
    return word.starts_with("CREATE") || word.starts_with("INSERT") || word.starts_with("--");
}

void bind_optional(Statement& statement, int index, const std::optional<double>& value) {
    value ? statement.bind(index, *value) : statement.bind_null(index);
}

void bind_optional(Statement& statement, int index, const std::optional<std::int64_t>& value) {
    value ? statement.bind(index, *value) : statement.bind_null(index);
}

void bind_text(Statement& statement, int index, const std::string& text) {
    text.empty() ? statement.bind_null(index) : statement.bind(index, text);
}

Status write_run(Connection& connection, std::int64_t source, const ExternalRun& run) {
    Statement& row = *TRY(connection.cached(put_run));
    row.bind_all(source, run.position, run.tool, run.model);
    bind_optional(row, 5, run.parameters);
    row.bind(6, run.method);
    bind_optional(row, 7, run.weight_bits);
    bind_optional(row, 8, run.threshold);
    row.bind(9, run.gpu);
    bind_text(row, 10, run.host);
    row.bind(11, run.batch);
    bind_optional(row, 12, run.prompt_tokens);
    bind_optional(row, 13, run.new_tokens);
    bind_text(row, 14, run.measured);
    bind_text(row, 15, run.reference);
    bind_text(row, 16, run.note);
    TRY(row.step());
    const std::int64_t id = row.integer(0);
    TRY(row.run());
    for (const ExternalMeasurement& one : run.measurements) {
        TRY(TRY(connection.cached(put_measurement))
                ->bind_all(id, one.metric, one.unit, one.value,
                           json_array(std::span<const double>(one.samples)))
                .run());
    }
    return {};
}

// Whether the file was new.
Result<bool> write_file(Connection& connection, const ExternalFile& file,
                        std::int64_t now_unix_ms) {
    Statement& row = *TRY(connection.cached(put_source));
    row.bind_all(file.digest, file.name, file.format, now_unix_ms);
    if (!TRY(row.step())) {
        row.reset();
        return false;
    }
    const std::int64_t source = row.integer(0);
    TRY(row.run());
    for (const ExternalRun& run : file.runs) {
        TRY(write_run(connection, source, run));
    }
    return true;
}

}  // namespace

Result<ExternalFile> read_external(const fs::path& file) {
    const std::string text = TRY(whole(file));
    if (text.find('\0') != std::string::npos) {
        return make_error(ErrorCode::invalid_input,
                          file.string() +
                              ": not text; llama-bench -o json, jsonl or sql, optimum-benchmark's "
                              "benchmark.json and CSV are read");
    }
    if (const Status readable = check_utf8(text); !readable) {
        return make_error(readable.error().code, file.string() + ": " + readable.error().message);
    }
    ExternalFile result;
    result.name = file.filename().string();
    result.digest = sha256_hex(text);
    const std::string word = first_word(text);
    Result<std::vector<ExternalRun>> runs = std::vector<ExternalRun>{};
    if (starts_like_sql(word)) {
        result.format = "llama-bench";
        runs = llama_bench_sql(text, result.skipped);
    } else if (word.starts_with("{") && text.find("\"config\"") != std::string::npos &&
               text.find("\"report\"") != std::string::npos) {
        result.format = "optimum-benchmark";
        runs = optimum_benchmark(text, result.skipped);
    } else if (word.starts_with("{") || word.starts_with("[")) {
        result.format = "llama-bench";
        runs = llama_bench_json(text, result.skipped);
    } else {
        result.format = "csv";
        runs = external_csv(text);
    }
    if (!runs) {
        return make_error(runs.error().code, file.string() + ": " + runs.error().message);
    }
    result.runs = std::move(runs).value();
    if (result.runs.empty()) {
        return make_error(ErrorCode::invalid_input,
                          file.string() + ": read as " + result.format +
                              ", and it holds no measurement of prefill or decode");
    }
    return result;
}

Result<int> store_external(const fs::path& database, const std::vector<ExternalFile>& files,
                           std::int64_t now_unix_ms) {
    // Holds the writer's lock and has brought the schema up to date.
    const auto owner = TRY(Store::open(database, OpenMode::read_write));
    Connection connection = TRY(Connection::open(database, SQLITE_OPEN_READWRITE));
    TRY(connection.exec("PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL; BEGIN IMMEDIATE"));
    int fresh = 0;
    for (const ExternalFile& file : files) {
        const Result<bool> is_new = write_file(connection, file, now_unix_ms);
        if (!is_new) {
            TRY(connection.exec("ROLLBACK"));
            return is_new.error();
        }
        fresh += *is_new ? 1 : 0;
    }
    TRY(connection.exec("COMMIT"));
    return fresh;
}

}  // namespace bitsweep
