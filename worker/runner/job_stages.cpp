#include "worker/runner/job_stages.h"

#include <algorithm>
#include <utility>

#include "schemas/catalog/memory.h"
#include "schemas/catalog/operations.h"
#include "worker/inference/ceilings/ceilings.h"
#include "worker/metrics/rapl.h"
#include "worker/metrics/run_queue.h"
#include "worker/metrics/text.h"
#include "worker/runner/layer_probe.h"
#include "worker/runner/process_memory.h"
#include "worker/runner/ram_bandwidth.h"

namespace bitsweep {
namespace {

// Below this, caches may answer and a share of the memory bandwidth would mean nothing
// (worker/metrics/bandwidth.cpp leaves it out), so its time is not spent.
constexpr std::uint64_t least_bytes_for_bandwidth = 64ULL << 20;

// Half of the bench's buffer, eight times the largest last-level cache seen: touching new pages is
// what a reading costs, twice in every job.
constexpr std::size_t bandwidth_bytes = std::size_t{256} << 20;

ModelShape shape_of(const ModelConfig& config) {
    return {.name = config.name,
            .family = config.family,
            .layers = config.layers,
            .width = config.width,
            .heads = config.heads,
            .kv_heads = config.kv_heads,
            .head_dim = config.head_dim,
            .ffn = config.ffn,
            .vocabulary = config.vocabulary,
            .positions = config.positions,
            .tied = config.tied_head,
            .embed_width = config.embed_width,
            .rope_theta = config.rope.theta,
            .parameters = 0};
}

EngineOptions engine_options(const JobSpec& spec, const JobPlan& plan) {
    EngineOptions options;
    options.method = plan.method;
    options.device = plan.device.id();
    options.threshold = plan.threshold;
    options.head_bits = spec.head_bits;
    options.kv = kv_from_string(spec.kv).value_or(KvFormat::bits16);  // check_spec has looked
    options.threads = plan.threads;
    options.batch = spec.batch;
    options.context = plan.context();
    options.layers = plan.layers;
    return options;
}

bool multiplies_int8(const MethodId& method) {
    return method.rounds_activations;
}

// Since `before`; what cannot be read is a reason in the provenance.
void note_cpu_energy(const Result<CpuEnergy>& before, SpeedRun& speed) {
    const Result<CpuEnergy> after = read_cpu_energy();
    const Result<double> joules = before && after
                                      ? joules_between(*before, *after)
                                      : Result<double>(before ? after.error() : before.error());
    speed.cpu_energy_j = joules ? std::optional(*joules) : std::nullopt;
    speed.notes["cpu_energy"] =
        joules ? "RAPL, all packages" : "not available: " + joules.error().message;
}

// Since `before`; on the CPU it says whether the window counts.
void note_core_wait(const Result<RunQueueTimes>& before, const JobPlan& plan, SpeedRun& speed) {
    const Result<RunQueueTimes> after = read_run_queue();
    if (!before || !after) {
        speed.notes["run_queue"] =
            "not available: " + (before ? after.error() : before.error()).message;
        return;
    }
    speed.core_wait = core_wait_between(*before, *after);
    if (plan.device.is_cpu()) {
        speed.notes["window"] = core_wait_words(*speed.core_wait);
    }
}

// Of the memory that decoding reads. 0 where it cannot be read: the share is then absent.
double bandwidth_now(const JobPlan& plan) {
    if (!plan.device.is_cpu()) {
        const auto card = read_bandwidth_now(plan.device.ordinal);
        return card ? *card : 0;
    }
    const auto meter = BandwidthMeter::create(plan.threads, bandwidth_bytes);
    return meter ? (*meter)->read() : 0;
}

}  // namespace

std::uint64_t fp16_weight_bytes(const ModelConfig& config) {
    const auto fp16 = parse_method("fp16");
    ASSERT(fp16.ok());
    const ModelShape shape = shape_of(config);
    const MemoryBytes bytes = estimate_memory({.shape = &shape, .method = *fp16, .context = 1});
    return bytes.weight_codes + bytes.weight_scales + bytes.embeddings + bytes.other_weights;
}

Result<SpeedRun> run_speed(const JobSpec& spec, const JobPlan& plan, const ModelFiles& files,
                           const Progress& progress) {
    SpeedRun speed;
    std::optional<CardWatch> card = TRY(watch_card(plan.device));
    return_freed_memory();
    speed.resident_before = resident_bytes();
    const bool own_peak = reset_peak_resident();
    speed.notes["peak_rss"] = own_peak ? "of this job" : "cumulative over the process";
    progress("loading");
    LoadTrace load;
    speed.engine = TRY(load_engine(files, engine_options(spec, plan), &load));
    if (card) {
        card->model_loaded();
    }
    // Half of the new tokens: the mean position of the measured steps.
    speed.bytes_per_token = speed.engine->bytes_per_token(plan.context() - spec.new_tokens / 2);
    const bool from_memory = speed.bytes_per_token >= least_bytes_for_bandwidth;
    std::uint64_t peak = peak_resident_bytes();
    double before = 0;
    if (from_memory) {
        progress("memory bandwidth");
        before = bandwidth_now(plan);
        reset_peak_resident();
    }
    const auto sequence = [&] { return run_sequence(*speed.engine, plan.sequence, progress); };
    Result<CpuEnergy> cpu_before = not_read();
    Result<RunQueueTimes> queue_before = not_read();
    const auto warmed = [&] {
        if (card) {
            card->window_begins();
        } else {
            cpu_before = read_cpu_energy();
        }
        queue_before = read_run_queue();
    };
    speed.workload =
        TRY(run_workload(sampling_rule(spec.protocol, spec.warmup), sequence, progress, warmed,
                         card ? Thermometer([&] { return card->temperature(); }) : Thermometer{}));
    note_core_wait(queue_before, plan, speed);
    if (!speed.workload.heat.empty()) {
        speed.notes["warm_up_temperature"] = speed.workload.heat;
    }
    if (card) {
        progress("energy");
        speed.card = TRY(card->window_ends(speed.workload.trace, spec.protocol, sequence));
        speed.notes.merge(Provenance(speed.card->notes));
    } else {
        note_cpu_energy(cpu_before, speed);
    }
    speed.prefill_operations = prefill_operations(
        shape_of(files.config), spec.batch, static_cast<std::int64_t>(plan.sequence.prompt.size()));
    speed.int8_products = multiplies_int8(plan.method);
    speed.workload.trace.load = load;
    speed.ledger = speed.engine->memory();
    peak = std::max(peak, peak_resident_bytes());
    speed.peak_rss = peak;
    if (from_memory && before > 0) {
        const double after = bandwidth_now(plan);
        speed.read_bandwidth = after > 0 ? (before + after) / 2 : 0;
    }
    const std::string& decoded_by = speed.workload.trace.sequences.back().decoded_by;
    if (!decoded_by.empty()) {
        speed.notes["decoded_by"] = decoded_by;
    }
    speed.notes["stop_reason"] = speed.workload.trace.stop_reason;
    speed.notes["same_text_every_sequence"] = speed.workload.same_text ? "yes" : "no";
    return speed;
}

Status run_quality(const JobSpec& spec, const JobPlan& plan, OpenedModel& model, SpeedRun& speed,
                   const Progress& progress, QualityResult& to) {
    if (plan.compare_text) {
        const std::vector<std::int32_t> fp32 =
            TRY(model.reference.greedy(model.files, plan.sequence, plan.threads, progress));
        to.text = compare_text(fp32, speed.workload.new_ids);
    }
    if (!plan.score_text) {
        return {};
    }
    const ModelConfig& config = model.files.config;
    const ScoredWindows windows =
        TRY(scored_windows(*plan.text, spec.quality.window, config.positions, plan.dataset_digest));
    TRY(model.reference.prepare(model.files, windows, plan.threads, progress));
    const bool outliers = plan.reads_threshold && plan.threshold > 0;
    to.run =
        TRY(score_quality(*speed.engine, model.reference, *plan.text, windows, config.vocabulary,
                          outliers ? Outliers::record : Outliers::ignore, progress));
    speed.workload.trace.outliers = to.run->outliers;
    if (plan.probe_layers) {
        speed.workload.trace.layers = TRY(
            probe_layers(model.files, engine_options(spec, plan),
                         {model.reference, *plan.text, windows, plan.sequence.prompt}, progress));
    }
    return {};
}

}  // namespace bitsweep
