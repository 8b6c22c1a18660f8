#include "coordinator/cli/progress.h"

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <thread>

#include "coordinator/cli/interrupt.h"

namespace bitsweep {

namespace {

using Clock = std::chrono::steady_clock;

constexpr Duration answer_time{2'000};

std::int64_t count_of(const ExperimentStatus& status, const char* state) {
    const auto found = status.jobs.find(state);
    return found == status.jobs.end() ? 0 : found->second;
}

// A coordinator that starts again recovers its database first: until then it knows nothing, and
// its absence is no reason to give up.
class Patience {
 public:
    explicit Patience(Duration limit) : limit_(limit) {}

    // False when the coordinator has been away for too long.
    bool bear(const Error& error) {
        if (!away_) {
            away_ = true;
            since_ = Clock::now();
            std::fprintf(stderr, "bitsweep: %s; waiting for it to come back\n",
                         error.message.c_str());
        }
        return Clock::now() < since_ + std::chrono::milliseconds(limit_.ms);
    }

    void forget() { away_ = false; }

 private:
    Duration limit_;
    bool away_ = false;
    Clock::time_point since_;
};

}  // namespace

Tally tally_of(const ExperimentStatus& status) {
    Tally tally;
    for (const auto& [state, count] : status.jobs) {
        tally.total += count;
    }
    tally.done = count_of(status, "done");
    tally.failed = count_of(status, "failed");
    tally.cancelled = count_of(status, "cancelled");
    tally.running = count_of(status, "running");
    tally.impossible = count_of(status, "impossible");
    tally.waiting = tally.total - tally.done - tally.failed - tally.cancelled - tally.running -
                    tally.impossible;
    return tally;
}

std::string duration_words(std::int64_t ms) {
    const std::int64_t seconds = (ms + 500) / 1'000;
    if (seconds < 60) {
        return std::to_string(seconds) + " s";
    }
    if (seconds < 3'600) {
        return std::to_string(seconds / 60) + " min " + std::to_string(seconds % 60) + " s";
    }
    return std::to_string(seconds / 3'600) + " h " + std::to_string(seconds / 60 % 60) + " min";
}

std::string progress_words(const ExperimentStatus& status) {
    const Tally tally = tally_of(status);
    std::string words = std::to_string(tally.done) + " of " + std::to_string(tally.total) + " done";
    const auto add = [&words](std::int64_t count, const char* what) {
        if (count > 0) {
            words += ", " + std::to_string(count) + " " + what;
        }
    };
    add(tally.running, "running");
    add(tally.failed, "failed");
    add(tally.cancelled, "cancelled");
    add(tally.impossible, "fit no attached worker");
    if (status.eta_ms > 0) {
        words += ", about " + duration_words(status.eta_ms) + " left";
    }
    return words;
}

ProgressLine::ProgressLine() : terminal_(is_terminal(STDERR_FILENO)) {}

void ProgressLine::show(const std::string& words) {
    if (terminal_) {
        std::fprintf(stderr, "\r\033[K%s", words.c_str());
        std::fflush(stderr);
        shown_ = true;
    }
}

void ProgressLine::clear() {
    if (shown_) {
        std::fputs("\r\033[K", stderr);
        std::fflush(stderr);
        shown_ = false;
    }
}

Result<ExperimentStatus> wait_for_end(Client& client, const ExperimentName& experiment,
                                      const WaitRules& rules) {
    ProgressLine line;
    Patience patience(rules.coordinator_away);
    while (!interrupts().any) {
        Result<StatusReply> reply =
            client.ask_for<StatusReply>(StatusRequest{experiment}, answer_time);
        if (!reply && reply.error().code != ErrorCode::unavailable) {
            return reply.error();
        }
        if (!reply) {
            line.clear();
            if (!patience.bear(reply.error())) {
                return reply.error();
            }
        } else if (reply->experiments.empty()) {
            return make_error(ErrorCode::not_found,
                              "the coordinator does not know the experiment " + experiment.value);
        } else {
            patience.forget();
            const ExperimentStatus& status = reply->experiments.front();
            const Tally tally = tally_of(status);
            if (tally.finished()) {
                return status;
            }
            line.show(progress_words(status));
            if (rules.look) {
                TRY(rules.look(*reply, tally));
            }
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(rules.pause.ms));
    }
    return make_error(ErrorCode::interrupted, "interrupted; what is done is kept");
}

std::function<Status(const StatusReply&, const Tally&)> tell_what_fits_nowhere() {
    return [told = std::vector<std::string>()](const StatusReply& reply,
                                               const Tally& tally) mutable -> Status {
        const ExperimentStatus& status = reply.experiments.front();
        const bool stuck = tally.impossible > 0 && tally.running + tally.waiting == 0;
        if (stuck && status.reasons != told) {
            for (const std::string& reason : status.reasons) {
                std::fprintf(stderr, "%s: %s\n", status.experiment.value.c_str(), reason.c_str());
            }
            std::fputs("waits for a worker that fits; Ctrl-C ends the wait\n", stderr);
            told = status.reasons;
        }
        return {};
    };
}

std::string former_words(const Submitted& submitted) {
    return std::to_string(submitted.former) +
           (submitted.former == 1 ? " cell that the file no longer has leaves "
                                  : " cells that the file no longer has leave ") +
           submitted.experiment.value +
           ": what waited is cancelled, results stay (`bitsweep query --view v_former`)";
}

}  // namespace bitsweep
