// JobSpec: one cell of an experiment matrix, immutable once frozen. Its canonical JSON
// (codec.h: canonical_json) is hashed to the spec key; see CellIdentity for the cell key.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/ids.h"
#include "schemas/time.h"

namespace bitsweep {

enum class WeightsSource { real, random };
enum class Protocol { seed_report, quick, standard, headline };
// layers: as once, and every linear layer alone, in loss and in time.
enum class QualityMode { off, once, layers };

// The words of JSON, SQL and YAML: "real", "seed-report", "once" ...
std::string_view to_string(WeightsSource source);
std::string_view to_string(Protocol protocol);
std::string_view to_string(QualityMode mode);
std::optional<WeightsSource> weights_source_from_string(std::string_view text);
std::optional<Protocol> protocol_from_string(std::string_view text);
std::optional<QualityMode> quality_mode_from_string(std::string_view text);

struct ModelRef {
    std::string name;                             // "llama-nano", "smollm2-135m", "llama-3.2-1b"
    WeightsSource weights = WeightsSource::real;  // random: speed and memory only
    std::uint64_t weights_seed = 0;               // read only when weights are random
    std::string path;  // where the submitter saw it; a locator, NOT part of the canonical form
};

// Quality against the same model's fp32 logits. Windows do not overlap; each is scored on its
// positions 2..n (labels shifted inside the window); no special token is added.
struct QualitySpec {
    QualityMode mode = QualityMode::once;
    std::string text = "heldout-fiction";  // data set name, resolved to TEXT.txt on the worker
    std::int64_t tokens =
        2048;  // at most, the text may be shorter; 0: only the greedy text is compared
    std::int64_t window =
        512;  // tokens; clamped to the model's positions by the expander's default
};

// What a calibrating method reads before it packs: `tokens` of a text from token `offset` on, in
// windows of `window`. Seed 0: the first ones; else windows drawn from the rest of the text.
struct CalibrationSpec {
    std::string text = "heldout-fiction";
    std::int64_t offset = 200'000;  // beyond what quality evaluates
    std::int64_t tokens = 8192;
    std::int64_t window = 512;
    std::uint64_t seed = 0;
};

struct JobSpec {
    ModelRef model;
    std::string method;               // "fp16", "int8", "llmint8-bnb", "nf4", "int4-g64", ...
    std::optional<double> threshold;  // outlier threshold; only for methods that read it
    std::optional<CalibrationSpec> calibration;  // only for methods that calibrate real weights
    std::optional<double> alpha;                 // smoothquant's migration strength, 0 to 1
    std::string policy;                          // text of a policy file (policy.h); only for mixed
    int head_bits = 16;                          // 16 | 8 | 4: output head and embedding
    std::string kv = "16";                       // "16" | "int8" | "fp8"
    std::string gpu = "cpu";                     // kind of device, "cpu" or a card's kind string
    int batch = 1;                               // sequences decoded together
    std::string prompt = "Hello, how are you?";
    std::int64_t prompt_tokens =
        0;                          // > 0: that many tokens of the quality text instead of `prompt`
    std::int64_t new_tokens = 128;  // exactly this many are generated per sequence
    bool stop_at_eos = false;
    int warmup = 1;  // full sequences before the first sample (seed-report, quick)
    Protocol protocol = Protocol::standard;
    QualitySpec quality;
    int threads = 0;  // CPU threads; 0: one per core the worker was given
    std::uint64_t seed = 0;
    int repeat = 0;  // index of the repetition; quality runs only where repeat == 0
};

// Priorities go from -most_priority to most_priority (also in the JSON Schemas).
inline constexpr int most_priority = 1'000;

// How the orchestrator treats a job; never part of its identity.
struct JobPolicy {
    int priority = 0;
    Duration timeout{600'000};
    int retries_crash = 3;  // crashes of the runner or the worker
    int retries_fail = 0;   // the runner said: this job failed
};

// What makes two results comparable. Digests are hex; empty means "not known yet": the first
// worker that runs the model binds it.
struct CellIdentity {
    std::string spec_key;
    std::string weights_digest;
    std::string dataset_digest;  // empty for jobs without quality and without prompt_tokens
    int numerics_revision = 1;   // per method and backend (schemas/catalog/methods.h)
};

// One frozen cell of a submission: what to run and where in the YAML it came from.
struct Cell {
    JobSpec spec;
    CellIdentity identity;
    JobPolicy policy;
    int yaml_line = 0;  // line of the experiment file that produced it, for `explain`
    // Of a template: what `where` leaves to the card that attaches, as an expression over its facts
    // (coordinator/expand/card_condition.h).
    std::optional<std::string> card_condition = {};
};

}  // namespace bitsweep
