#include "worker/inference/generate.h"

#include <chrono>
#include <span>

namespace bitsweep {
namespace {

std::int64_t now_ns() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

}  // namespace

Result<Sequence> generate_by_forward(Engine& engine, const SequencePlan& plan,
                                     const TokenSink& sink) {
    ASSERT(!plan.prompt.empty() && plan.batch >= 1 && plan.new_tokens >= 1);
    const auto prompt_tokens = static_cast<std::int64_t>(plan.prompt.size());
    const auto batch = static_cast<std::size_t>(plan.batch);
    const auto vocabulary = static_cast<std::size_t>(plan.vocabulary);
    std::vector<std::int32_t> ids;
    for (std::size_t b = 0; b < batch; ++b) {
        ids.insert(ids.end(), plan.prompt.begin(), plan.prompt.end());
    }
    std::vector<float> logits(batch * vocabulary);
    std::vector<std::int32_t> next(batch);
    const auto choose = [&] {
        for (std::size_t b = 0; b < batch; ++b) {
            next[b] = argmax(std::span(logits).subspan(b * vocabulary, vocabulary));
        }
    };
    Sequence sequence;
    sequence.trace.prompt_tokens = prompt_tokens;
    sequence.trace.batch = plan.batch;
    sequence.trace.token_ns.reserve(static_cast<std::size_t>(plan.new_tokens));
    engine.reset();

    std::int64_t begin = now_ns();
    TRY(engine.forward(ids, prompt_tokens, logits.data()));
    choose();
    sequence.trace.prefill_ns = now_ns() - begin;
    sequence.new_ids.push_back(next[0]);
    while (static_cast<std::int64_t>(sequence.new_ids.size()) < plan.new_tokens &&
           (plan.stop_id < 0 || next[0] != plan.stop_id)) {
        begin = now_ns();
        TRY(engine.forward(next, 1, logits.data()));
        choose();
        sequence.trace.token_ns.push_back(now_ns() - begin);
        sequence.new_ids.push_back(next[0]);
        if (sink) {
            sink(static_cast<std::int64_t>(sequence.new_ids.size()));
        }
    }
    return sequence;
}

Result<Sequence> generate_sequence(Engine& engine, const SequencePlan& plan,
                                   const TokenSink& sink) {
    if (auto* generator = dynamic_cast<SequenceGenerator*>(&engine)) {
        return generator->generate(plan, sink);
    }
    return generate_by_forward(engine, plan, sink);
}

}  // namespace bitsweep
