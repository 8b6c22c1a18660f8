// The stages of a job, in order: load, speed, quality. run_job.cpp strings them together.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "schemas/job.h"
#include "schemas/run_result.h"
#include "worker/inference/engine.h"
#include "worker/metrics/metric.h"
#include "worker/runner/card_watch.h"
#include "worker/runner/job_plan.h"
#include "worker/runner/provenance.h"
#include "worker/runner/quality_run.h"
#include "worker/runner/workload.h"

namespace bitsweep {

// What speed left behind, for quality and for the metrics.
struct SpeedRun {
    std::unique_ptr<Engine> engine;
    WorkloadResult workload;
    MemoryBytes ledger;
    std::uint64_t resident_before = 0;
    std::uint64_t peak_rss = 0;
    std::uint64_t bytes_per_token = 0;
    double read_bandwidth = 0;
    std::optional<CardReport> card;      // of a GPU
    std::optional<double> cpu_energy_j;  // on the CPU, where RAPL can be read
    std::optional<CoreWait> core_wait;   // where the kernel counts it
    double prefill_operations = 0;       // of one prefill, catalog/operations.h
    bool int8_products = false;          // metric.h
    Provenance notes;
};

// Loads the engine and measures speed and memory by the job's protocol. Nothing else is resident
// but what the session keeps; that is reported as resident_before.
Result<SpeedRun> run_speed(const JobSpec& spec, const JobPlan& plan, const ModelFiles& files,
                           const Progress& progress);

// Fills `text` and `quality` where the plan asks for them.
struct QualityResult {
    std::optional<TextComparison> text;
    std::optional<QualityRun> run;
};
Status run_quality(const JobSpec& spec, const JobPlan& plan, OpenedModel& model, SpeedRun& speed,
                   const Progress& progress, QualityResult& to);

// Weight bytes of the same model at fp16 with a 16-bit head.
std::uint64_t fp16_weight_bytes(const ModelConfig& config);

}  // namespace bitsweep
