#include "worker/runner/run_job.h"

#include <exception>
#include <new>
#include <string>
#include <utility>

#include "worker/runner/calibrated_model.h"
#include "worker/runner/devices.h"
#include "worker/runner/job_plan.h"
#include "worker/runner/job_stages.h"
#include "worker/runner/process_memory.h"
#include "worker/runner/provenance.h"

namespace bitsweep {
namespace {

// Drops the fp32 engine however the job ends: the next one is measured without it.
class ReferenceEngineGuard {
 public:
    explicit ReferenceEngineGuard(Reference& reference) : reference_(reference) {}
    ~ReferenceEngineGuard() { reference_.release_engine(); }
    ReferenceEngineGuard(const ReferenceEngineGuard&) = delete;
    ReferenceEngineGuard& operator=(const ReferenceEngineGuard&) = delete;

 private:
    Reference& reference_;
};

Status check_digest(const char* what, const std::string& bound, const std::string& here) {
    if (bound.empty() || here.empty() || bound == here) {
        return {};
    }
    return make_error(ErrorCode::refused, std::string(what) + " differs: the cell is bound to " +
                                              bound + ", this machine has " + here);
}

void note_plan(const JobSpec& spec, const JobPlan& plan, Provenance& notes) {
    notes["device"] = plan.device.id();
    notes["threads"] = std::to_string(plan.threads);
    notes["protocol"] = std::string(to_string(spec.protocol));
    notes["context"] = std::to_string(plan.context());
    notes["rounds_activations"] = plan.method.rounds_activations ? "yes" : "no";
    if (plan.reads_threshold) {
        notes["threshold"] = std::to_string(plan.threshold);
    }
    if (!plan.quality_note.empty()) {
        notes["quality"] = plan.quality_note;
    }
}

// A runner serves the one device that it was started for.
Result<Device> device_of(const Dispatch& job, const RunnerOptions& options) {
    const Device device = TRY(find_device(options.device));
    if (!job.device.empty() && job.device != device.id()) {
        return make_error(
            ErrorCode::invalid_input,
            "the job is for device " + job.device + ", this runner was started for " + device.id());
    }
    return device;
}

// Null where the method does not calibrate, or the weights are random.
Result<std::unique_ptr<CalibratedModel>> calibrate_model(const JobPlan& plan,
                                                         const OpenedModel& model,
                                                         ModelSession& session,
                                                         const Progress& progress) {
    if (!plan.calibration) {
        return std::unique_ptr<CalibratedModel>();
    }
    const CalibrationOptions options{.method = plan.method,
                                     .alpha = plan.alpha,
                                     .window = plan.calibration->window,
                                     .threads = plan.threads};
    return calibrated_model(
        model.files, {model.digest, plan.dataset_digest, *plan.calibration}, options,
        CalibrationStore(session.options().calibration_dir),
        [&] { return session.calibration_ids(*plan.calibration); }, progress);
}

void note_calibration(const JobPlan& plan, const CalibratedModel& calibrated, LoadTrace& load,
                      Provenance& notes) {
    load.calibration_ns = calibrated.calibration.time_ns;
    load.calibration_peak_bytes = calibrated.calibration.peak_bytes;
    const CalibrationSpec& slice = *plan.calibration;
    notes["calibration"] = slice.text + ", " + std::to_string(slice.tokens) + " tokens from " +
                           std::to_string(slice.offset) + ", windows of " +
                           std::to_string(slice.window) + ", seed " + std::to_string(slice.seed) +
                           (calibrated.was_kept ? ", kept from an earlier job" : "");
}

Status run_stages(const Dispatch& job, ModelSession& session, const Progress& progress,
                  RunResult& result) {
    const JobSpec& spec = job.spec;
    const Device device = TRY(device_of(job, session.options()));
    TRY(check_spec(spec, device));
    progress("opening " + spec.model.name);
    OpenedModel& model = *TRY(session.model(spec.model));
    result.weights_digest = model.digest;
    TRY(check_digest("the model's digest", job.weights_digest, model.digest));
    result.provenance.merge(model_provenance(model.files));
    const JobPlan plan = TRY(plan_job(spec, device, model, session));
    result.dataset_digest = plan.dataset_digest;
    TRY(check_digest("the text's digest", job.dataset_digest, plan.dataset_digest));
    note_plan(spec, plan, result.provenance);

    const ReferenceEngineGuard guard(model.reference);
    const auto calibrated = TRY(calibrate_model(plan, model, session, progress));
    SpeedRun speed =
        TRY(run_speed(spec, plan, calibrated ? calibrated->files : model.files, progress));
    if (calibrated) {
        note_calibration(plan, *calibrated, speed.workload.trace.load, result.provenance);
    }
    result.generated.prompt_ids = plan.sequence.prompt;
    result.generated.new_ids = speed.workload.new_ids;
    if (model.files.tokenizer) {
        result.generated.text = model.files.tokenizer->decode(speed.workload.new_ids);
    }
    QualityResult quality;
    const Status scored = run_quality(spec, plan, model, speed, progress, quality);
    const MetricInput input{.trace = speed.workload.trace,
                            .ledger = speed.ledger,
                            .baseline_weights = fp16_weight_bytes(model.files.config),
                            .resident_before = speed.resident_before,
                            .peak_rss = speed.peak_rss,
                            .bytes_per_token = speed.bytes_per_token,
                            .read_bandwidth = speed.read_bandwidth,
                            .quality = quality.run ? &quality.run->scores : nullptr,
                            .text = quality.text,
                            .device = speed.card ? &speed.card->record : nullptr,
                            .ceilings = speed.card ? &speed.card->ceilings : nullptr,
                            .prefill_operations = speed.prefill_operations,
                            .int8_products = speed.int8_products,
                            .cpu_energy_j = speed.cpu_energy_j,
                            .core_wait = speed.core_wait};
    result.measurements = measure(input);
    result.samples = raw_samples(input);
    result.provenance.merge(speed.notes);
    if (!scored) {
        return make_error(scored.error().code, "speed and memory were measured, quality was not: " +
                                                   scored.error().message);
    }
    return {};
}

// libtorch says what happened in words only (c10::Error, and std::runtime_error from threads).
ErrorCode code_of_words(const std::string& words) {
    constexpr std::pair<const char*, ErrorCode> table[] = {
        {"can't allocate memory", ErrorCode::out_of_memory},
        {"not enough memory", ErrorCode::out_of_memory},
        {"CUDA out of memory", ErrorCode::out_of_gpu_memory},
        {"CUBLAS_STATUS_ALLOC_FAILED", ErrorCode::out_of_gpu_memory},
        {"CUDA error", ErrorCode::gpu_fault},
        {"CUBLAS_STATUS", ErrorCode::gpu_fault},
    };
    for (const auto& [part, code] : table) {
        if (words.find(part) != std::string::npos) {
            return code;
        }
    }
    return ErrorCode::internal;
}

std::string first_line(const std::string& words) {
    return words.substr(0, words.find('\n'));
}

}  // namespace

OutcomeClass outcome_class(ErrorCode code) {
    switch (code) {
        case ErrorCode::out_of_memory:
            return OutcomeClass::out_of_memory;
        case ErrorCode::out_of_gpu_memory:
            return OutcomeClass::out_of_gpu_memory;
        case ErrorCode::gpu_fault:
            return OutcomeClass::gpu_fault;
        case ErrorCode::invalid_numbers:
            return OutcomeClass::invalid_numbers;
        case ErrorCode::timeout:
            return OutcomeClass::timeout;
        case ErrorCode::refused:
            return OutcomeClass::refused;
        case ErrorCode::interrupted:
            return OutcomeClass::cancelled;
        default:
            return OutcomeClass::failure;
    }
}

RunResult run_job(const Dispatch& job, ModelSession& session, const Progress& progress) {
    RunResult result;
    result.key = job.key;
    result.attempt = job.attempt;
    result.started_unix_ms = unix_ms();
    result.provenance = process_provenance();
    Status status;
    try {
        status = run_stages(job, session, progress, result);
    } catch (const std::bad_alloc&) {
        status = make_error(ErrorCode::out_of_memory,
                            "out of host memory: the process held " +
                                std::to_string(peak_resident_bytes() >> 20) + " MiB at most");
    } catch (const std::exception& problem) {
        const std::string words = problem.what();
        status = make_error(code_of_words(words), first_line(words));
        result.outcome.evidence = words;
    }
    result.finished_unix_ms = unix_ms();
    if (!status) {
        result.outcome.outcome = outcome_class(status.error().code);
        result.outcome.message = status.error().message;
        if (result.outcome.evidence.empty()) {
            result.outcome.evidence = "error " + std::string(to_string(status.error().code));
        }
    }
    return result;
}

}  // namespace bitsweep
