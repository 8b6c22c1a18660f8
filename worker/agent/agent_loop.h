// One worker process: connects the pure machine (agent.h) with the socket, the runners, the outbox,
// the clock and the signals.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "schemas/message.h"
#include "schemas/status.h"
#include "schemas/time.h"
#include "worker/agent/dealer.h"
#include "worker/agent/runners.h"
#include "worker/agent/state_folder.h"

namespace bitsweep::agent {

// Set by signal handlers or another thread; looked at several times a second.
struct StopFlags {
    std::atomic<bool> drain{false};  // finish what runs
    std::atomic<int> stop{0};        // 1: kill what runs and say goodbye; 2: at once
};

struct WorkerSetup {
    Access access;
    // Read again while nobody answers: a coordinator that starts at another address writes it
    // there. Empty: the address stays.
    std::filesystem::path access_file;
    std::string version;
    std::vector<DeviceInfo> devices;
    std::vector<std::string> models;  // names that this worker can find
    RunnerSettings runners;           // `logs` is filled from the state folder
    Duration patience{60'000};        // for the first answer of a coordinator
    Duration until;                   // drains after this; 0: never
    bool clear = false;               // a person says that the devices are sound again
};

// Runs until it is told to leave. ok: drained or stopped cleanly; refused: key, name or protocol
// not accepted; unavailable: no coordinator within the patience; io: the state folder.
Status run_worker(const WorkerSetup& setup, const StateFolder& state, const StopFlags& flags,
                  const std::function<void(const std::string&)>& say);

}  // namespace bitsweep::agent
