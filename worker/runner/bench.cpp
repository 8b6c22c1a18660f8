#include "worker/runner/bench.h"

#include <algorithm>
#include <memory>
#include <random>
#include <utility>

#include "worker/inference/engine.h"
#include "worker/inference/quant/method.h"
#include "worker/metrics/statistics.h"
#include "worker/runner/ram_bandwidth.h"

namespace bitsweep {
namespace {

constexpr std::int64_t short_prompt = 8;
constexpr std::int64_t warmup_tokens = 8;
constexpr const char* prose =
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age "
    "of foolishness, it was the epoch of belief, it was the epoch of incredulity, it was the "
    "season of Light, it was the season of Darkness, it was the spring of hope. ";

struct Contender {
    std::unique_ptr<Engine> engine;
    BenchRow row;
    std::vector<double> decode, prefill, bandwidth, share;
};

// Real text where there is a tokenizer: outliers depend on what is read.
std::vector<std::int32_t> prompt_of(const ModelFiles& files, std::int64_t tokens) {
    std::vector<std::int32_t> ids;
    if (files.tokenizer) {
        ids = files.tokenizer->encode(prose);
    } else {
        std::mt19937_64 generator(0);
        for (std::int64_t i = 0; i < tokens; ++i) {
            ids.push_back(static_cast<std::int32_t>(
                generator() % static_cast<std::uint64_t>(files.config.vocabulary)));
        }
    }
    const std::size_t unit = ids.size();
    for (std::size_t i = unit; static_cast<std::int64_t>(i) < tokens; ++i) {
        ids.push_back(ids[i - unit]);
    }
    ids.resize(static_cast<std::size_t>(tokens));
    return ids;
}

std::int64_t context_of(const BenchPlan& plan) {
    return std::max(short_prompt + plan.decode_tokens, plan.prefill_tokens) + 1;
}

Result<Contender> load(const ModelFiles& files, const BenchPlan& plan, const std::string& method) {
    EngineOptions options;
    options.method = TRY(parse_method(method));
    const MethodRow& facts = method_row(options.method);
    if (!facts.on_cpu) {
        return make_error(ErrorCode::unsupported, method + " does not run on the CPU");
    }
    options.threshold = facts.reads_threshold ? plan.threshold : 0;
    options.head_bits = plan.head_bits;
    options.threads = plan.threads;
    options.context = context_of(plan);
    Contender one;
    const std::int64_t begin = monotonic_ns();
    one.engine = TRY(load_engine(files, options, nullptr));
    one.row.load_s = static_cast<double>(monotonic_ns() - begin) / 1e9;
    one.row.method = method;
    one.row.head_bits = plan.head_bits;
    one.row.threads = plan.threads;
    one.row.rounds_activations = options.method.rounds_activations;
    one.row.isa = vector_isa();
    one.row.bytes_per_token =
        static_cast<double>(one.engine->bytes_per_token(short_prompt + plan.decode_tokens / 2));
    return one;
}

double decode_rate(const SequenceTrace& trace) {
    return static_cast<double>(trace.token_ns.size()) * 1e9 /
           static_cast<double>(decode_time_ns(trace));
}

Status run_round(const ModelFiles& files, const BenchPlan& plan, int round, BandwidthMeter& meter,
                 Contender& one) {
    const SequencePlan decode{.prompt = prompt_of(files, short_prompt),
                              .new_tokens = plan.decode_tokens + 1,
                              .vocabulary = files.config.vocabulary};
    if (round == 0) {
        SequencePlan warmup = decode;
        warmup.new_tokens = warmup_tokens;
        TRY(run_sequence(*one.engine, warmup, {}));
    }
    const double before = meter.read();
    const Sequence sequence = TRY(run_sequence(*one.engine, decode, {}));
    const double bandwidth = (before + meter.read()) / 2;
    const double rate = decode_rate(sequence.trace);
    one.decode.push_back(rate);
    one.bandwidth.push_back(bandwidth);
    one.share.push_back(one.row.bytes_per_token * rate / bandwidth);
    if (round < plan.prefill_rounds) {
        const SequencePlan prefill{.prompt = prompt_of(files, plan.prefill_tokens),
                                   .vocabulary = files.config.vocabulary};
        const Sequence first = TRY(run_sequence(*one.engine, prefill, {}));
        one.prefill.push_back(static_cast<double>(plan.prefill_tokens) * 1e9 /
                              static_cast<double>(first.trace.prefill_ns));
    }
    return {};
}

BenchRow finish(Contender& one, const Contender* fp16) {
    BenchRow row = std::move(one.row);
    row.decode_tokens_per_s = median(one.decode).value_or(0);
    row.decode_low = percentile(one.decode, 0).value_or(0);
    row.decode_high = percentile(one.decode, 1).value_or(0);
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

Result<std::vector<BenchRow>> bench_model(const ModelFiles& files, const BenchPlan& plan,
                                          const Progress& progress) {
    if (context_of(plan) > files.config.positions) {
        return make_error(ErrorCode::invalid_input,
                          "the bench needs " + std::to_string(context_of(plan)) + " positions, " +
                              files.config.name + " has " + std::to_string(files.config.positions));
    }
    std::vector<Contender> contenders;
    for (const std::string& method : plan.methods) {
        progress("loading " + files.config.name + " " + method);
        contenders.push_back(TRY(load(files, plan, method)));
    }
    const auto meter = TRY(BandwidthMeter::create(plan.threads));
    for (int round = 0; round < plan.rounds; ++round) {
        progress("round " + std::to_string(round + 1) + " of " + std::to_string(plan.rounds));
        for (Contender& one : contenders) {
            TRY(run_round(files, plan, round, *meter, one));
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
