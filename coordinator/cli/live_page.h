// The live page: read-only, of this machine only, without secrets.
//
//   /               progress, failures, workers; asks /status.json every two seconds
//   /status.json    the coordinator's status reply, or {"error": "..."}
//   /metrics        the same in Prometheus' text format
//   /results.json?experiment=NAME    cells by state and estimates so far (live_results.h)
//   /windows.json    clocks, heat and power of each device's newest window
//   /views.json, /view.json?name=NAME&experiment=E    any view of the database
//   /report?experiment=NAME    the summary so far, as `bitsweep report` writes it
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "schemas/message.h"
#include "schemas/status.h"
#include "worker/agent/dealer.h"

namespace bitsweep {

struct LivePageOptions {
    Access access;  // role read suffices
    // Read again when nobody answers: the coordinator may have started elsewhere. Empty: `access`.
    std::filesystem::path access_file;
    std::filesystem::path db;  // for /report; may be missing
    int port = 0;              // on 127.0.0.1; 0: any free one
};

class LivePage {
 public:
    // Serves from a thread of its own until it is destroyed. already_exists: the port is in use.
    static Result<std::unique_ptr<LivePage>> start(const LivePageOptions& options);
    virtual ~LivePage() = default;
    virtual std::string url() const = 0;
};

// Counters and gauges of a status reply in Prometheus' text format 0.0.4; `error` is why there is
// no reply, and then only bitsweep_up is told.
std::string to_prometheus(const Result<StatusReply>& reply);

}  // namespace bitsweep
