// A coordinator that can be hosted: by `bitsweep serve`, by `bitsweep run`, in a thread of a test.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "coordinator/scheduler/options.h"
#include "schemas/status.h"
#include "schemas/time.h"

namespace bitsweep {

struct ServerOptions {
    std::string listen = "tcp://127.0.0.1:0";  // port 0: any free one
    std::filesystem::path db = "bitsweep.db";
    std::filesystem::path keys;  // made where missing; empty: no CURVE, loopback only
    Duration heartbeat{1'000};   // how often workers speak
    Duration lease{10'000};      // how long a job survives their silence
    Duration backoff{1'000};     // before a job that crashed is tried again; doubles
    scheduler::Affinity affinity = scheduler::Affinity::weights;
    // One line for the person at this terminal: a worker joined, a job is done again, dispatch
    // stopped. Called from run()'s thread. May be empty.
    std::function<void(const std::string&)> say;
};

class Server {
 public:
    // Opens the database, recovers, binds. already_exists: port in use, or another coordinator
    // writes this database; refused: an address beyond loopback without keys; io, corrupt,
    // unsupported: the database.
    static Result<std::unique_ptr<Server>> create(ServerOptions options);

    virtual ~Server() = default;

    virtual std::string endpoint() const = 0;  // with the real port

    // Until `stop` becomes true (looked at twice a second) or a client sends Shutdown; what was
    // decided is then written. io: it could not be.
    virtual Status run(const std::atomic<bool>& stop) = 0;
};

}  // namespace bitsweep
