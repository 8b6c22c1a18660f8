// What the scheduler knows about one job. Data that exists only in a state lives only in that
// state; what outlives a state (attempt, counters, last ending) stands in JobRecord.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "schemas/ids.h"
#include "schemas/job.h"
#include "schemas/run_result.h"
#include "schemas/time.h"

namespace bitsweep::scheduler {

struct Waiting {};  // may be handed out as soon as a device fits

struct Running {
    WorkerName worker;
    SessionId session;
    std::string device;  // "cpu", "cuda:0"
    TimePoint since;     // handed out
    TimePoint lease;     // taken back when this passes without a sign of the job
    bool started = false;
};

struct Backoff {
    TimePoint until;
};

struct Done {};

struct Failed {
    OutcomeClass outcome = OutcomeClass::failure;
    std::string message;
};

struct Cancelled {
    std::string reason;
};

// The order is that of the columns in transition.cpp.
using JobState = std::variant<Waiting, Running, Backoff, Done, Failed, Cancelled>;
inline constexpr std::size_t job_state_count = std::variant_size_v<JobState>;

inline bool is_terminal(const JobState& state) {
    return state.index() >= 3;
}

// What the views show of a cell: the newest window that counts, else the newest one that does not.
enum class Shown : std::uint8_t { nothing, flagged, valid };

// A job that measures another one's cell again, on one card only: does the card still give the same
// numbers? It belongs to one experiment and is none of its cells (sentinels.cpp).
struct SentinelOf {
    JobKey reference;
    std::string card;  // placement.h: card_of
};

// How a job stands: what changes in its life.
struct JobLife {
    JobState state;
    Attempt attempt;                                 // last one handed out; 0: never
    int crashes = 0;                                 // against policy.retries_crash
    int failures = 0;                                // against policy.retries_fail
    OutcomeClass last_outcome = OutcomeClass::done;  // of the newest ended attempt, if any
    std::string last_message;
    // Where it ran out of memory: it goes to another kind of card, and to more memory than that.
    std::vector<std::string> kinds_tried;
    std::uint64_t outgrew_bytes = 0;  // 0: never
    int windows_again = 0;            // measured again, because a window did not count
    Shown shown = Shown::nothing;
};

// A job as it is stored and as a restart brings it back. The scheduler keeps it in a tenth of the
// room (job.h).
struct JobRecord : JobLife {
    JobKey key;
    std::shared_ptr<const Cell> cell;            // null where only the life is told
    std::shared_ptr<const SentinelOf> sentinel;  // null: it is a cell

    bool is_sentinel() const { return sentinel != nullptr; }
};

// What a job asks of a device, computed once from its spec (placement.h).
struct Needs {
    std::uint64_t bytes = 0;  // without the context of a CUDA process; 0: not known
    bool runs_on_cpu = true;
    bool runs_on_cuda = true;
    std::uint64_t reference_bytes = 0;  // host memory of the fp32 engine that quality is measured
                                        // against, which runs on the CPU
};

// "waiting", "running", ...: the words of the store and of status.
std::string_view state_word(const JobState& state);

}  // namespace bitsweep::scheduler
