// How much one peer may ask of the coordinator. Pure: time is an argument.
#pragma once

#include <cstddef>
#include <map>
#include <string>

#include "coordinator/transport/router.h"
#include "schemas/status.h"
#include "schemas/time.h"

namespace bitsweep {

// What the messages of a role need at most, and how often they come.
struct RoleLimits {
    std::size_t message_bytes = 0;
    double per_second = 0;  // messages, in the long run
    double burst = 0;       // messages, at once
};
const RoleLimits& limits_of(Role role);

// One bucket for each access file, whatever number of connections it opens.
class PeerLimits {
 public:
    enum class Verdict {
        take,     // within its limits
        refuse,   // with the reason; the message is not even parsed
        silence,  // was told so just now: no answer, which would only be one more queue to fill
        cut,      // it goes on and on: its connection is to be closed
    };
    struct Ruling {
        Verdict verdict = Verdict::take;
        Error reason;  // unless `take`
    };

    Ruling rule(const Peer& peer, std::size_t bytes, TimePoint now);

    // A message that no release of bitsweep would send (no JSON, a wrong schema).
    void note_malformed(const Peer& peer, TimePoint now);

 private:
    struct Account {
        double tokens = 0;
        double faults = 0;  // refused and malformed messages; one a second is forgiven
        TimePoint at{};
        bool told = false;  // that it is too fast, since it last was within its limits
    };
    Account& account(const Peer& peer, TimePoint now);

    std::map<std::string, Account> accounts_;  // by name: as many as there are access files
};

}  // namespace bitsweep
