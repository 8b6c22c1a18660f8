// What an analysis works on: the measured cells of a database, repeats together, and what was left
// out of them and why.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "results/analysis/bootstrap.h"
#include "results/store/store.h"
#include "schemas/catalog/shapes.h"
#include "schemas/status.h"

namespace bitsweep {

// One process: a repeat of a cell on one device.
struct Repeat {
    int repeat = 0;
    std::int64_t run = 0;
    std::string host;                       // name of the machine
    std::vector<double> decode_rates;       // token/s of each measured sequence
    std::map<std::string, double> metrics;  // of the run, those that an analysis asks for
};

// One cell on one device. Repeats of different numerics revisions are different cells.
struct MeasuredCell {
    std::string experiment, series;
    std::string place;        // equal for cells that may be compared: all but method, head, repeat
    std::string model;        // with the settings that differ: "tiny batch=4"
    std::string model_name;   // "tiny"
    std::string method;       // "llmint8-bnb T=6"; with its head where that differs: "int8 head 8"
    std::string method_name;  // "llmint8-bnb"
    std::optional<double> threshold;
    std::string device;  // kind, with the name where one kind has several
    std::string kind;
    std::string device_name;
    int head_bits = 16, weight_bits = 16, batch = 1, numerics = 1;
    std::string kv;
    std::string stored_types;  // of the linear layers in the model's files: "F16", "Q4_1,Q6_K"
    std::int64_t prompt_tokens = 0, new_tokens = 0;
    const ModelShape* shape = nullptr;  // null: a model outside the table
    std::vector<Repeat> repeats;        // those that count, in order; never empty

    double metric(const std::string& name) const;  // median over repeats that have it, else NaN
    double parameters() const;                     // of the architecture; NaN without a shape
    ProcessSampler decode_rate() const;
    // Of this cell's decode rate over `base`'s, repeats paired by number.
    ProcessSampler speedup_over(const MeasuredCell& base) const;
    bool same_place(const MeasuredCell& other) const;  // device and place; the head may differ
};

// A run that was disturbed: it stands in the database and in no interval or fit.
struct LeftOutRun {
    std::string model, method, device;  // as a cell calls them
    int head_bits = 16, repeat = 0;
    std::string why;           // "throttled"
    std::string text() const;  // "llama-nano nf4 on cpu, repeat 1: throttled"
};

struct Evidence {
    std::vector<MeasuredCell> cells;   // models as they began; the baseline first
    std::vector<LeftOutRun> excluded;  // in the order of the experiment

    // What was left out, a line each: a few runs by name, many by what was wrong with them.
    std::vector<std::string> left_out() const;
    // The runs that were left out of what people call `name`, a method or a device.
    std::vector<LeftOutRun> left_out_of(const std::string& name) const;

    // The cell of that method label to compare `cell` with, at the same place: of the
    // same head, else of a 16-bit head; the newest numerics; else null.
    const MeasuredCell* partner_of(const MeasuredCell& cell, const std::string& method) const;
    // The 16-bit cell of the same model and place, chosen likewise, fp16 before bf16.
    const MeasuredCell* baseline_of(const MeasuredCell& cell) const;
    std::vector<std::string> devices() const;  // each once, in order of appearance
    std::vector<std::string> methods() const;
};

struct EvidenceQuestion {
    std::string experiment;  // empty: the whole database, each cell once
    std::string device;      // kind; empty: all
    std::string model;       // name; empty: all
};

// The shown attempt of each cell and repeat. Runs that schemas/catalog/windows.h rejects are left
// out.
// not_found: no such experiment, device or model, with those that exist.
Result<Evidence> read_evidence(Store& store, const EvidenceQuestion& question);

}  // namespace bitsweep
