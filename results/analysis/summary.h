// The table that `run` prints and the sentence that answers the experiment's question.
#pragma once

#include <limits>
#include <string>
#include <vector>

#include "results/analysis/evidence.h"
#include "results/store/store.h"
#include "schemas/status.h"

namespace bitsweep {

struct SummaryRow {
    std::string model;   // with the settings that differ within the experiment: "tiny batch=4"
    std::string method;  // with its threshold: "llmint8-bnb T=6"
    std::string device;  // kind; with the name where one kind has several: "cpu (Xeon 6975P)"
    std::string series, device_name;  // what its repeats share, in the database's words
    int head_bits = 16;
    int repeats = 0;                         // processes or repeats behind the interval
    double decode_tokens_per_s = 0;          // median over repeats of the per-repeat median
    double decode_low = 0, decode_high = 0;  // 95 % interval over repeats; NaN with one repeat
    // The same median where no repeat's window counts, else NaN: shown, never compared.
    double disturbed_tokens_per_s = std::numeric_limits<double>::quiet_NaN();
    double speedup = 0, speedup_low = 0,
           speedup_high = 0;   // over the 16-bit baseline, geometric mean, paired by repeat
    int pairs = 0;             // repeats that both sides have; 0: speedup is NaN
    std::string baseline;      // "fp16" or "bf16"; empty when none was measured
    bool is_baseline = false;  // this row is what the others are compared with
    double weights_mib = 0;    // exact: codes + scales + embeddings + other weights
    double weights_ratio = 0;  // over the same model at fp16 with a 16-bit head
    double perplexity = 0, kl_mean = 0, top1 = 0;  // NaN when not measured
    std::string text;          // "identical" or "diverges at token 7" against fp32; counts from 0
    std::string stored_types;  // of the linear layers in the model's files: "F16", "Q4_1,Q6_K"
    bool rounds_activations = false;  // activations were rounded to 8 bits
};

struct Summary {
    std::string experiment, question, answer;  // answer cites the interval or says "not resolved"
    std::vector<SummaryRow> rows;
    std::vector<std::string> failures;  // "llama-nano nf4 repeat 1: timeout after 600 s", ...
    std::vector<std::string> notes;     // how to read the table, each stated once
};

// Newest successful attempt of each cell. Numbers that were not measured are NaN. not_found: no
// experiment of this name (the message lists those that exist). Intervals: interval.h.
Result<Summary> summarize(Store& store, const ExperimentName& experiment);
// For who has read that experiment's evidence already.
Result<Summary> summarize(Store& store, const ExperimentName& experiment, const Evidence& evidence);

std::string to_text(const Summary& summary, int width, bool color);  // for a terminal
std::string to_html(const Summary& summary);        // one page, no network, no script
std::string summary_table(const Summary& summary);  // its table alone, as HTML

// Any table in the formats of --format: table|csv|json|jsonl|markdown. invalid_input: unknown
// format.
Result<std::string> format_table(const Table& table, std::string_view format, int width);

}  // namespace bitsweep
