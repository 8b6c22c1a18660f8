// How far an experiment is: counts, one line that is redrawn, and the wait for its end.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "coordinator/cli/client.h"
#include "schemas/message.h"
#include "schemas/status.h"

namespace bitsweep {

struct Tally {
    std::int64_t total = 0;
    std::int64_t done = 0;
    std::int64_t failed = 0;     // for good
    std::int64_t cancelled = 0;  // by a person
    std::int64_t running = 0;
    std::int64_t waiting = 0;
    std::int64_t impossible = 0;  // waiting, and no attached device can ever take them

    bool finished() const { return running + waiting + impossible == 0; }
};

Tally tally_of(const ExperimentStatus& status);

// "12 of 66 done, 1 running, 2 failed, about 1 min 20 s left"
std::string progress_words(const ExperimentStatus& status);

// "1 min 20 s"
std::string duration_words(std::int64_t ms);

// One line at the bottom of a terminal; nothing at all elsewhere.
class ProgressLine {
 public:
    ProgressLine();
    ~ProgressLine() { clear(); }
    void show(const std::string& words);
    void clear();

 private:
    bool terminal_;
    bool shown_ = false;
};

// "3 cells that the file no longer has leave NAME: ..."
std::string former_words(const Submitted& submitted);

struct WaitRules {
    // Called with every status; an Error ends the wait with it.
    std::function<Status(const StatusReply&, const Tally&)> look;
    Duration pause{250};                // between two questions
    Duration coordinator_away{60'000};  // silence of a coordinator that may be starting again
};

// A `look` that says on standard error, once for each set of reasons, why what is left fits no
// attached worker: such a wait may never end.
std::function<Status(const StatusReply&, const Tally&)> tell_what_fits_nowhere();

// Until every job of the experiment has ended. interrupted: Ctrl-C; unavailable: the coordinator
// stayed away; not_found: it does not know the experiment.
Result<ExperimentStatus> wait_for_end(Client& client, const ExperimentName& experiment,
                                      const WaitRules& rules);

}  // namespace bitsweep
