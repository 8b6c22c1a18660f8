// Results of other tools: read from their files, kept beside ours, never pooled with them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/status.h"

namespace bitsweep {

struct ExternalMeasurement {
    std::string metric, unit;
    double value = 0;             // median of the samples where there are samples
    std::vector<double> samples;  // in order; empty where the source keeps none
};

struct ExternalRun {
    int position = 0;  // line or element of the file, from 1
    std::string tool, model, method, gpu;
    std::optional<double> parameters, weight_bits, threshold;
    std::string host, measured, reference, note;  // empty: the source does not say
    std::int64_t batch = 1;
    std::optional<std::int64_t> prompt_tokens, new_tokens;
    std::vector<ExternalMeasurement> measurements;  // at least one
};

struct ExternalFile {
    std::string name, digest, format;  // format: llama-bench | optimum-benchmark | csv
    std::vector<ExternalRun> runs;
    int skipped = 0;  // entries that measure neither prefill nor decode
};

// Recognises the format by the content:
//   llama-bench -o json, jsonl, sql: decode from tests that only generate, prefill from tests that
//     only read; the median of samples_ts, since the first prefill repetition is cold and drags the
//     printed mean down. SQL keeps no samples: its mean is taken, and the note says so.
//   optimum-benchmark: a benchmark.json (config and report together)
//   CSV with the columns of csv_columns()
// At most 64 MiB. not_found, io; invalid_input: none of these, or a mistake with its place and the
// nearest right word.
Result<ExternalFile> read_external(const std::filesystem::path& file);

// The readers behind it; `text` is the whole file.
Result<std::vector<ExternalRun>> llama_bench_json(std::string_view text, int& skipped);
Result<std::vector<ExternalRun>> llama_bench_sql(const std::string& text, int& skipped);
Result<std::vector<ExternalRun>> optimum_benchmark(std::string_view text, int& skipped);
Result<std::vector<ExternalRun>> external_csv(std::string_view text);

struct CsvColumn {
    std::string_view name, unit, meaning;  // unit: of a metric; empty for a field
};
std::vector<CsvColumn> csv_columns();

// Writes the files' runs in one transaction; a file whose bytes are there already changes nothing.
// Returns how many files were new. Errors as Store::open for writing.
Result<int> store_external(const std::filesystem::path& database,
                           const std::vector<ExternalFile>& files, std::int64_t now_unix_ms);

}  // namespace bitsweep
