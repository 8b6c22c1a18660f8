#include "worker/runner/bench.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <memory>
#include <utility>

#include "worker/inference/ceilings/ceilings.h"
#include "worker/metrics/statistics.h"
#include "worker/runner/options.h"
#include "worker/runner/ram_bandwidth.h"

namespace bitsweep {
namespace {

constexpr std::int64_t warmup_tokens = 8;

struct Contender {
    std::unique_ptr<Engine> engine;
    BenchRow row;
    std::vector<double> decode, steps, prefill, bandwidth, share;
};

std::int64_t context_of(const BenchPlan& plan) {
    return std::max(plan.prompt_tokens + plan.decode_tokens, plan.prefill_tokens) + 1;
}

// How fast the memory of `device` reads now.
class ReadMeter {
 public:
    static Result<ReadMeter> create(const Device& device, int threads) {
        ReadMeter meter(device);
        if (device.is_cpu()) {
            meter.ram_ = TRY(BandwidthMeter::create(threads));
        }
        return meter;
    }

    Result<double> read() {
        return ram_ ? Result<double>(ram_->read()) : read_bandwidth_now(device_.ordinal);
    }

 private:
    explicit ReadMeter(const Device& device) : device_(device) {}

    Device device_;
    std::unique_ptr<BandwidthMeter> ram_;
};

std::string label_of(const BenchMethod& method, bool reads_threshold) {
    if (!reads_threshold) {
        return method.method;
    }
    char text[32];
    std::snprintf(text, sizeof text, "@%g", method.threshold);
    return method.method + text;
}

int head_of(const BenchPlan& plan, const MethodId& method) {
    if (plan.head_bits != 0) {
        return plan.head_bits;
    }
    return method.weight_bits >= 16 ? 16 : 8;
}

Result<Contender> load(BenchCalibrations& calibrations, const BenchPlan& plan,
                       const BenchMethod& method, const Progress& progress) {
    EngineOptions options;
    options.method = TRY(parse_method(method.method));
    const MethodRow& facts = method_row(options.method);
    options.device = plan.device.id();
    options.threshold = facts.reads_threshold ? method.threshold : 0;
    options.batch = plan.batch;
    options.decode_path = plan.decode_path;
    options.head_bits = head_of(plan, options.method);
    options.threads = plan.threads;
    options.context = context_of(plan);
    const auto seen = TRY(calibrations.model_for(options.method, plan.threads, progress));
    Contender one;
    one.row.calibration_tokens = seen.tokens;
    const std::int64_t begin = monotonic_ns();
    one.engine = TRY(load_engine(*seen.files, options, nullptr));
    one.row.load_s = static_cast<double>(monotonic_ns() - begin) / 1e9;
    one.row.method = label_of(method, facts.reads_threshold);
    one.row.batch = plan.batch;
    one.row.head_bits = options.head_bits;
    one.row.threads = plan.threads;
    one.row.rounds_activations = options.method.rounds_activations;
    one.row.bytes_per_token = static_cast<double>(
        one.engine->bytes_per_token(plan.prompt_tokens + plan.decode_tokens / 2));
    return one;
}

double decode_rate(const SequenceTrace& trace) {
    return static_cast<double>(trace.token_ns.size()) * static_cast<double>(trace.batch) * 1e9 /
           static_cast<double>(decode_time_ns(trace));
}

Status run_round(const ModelFiles& files, const BenchPlan& plan, int round, ReadMeter& meter,
                 Contender& one) {
    const SequencePlan decode{.prompt = bench_ids(files, plan.prompt_tokens),
                              .batch = plan.batch,
                              .new_tokens = plan.decode_tokens + 1,
                              .vocabulary = files.config.vocabulary};
    if (round == 0) {
        SequencePlan warmup = decode;
        warmup.new_tokens = std::min(warmup_tokens, decode.new_tokens);
        TRY(run_sequence(*one.engine, warmup, {}));
    }
    const double before = TRY(meter.read());
    const Sequence sequence = TRY(run_sequence(*one.engine, decode, {}));
    const double bandwidth = (before + TRY(meter.read())) / 2;
    const double rate = decode_rate(sequence.trace);
    one.row.decoded_by = sequence.trace.decoded_by;
    one.steps.insert(one.steps.end(), sequence.trace.token_ns.begin(),
                     sequence.trace.token_ns.end());
    one.decode.push_back(rate);
    one.bandwidth.push_back(bandwidth);
    one.share.push_back(one.row.bytes_per_token * rate / static_cast<double>(plan.batch) /
                        bandwidth);
    if (round >= plan.prefill_rounds) {
        return {};
    }
    const SequencePlan prefill{.prompt = bench_ids(files, plan.prefill_tokens),
                               .batch = plan.batch,
                               .vocabulary = files.config.vocabulary};
    if (round == 0 && !plan.device.is_cpu()) {
        TRY(run_sequence(*one.engine, prefill, {}));  // chooses its kernels by the shape
    }
    const Sequence first = TRY(run_sequence(*one.engine, prefill, {}));
    one.prefill.push_back(static_cast<double>(plan.prefill_tokens * plan.batch) * 1e9 /
                          static_cast<double>(first.trace.prefill_ns));
    return {};
}

BenchRow finish(Contender& one, const Contender* fp16) {
    BenchRow row = std::move(one.row);
    row.decode_tokens_per_s = median(one.decode).value_or(0);
    row.decode_low = percentile(one.decode, 0).value_or(0);
    row.decode_high = percentile(one.decode, 1).value_or(0);
    row.step_ns_p50 = median(one.steps).value_or(0);
    row.step_ns_p99 = percentile(one.steps, 0.99).value_or(0);
    row.prefill_tokens_per_s = median(one.prefill).value_or(0);
    row.read_bandwidth = median(one.bandwidth).value_or(0);
    row.share = median(one.share).value_or(0);
    if (fp16 != nullptr) {
        std::vector<double> ratios;
        for (std::size_t i = 0; i < one.decode.size(); ++i) {
            ratios.push_back(one.decode[i] / fp16->decode[i]);
        }
        row.over_fp16 = median(ratios).value_or(0);
    }
    return row;
}

}  // namespace

Result<BenchMethod> parse_bench_method(const std::string& text, const Device& device) {
    const std::size_t at = text.find('@');
    MethodChoice choice{.method = text.substr(0, at)};
    if (at != std::string::npos) {
        const std::string number = text.substr(at + 1);
        const auto [end, failed] =
            std::from_chars(number.data(), number.data() + number.size(), choice.threshold);
        if (failed != std::errc() || end != number.data() + number.size()) {
            return make_error(ErrorCode::invalid_input,
                              "'" + text + "': after @ stands a threshold, as in llmint8-fused@6");
        }
        choice.threshold_given = true;
    }
    const EngineOptions options = TRY(engine_options_of(choice, device.id()));
    return BenchMethod{choice.method, options.threshold};
}

Result<std::vector<BenchRow>> bench_model(const ModelFiles& files, BenchCalibrations& calibrations,
                                          const BenchPlan& plan, const Progress& progress) {
    if (context_of(plan) > files.config.positions) {
        return make_error(ErrorCode::invalid_input,
                          "the bench needs " + std::to_string(context_of(plan)) + " positions, " +
                              files.config.name + " has " + std::to_string(files.config.positions));
    }
    std::vector<Contender> contenders;
    for (const BenchMethod& method : plan.methods) {
        progress("loading " + files.config.name + " " + method.method);
        contenders.push_back(TRY(load(calibrations, plan, method, progress)));
    }
    ReadMeter meter = TRY(ReadMeter::create(plan.device, plan.threads));
    for (int round = 0; round < plan.rounds; ++round) {
        progress("round " + std::to_string(round + 1) + " of " + std::to_string(plan.rounds));
        for (Contender& one : contenders) {
            TRY(run_round(files, plan, round, meter, one));
        }
    }
    const auto fp16 = std::find_if(contenders.begin(), contenders.end(),
                                   [](const Contender& one) { return one.row.method == "fp16"; });
    const Contender* baseline = fp16 == contenders.end() ? nullptr : &*fp16;
    std::vector<BenchRow> rows;
    for (Contender& one : contenders) {
        rows.push_back(finish(one, baseline));
    }
    return rows;
}

}  // namespace bitsweep
