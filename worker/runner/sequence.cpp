#include "worker/runner/sequence.h"

#include <chrono>

namespace bitsweep {
namespace {

constexpr std::int64_t progress_every_ns = 2'000'000'000;

}  // namespace

std::int64_t monotonic_ns() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

std::int64_t unix_ms() {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
}

SparseProgress::SparseProgress(const Progress& progress)
    : progress_(progress), last_ns_(monotonic_ns()) {}

void SparseProgress::say(const std::string& what) {
    if (progress_ && monotonic_ns() - last_ns_ >= progress_every_ns) {
        last_ns_ = monotonic_ns();
        progress_(what);
    }
}

Result<Sequence> run_sequence(Engine& engine, const SequencePlan& plan, const Progress& progress) {
    SparseProgress sparse(progress);
    return generate_sequence(engine, plan, [&sparse](std::int64_t chosen) {
        sparse.say("token " + std::to_string(chosen));
    });
}

}  // namespace bitsweep
