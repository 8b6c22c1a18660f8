#include "worker/inference/stream_generate.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <utility>

namespace bitsweep {
namespace {

// Tokens of one launch: seconds at most on the largest model, so that the sink speaks; fewer where
// any token may be the last, since the rest of its launch is thrown away.
constexpr std::int64_t tokens_a_launch = 512;
constexpr std::int64_t tokens_before_a_stop = 32;

std::int64_t now_ns() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

// Keeps what lies up to the stop token, if it is there.
bool cut_after_stop(std::int32_t stop_id, decode::StreamRun& run) {
    if (stop_id < 0) {
        return false;
    }
    const auto stop = std::ranges::find(run.tokens, stop_id);
    if (stop == run.tokens.end()) {
        return false;
    }
    const auto kept = stop - run.tokens.begin() + 1;
    run.host_ns -=
        std::accumulate(run.token_ns.begin() + kept, run.token_ns.end(), std::int64_t{0});
    run.tokens.resize(static_cast<std::size_t>(kept));
    run.token_ns.resize(static_cast<std::size_t>(kept));
    return true;
}

}  // namespace

Result<Sequence> generate_streaming(Engine& engine, decode::StreamDecoder& decoder,
                                    const SequencePlan& plan, const TokenSink& sink) {
    ASSERT(!plan.prompt.empty() && plan.batch == 1 && plan.new_tokens >= 1);
    const auto prompt_tokens = static_cast<std::int64_t>(plan.prompt.size());
    std::vector<float> logits(static_cast<std::size_t>(plan.vocabulary));
    Sequence sequence;
    SequenceTrace& trace = sequence.trace;
    trace.prompt_tokens = prompt_tokens;
    trace.decoded_by = "stream";
    engine.reset();
    const std::int64_t begin = now_ns();
    TRY(engine.forward(plan.prompt, prompt_tokens, logits.data()));
    sequence.new_ids.push_back(argmax(logits));
    trace.prefill_ns = now_ns() - begin;

    const std::int64_t most = plan.stop_id < 0 ? tokens_a_launch : tokens_before_a_stop;
    std::int64_t position = prompt_tokens;
    bool stopped = plan.stop_id >= 0 && sequence.new_ids.back() == plan.stop_id;
    while (!stopped && static_cast<std::int64_t>(sequence.new_ids.size()) < plan.new_tokens) {
        const std::int64_t left =
            plan.new_tokens - static_cast<std::int64_t>(sequence.new_ids.size());
        decode::StreamRun run =
            TRY(decoder.run(sequence.new_ids.back(), position, std::min(left, most)));
        stopped = cut_after_stop(plan.stop_id, run);
        position += static_cast<std::int64_t>(run.tokens.size());
        sequence.new_ids.insert(sequence.new_ids.end(), run.tokens.begin(), run.tokens.end());
        trace.token_ns.insert(trace.token_ns.end(), run.token_ns.begin(), run.token_ns.end());
        trace.decode_ns += run.host_ns;
        trace.host_work->launches += 3;  // token in, kernel, tokens out
        trace.host_work->syncs += 1;
        if (stopped) {
            trace.host_work.reset();  // of more tokens than these
        }
        if (sink) {
            sink(static_cast<std::int64_t>(sequence.new_ids.size()));
        }
    }
    return sequence;
}

}  // namespace bitsweep
