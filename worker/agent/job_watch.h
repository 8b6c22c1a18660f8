// One job's time on a runner, and what its runner's end means. Pure: time is an argument, signals
// are answers.
#pragma once

#include <string>

#include "schemas/run_result.h"
#include "schemas/time.h"

namespace bitsweep::agent {

struct WatchLimits {
    Duration timeout{600'000};  // the whole job, loading included
    // Between two progress lines. The longest step without one is a prefill of a large model on a
    // slow CPU, about a minute.
    Duration silence{300'000};
    Duration grace{5'000};  // from SIGTERM to SIGKILL
};

enum class StopCause { none, deadline, silence, cancelled, memory };
enum class Urge { none, terminate, kill };

class JobWatch {
 public:
    JobWatch(WatchLimits limits, TimePoint start);

    void progress(TimePoint now) { heard_ = now; }
    void cancel(TimePoint now, std::string reason);
    void too_heavy(TimePoint now, std::string words);

    // The signal that is due now; each is given once.
    Urge advance(TimePoint now);
    TimePoint next_wake() const;

    StopCause cause() const { return cause_; }
    const std::string& words() const { return words_; }  // "timeout after 600 s", ...

 private:
    void stop(TimePoint now, StopCause cause, std::string words);

    WatchLimits limits_;
    TimePoint start_;
    TimePoint heard_;
    TimePoint stopped_{};
    StopCause cause_ = StopCause::none;
    std::string words_;
    bool terminated_ = false;
    bool killed_ = false;
};

// How a runner ended without a result, as the operating system and its log tell it.
struct RunnerEnd {
    int exit_status = 0;   // when signal is 0
    int signal = 0;        // that ended it
    std::string oom_note;  // what the kernel counted as out-of-memory kills meanwhile; "": nothing
    std::string log_tail;
    std::string garbage;  // why a line on the result descriptor was no result; "": there was none
    StopCause cause = StopCause::none;
    std::string cause_words;
};

// The class, one line for people, and the evidence.
Outcome outcome_of(const RunnerEnd& end);

}  // namespace bitsweep::agent
