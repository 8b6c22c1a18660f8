#include "worker/agent/job_watch.h"

#include <algorithm>
#include <csignal>
#include <cstring>
#include <string_view>

namespace bitsweep::agent {

namespace {

std::string seconds(Duration duration) {
    if (duration.ms % 1'000 == 0) {
        return std::to_string(duration.ms / 1'000) + " s";
    }
    return std::to_string(duration.ms) + " ms";
}

bool contains_any(std::string_view text, std::initializer_list<std::string_view> words) {
    return std::any_of(words.begin(), words.end(), [text](std::string_view word) {
        return text.find(word) != std::string_view::npos;
    });
}

std::string how_it_ended(const RunnerEnd& end) {
    if (end.signal != 0) {
        const char* name = strsignal(end.signal);
        return "signal " + std::to_string(end.signal) + " (" + (name == nullptr ? "?" : name) + ")";
    }
    return "exit status " + std::to_string(end.exit_status);
}

}  // namespace

JobWatch::JobWatch(WatchLimits limits, TimePoint start)
    : limits_(limits), start_(start), heard_(start) {}

void JobWatch::cancel(TimePoint now, std::string reason) {
    if (cause_ == StopCause::none) {
        stop(now, StopCause::cancelled, std::move(reason));
    }
}

void JobWatch::too_heavy(TimePoint now, std::string words) {
    if (cause_ == StopCause::none) {
        stop(now, StopCause::memory, std::move(words));
    }
}

void JobWatch::stop(TimePoint now, StopCause cause, std::string words) {
    cause_ = cause;
    words_ = std::move(words);
    stopped_ = now;
}

Urge JobWatch::advance(TimePoint now) {
    if (cause_ == StopCause::none) {
        if (now >= start_ + limits_.timeout) {
            stop(now, StopCause::deadline, "timeout after " + seconds(limits_.timeout));
        } else if (now >= heard_ + limits_.silence) {
            stop(now, StopCause::silence, "no progress for " + seconds(limits_.silence));
        }
    }
    if (cause_ == StopCause::none || killed_) {
        return Urge::none;
    }
    if (!terminated_) {
        terminated_ = true;
        return Urge::terminate;
    }
    if (now >= stopped_ + limits_.grace) {
        killed_ = true;
        return Urge::kill;
    }
    return Urge::none;
}

TimePoint JobWatch::next_wake() const {
    if (cause_ == StopCause::none) {
        return std::min(start_ + limits_.timeout, heard_ + limits_.silence);
    }
    return terminated_ ? stopped_ + limits_.grace : stopped_;
}

Outcome outcome_of(const RunnerEnd& end) {
    Outcome outcome;
    outcome.evidence = how_it_ended(end);
    if (!end.oom_note.empty()) {
        outcome.evidence += "; " + end.oom_note;
    }
    if (!end.garbage.empty()) {
        outcome.evidence += "; on the result descriptor: " + end.garbage;
    }
    if (!end.log_tail.empty()) {
        outcome.evidence += "\n" + end.log_tail;
    }
    const std::string_view log = end.log_tail;
    if (end.cause == StopCause::deadline || end.cause == StopCause::silence) {
        outcome.outcome = OutcomeClass::timeout;
        outcome.message = end.cause_words;
    } else if (end.cause == StopCause::cancelled) {
        outcome.outcome = OutcomeClass::cancelled;
        outcome.message = end.cause_words;
    } else if (end.cause == StopCause::memory) {
        outcome.outcome = OutcomeClass::out_of_memory;
        outcome.message = end.cause_words;
    } else if (contains_any(log, {"CUDA out of memory", "cudaErrorMemoryAllocation"})) {
        outcome.outcome = OutcomeClass::out_of_gpu_memory;
        outcome.message = "the device's memory did not suffice";
    } else if (contains_any(log, {"CUDA error", "cudaErrorIllegalAddress", "device-side assert"})) {
        outcome.outcome = OutcomeClass::gpu_fault;
        outcome.message = "the device reported an error that ended the runner";
    } else if (end.signal == SIGKILL && !end.oom_note.empty()) {
        outcome.outcome = OutcomeClass::out_of_memory;
        outcome.message = "the kernel killed the runner for memory";
    } else if (contains_any(
                   log, {"std::bad_alloc", "can't allocate memory", "Cannot allocate memory"})) {
        outcome.outcome = OutcomeClass::out_of_memory;
        outcome.message = "the runner could not allocate host memory";
    } else if (!end.garbage.empty()) {
        outcome.outcome = OutcomeClass::crash;
        outcome.message = "the runner answered something that is no result";
    } else {
        outcome.outcome = OutcomeClass::crash;
        outcome.message = "the runner ended without a result: " + how_it_ended(end);
    }
    return outcome;
}

}  // namespace bitsweep::agent
