#include "coordinator/scheduler/transition.h"

namespace bitsweep::scheduler {

namespace {

void hand_out(JobLife& job, const Trigger& trigger) {
    const auto& t = std::get<HandOut>(trigger);
    ++job.attempt.value;
    job.state = Running{t.worker, t.session, t.device, t.now, t.lease, false};
}

void renew(JobLife& job, const Trigger& trigger) {
    const auto& t = std::get<Renew>(trigger);
    auto& running = std::get<Running>(job.state);
    running.session = t.session;
    running.lease = t.lease;
    running.started = running.started || t.started;
}

void complete(JobLife& job, const Trigger& trigger) {
    job.last_outcome = OutcomeClass::done;
    job.last_message = std::get<Complete>(trigger).flag;
    job.state = Done{};
}

void remeasure(JobLife& job, const Trigger& trigger) {
    const auto& t = std::get<Remeasure>(trigger);
    ++job.windows_again;
    job.last_outcome = OutcomeClass::done;
    job.last_message = t.flag;
    job.state = Backoff{t.not_before};
}

void end(JobLife& job, const Trigger& trigger) {
    const auto& t = std::get<End>(trigger);
    job.crashes += t.verdict.budget == Budget::crash ? 1 : 0;
    job.failures += t.verdict.budget == Budget::fail ? 1 : 0;
    job.last_outcome = t.outcome.outcome;
    job.last_message = t.outcome.message;
    switch (t.verdict.next) {
        case Next::again:
            job.state = Waiting{};
            return;
        case Next::later:
            job.state = Backoff{t.now + t.verdict.delay};
            return;
        case Next::never:
            // A measurement that is there is not lost because its repetition failed.
            if (job.windows_again > 0 && job.shown != Shown::nothing) {
                job.state = Done{};
            } else {
                job.state = Failed{t.outcome.outcome, t.outcome.message};
            }
            return;
    }
}

void wake(JobLife& job, const Trigger&) {
    job.state = Waiting{};
}

void stop(JobLife& job, const Trigger& trigger) {
    job.last_outcome = OutcomeClass::cancelled;
    job.last_message = std::get<Stop>(trigger).reason;
    job.state = Cancelled{std::get<Stop>(trigger).reason};
}

void reopen(JobLife& job, const Trigger&) {
    job.crashes = 0;
    job.failures = 0;
    job.windows_again = 0;
    job.kinds_tried.clear();
    job.outgrew_bytes = 0;
    job.state = Waiting{};
}

using Transition = void (*)(JobLife&, const Trigger&);

// clang-format off
constexpr Transition table[trigger_count][job_state_count] = {
    //              Waiting    Running    Backoff  Done       Failed   Cancelled
    /* HandOut   */ {hand_out, nullptr,   nullptr, nullptr,   nullptr, nullptr},
    /* Renew     */ {nullptr,  renew,     nullptr, nullptr,   nullptr, nullptr},
    /* Complete  */ {nullptr,  complete,  nullptr, nullptr,   nullptr, nullptr},
    /* Remeasure */ {nullptr,  remeasure, nullptr, remeasure, nullptr, nullptr},
    /* End       */ {nullptr,  end,       nullptr, nullptr,   nullptr, nullptr},
    /* Wake      */ {nullptr,  nullptr,   wake,    nullptr,   nullptr, nullptr},
    /* Stop      */ {stop,     stop,      stop,    nullptr,   nullptr, nullptr},
    /* Reopen    */ {nullptr,  nullptr,   nullptr, reopen,    reopen,  reopen},
};
// clang-format on

}  // namespace

std::string_view trigger_word(const Trigger& trigger) {
    constexpr std::string_view words[trigger_count] = {
        "hand out", "renew", "complete", "measure again", "end", "wake", "stop", "reopen"};
    return words[trigger.index()];
}

std::string_view state_word(const JobState& state) {
    constexpr std::string_view words[job_state_count] = {"waiting", "running", "backoff",
                                                         "done",    "failed",  "cancelled"};
    return words[state.index()];
}

Status apply(JobLife& job, const Trigger& trigger) {
    const Transition transition = table[trigger.index()][job.state.index()];
    if (transition == nullptr) {
        return make_error(ErrorCode::refused, "`" + std::string(trigger_word(trigger)) +
                                                  "` is not possible in state `" +
                                                  std::string(state_word(job.state)) + "`");
    }
    transition(job, trigger);
    return {};
}

}  // namespace bitsweep::scheduler
