// RunResult: what one attempt of one job came to. Failures are results too.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/ids.h"
#include "schemas/measurement.h"

namespace bitsweep {

// Each class is told apart by evidence, which is stored in Outcome::evidence.
enum class OutcomeClass {
    done,
    failure,        // the runner reported an error of this job (bad model file, unsupported ...)
    crash,          // the runner died of a signal or without an answer
    out_of_memory,  // host memory
    out_of_gpu_memory,  // device memory
    gpu_fault,          // sticky device error
    timeout,            // the job's own limit, or no progress
    invalid_numbers,    // NaN or infinity in logits
    infeasible,         // does not fit any device it may run on
    lost_worker,        // the worker went away and the lease ran out
    refused,            // digests on the worker differ from those bound to the cell
    cancelled,
};

std::string_view to_string(OutcomeClass outcome);
std::optional<OutcomeClass> outcome_from_string(std::string_view text);

struct Outcome {
    OutcomeClass outcome = OutcomeClass::done;
    std::string message;   // one line for people; empty when done
    std::string evidence;  // exit status, signal, errno, tail of standard error
};

struct GeneratedText {
    std::vector<std::int32_t> prompt_ids;
    std::vector<std::int32_t> new_ids;
    std::string text;  // of new_ids, UTF-8, invalid bytes replaced
};

struct RunResult {
    JobKey key;
    Attempt attempt;
    Outcome outcome;
    std::int64_t started_unix_ms = 0;
    std::int64_t finished_unix_ms = 0;
    std::string weights_digest;  // as the runner's machine has them
    std::string dataset_digest;
    std::vector<Measurement> measurements;
    std::vector<SampleSeries> samples;
    GeneratedText generated;
    std::map<std::string, std::string>
        provenance;  // engine version, host, CPU, compiler, flags ...
};

}  // namespace bitsweep
