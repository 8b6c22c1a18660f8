// The table that `run` prints and the sentence that answers the experiment's question.
#pragma once

#include <string>
#include <vector>

#include "results/store/store.h"
#include "schemas/status.h"

namespace bitsweep {

struct SummaryRow {
    std::string model, method, device;  // method with threshold: "llmint8-bnb T=6"
    int head_bits = 16;
    int repeats = 0;                         // processes or repeats behind the interval
    double decode_tokens_per_s = 0;          // median over repeats of the per-repeat median
    double decode_low = 0, decode_high = 0;  // 95 % interval over repeats
    double speedup = 0, speedup_low = 0,
           speedup_high = 0;   // over the 16-bit baseline, paired by repeat
    double weights_mib = 0;    // exact: codes + scales + embeddings + other weights
    double weights_ratio = 0;  // over the 16-bit baseline
    double perplexity = 0, kl_mean = 0, top1 = 0;  // NaN when not measured
    std::string text;  // "identical" or "diverges at token 7" against fp32
    bool rounds_activations = false;
};

struct Summary {
    std::string experiment, question, answer;  // answer cites the interval or says "not resolved"
    std::vector<SummaryRow> rows;
    std::vector<std::string> failures;  // "llama-nano nf4 repeat 1: timeout after 600 s", ...
};

Result<Summary> summarize(Store& store, const ExperimentName& experiment);

std::string to_text(const Summary& summary, int width, bool color);  // for a terminal
std::string to_html(const Summary& summary);  // one file, no network, no script

// Any table in the formats of --format: table|csv|json|jsonl|markdown. invalid_input: unknown
// format.
Result<std::string> format_table(const Table& table, std::string_view format, int width);

}  // namespace bitsweep
