#include "worker/runner/job_plan.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <utility>

#include "worker/metrics/run_queue.h"

namespace bitsweep {
namespace {

// A random model has no tokenizer; English is about four bytes a token.
constexpr std::int64_t bytes_per_prompt_token = 4;

Error bad(const std::string& what) {
    return make_error(ErrorCode::invalid_input, what);
}

Status check_range(const char* field, std::int64_t value, std::int64_t least, std::int64_t most) {
    if (value < least || value > most) {
        return bad(std::string(field) + " is " + std::to_string(value) + "; it must be " +
                   std::to_string(least) + " to " + std::to_string(most));
    }
    return {};
}

std::vector<std::int32_t> seeded_ids(std::int64_t count, std::int64_t vocabulary,
                                     std::uint64_t seed) {
    std::mt19937_64 generator(seed);
    std::vector<std::int32_t> ids;
    for (std::int64_t i = 0; i < count; ++i) {
        ids.push_back(
            static_cast<std::int32_t>(generator() % static_cast<std::uint64_t>(vocabulary)));
    }
    return ids;
}

Result<std::vector<std::int32_t>> prompt_ids(const JobSpec& spec, const OpenedModel& model,
                                             ModelSession& session, JobPlan& plan) {
    if (!model.files.tokenizer) {
        const auto bytes = static_cast<std::int64_t>(spec.prompt.size());
        const std::int64_t count =
            spec.prompt_tokens > 0 ? spec.prompt_tokens
                                   : (bytes + bytes_per_prompt_token - 1) / bytes_per_prompt_token;
        return seeded_ids(count, model.files.config.vocabulary, spec.seed);
    }
    if (spec.prompt_tokens == 0) {
        return model.files.tokenizer->encode(spec.prompt);
    }
    const auto* text = TRY(session.text(spec.quality.text, spec.prompt_tokens));
    plan.dataset_digest = text->digest;
    if (static_cast<std::int64_t>(text->tokens.ids.size()) < spec.prompt_tokens) {
        return bad("prompt_tokens is " + std::to_string(spec.prompt_tokens) + ", but " +
                   spec.quality.text + " has " + std::to_string(text->tokens.ids.size()) +
                   " tokens");
    }
    return text->tokens.ids;
}

Status check_context(const JobPlan& plan, const ModelConfig& config) {
    const auto prompt = static_cast<std::int64_t>(plan.sequence.prompt.size());
    if (plan.context() > config.positions) {
        return bad("a prompt of " + std::to_string(prompt) + " tokens and " +
                   std::to_string(plan.sequence.new_tokens) + " new ones do not fit the " +
                   std::to_string(config.positions) + " positions of " + config.name +
                   ": shorten the prompt or lower new_tokens");
    }
    return {};
}

void plan_quality(const JobSpec& spec, JobPlan& plan) {
    if (spec.quality.mode == QualityMode::off || spec.repeat != 0) {
        return;
    }
    if (spec.model.weights == WeightsSource::random) {
        plan.quality_note = "not measured: random weights have no quality";
        return;
    }
    plan.compare_text = true;
    // The seed's protocol compares texts only.
    plan.score_text = spec.quality.tokens > 0 && spec.protocol != Protocol::seed_report;
    plan.probe_layers = plan.score_text && spec.quality.mode == QualityMode::layers;
}

Result<LayerMethods> layers_of(const JobSpec& spec) {
    const LayerPolicy policy = TRY(policy_from_json(spec.policy));
    if (!policy.model.empty() && policy.model != spec.model.name) {
        return bad("the policy was made for " + policy.model.substr(0, 200) + ", this model is " +
                   spec.model.name + ": leave `model` out of it to use it all the same");
    }
    return layer_methods_of(policy);
}

// A calibrated method must not have seen what it is judged by.
Status plan_calibration(const JobSpec& spec, const OpenedModel& model, ModelSession& session,
                        JobPlan& plan) {
    if (!method_row(plan.method).calibrates || !model.files.tokenizer) {
        return {};
    }
    const CalibrationSpec slice = spec.calibration.value_or(
        CalibrationSpec{.text = spec.quality.text, .window = spec.quality.window});
    TRY(check_range("calibration offset", slice.offset, 0, 1'000'000'000));
    TRY(check_range("calibration tokens", slice.tokens, 1, 1'000'000'000));
    TRY(check_range("calibration window", slice.window, 2, 1 << 20));
    if (slice.text != spec.quality.text) {
        return bad("calibration reads " + slice.text + ", quality " + spec.quality.text +
                   ": name the same text in both, at another offset");
    }
    if (plan.score_text && slice.offset < spec.quality.tokens) {
        return bad("calibration begins at token " + std::to_string(slice.offset) + " of " +
                   slice.text + ", inside the " + std::to_string(spec.quality.tokens) +
                   " that quality evaluates: raise its offset or lower quality's tokens");
    }
    plan.dataset_digest = TRY(session.text_digest(slice.text));
    plan.calibration = slice;
    return {};
}

}  // namespace

Status check_spec(const JobSpec& spec, const Device& device) {
    const MethodId method = TRY(parse_method(spec.method));
    const MethodRow& row = method_row(method);
    if (device.is_cpu() ? !row.on_cpu : !row.on_cuda) {
        return make_error(ErrorCode::unsupported, spec.method + " does not run on " +
                                                      (device.is_cpu() ? "the CPU" : "CUDA cards"));
    }
    if (spec.threshold && (!std::isfinite(*spec.threshold) || *spec.threshold < 0)) {
        return bad("threshold is " + std::to_string(*spec.threshold) +
                   "; it must be a number >= 0 (0: no outlier decomposition)");
    }
    if (spec.alpha && !(*spec.alpha >= 0 && *spec.alpha <= 1)) {
        return bad("alpha is " + std::to_string(*spec.alpha) + "; it must be 0 to 1");
    }
    if (spec.head_bits != 16 && spec.head_bits != 8 && spec.head_bits != 4) {
        return bad("head is " + std::to_string(spec.head_bits) + "; it must be 16, 8 or 4");
    }
    if (!kv_from_string(spec.kv)) {
        return bad("kv is '" + spec.kv.substr(0, 60) + "'; it must be 16, int8 or fp8");
    }
    TRY(check_range("batch", spec.batch, 1, 4096));
    TRY(check_range("new_tokens", spec.new_tokens, 1, 1 << 20));
    TRY(check_range("prompt_tokens", spec.prompt_tokens, 0, 1 << 20));
    TRY(check_range("warmup", spec.warmup, 0, 1000));
    TRY(check_range("threads", spec.threads, 0, 1024));
    if (spec.prompt_tokens == 0 && spec.prompt.empty()) {
        return bad("prompt is empty; give a prompt or prompt_tokens");
    }
    if (spec.quality.mode != QualityMode::off) {
        TRY(check_range("quality tokens", spec.quality.tokens, 0, std::int64_t{1} << 40));
        TRY(check_range("quality window", spec.quality.window, 2, 1 << 20));
    }
    return {};
}

Result<JobPlan> plan_job(const JobSpec& spec, const Device& device, OpenedModel& model,
                         ModelSession& session) {
    const ModelConfig& config = model.files.config;
    JobPlan plan;
    plan.device = device;
    plan.method = TRY(parse_method(spec.method));
    plan.reads_threshold = method_row(plan.method).reads_threshold;
    if (plan.reads_threshold) {
        plan.threshold = spec.threshold.value_or(default_threshold);
    }
    plan.threads = spec.threads > 0 ? spec.threads : available_cores();
    plan.sequence.prompt = TRY(prompt_ids(spec, model, session, plan));
    plan.sequence.batch = spec.batch;
    plan.sequence.new_tokens = spec.new_tokens;
    plan.sequence.stop_id = spec.stop_at_eos ? config.eos_id : -1;
    plan.sequence.vocabulary = config.vocabulary;
    TRY(check_context(plan, config));
    if (plan.method.family == MethodFamily::mixed) {
        plan.layers = TRY(layers_of(spec));
    }
    plan_quality(spec, plan);
    if (plan.probe_layers && method_row(plan.method).calibrates) {
        return make_error(ErrorCode::unsupported,
                          "quality `layers` packs one layer alone, and " + plan.method.text +
                              " calibrates the whole model: ask for quality `once`");
    }
    plan.alpha = spec.alpha.value_or(default_alpha);
    TRY(plan_calibration(spec, model, session, plan));
    if (plan.score_text) {
        const auto* text = TRY(session.text(spec.quality.text, spec.quality.tokens));
        plan.text = &text->tokens;
        plan.dataset_digest = text->digest;
    }
    return plan;
}

}  // namespace bitsweep
