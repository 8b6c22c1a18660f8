// Results on disk until the coordinator has acknowledged them: they survive the loss of the
// coordinator, of the connection and of this process.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "schemas/run_result.h"
#include "schemas/status.h"

namespace bitsweep::agent {

// "KEY-ATTEMPT", a name without any character that means something to a file system: keys come
// from a peer.
std::string file_stem(const JobKey& key, Attempt attempt);

class Outbox {
 public:
    // Makes the folder. io.
    static Result<Outbox> open(std::filesystem::path folder);

    // Durable when it returns ok: temporary file, fsync, rename, fsync of the folder.
    Status keep(const RunResult& result) const;
    void drop(const JobKey& key, Attempt attempt) const;

    // What is there. A file that is no result is renamed to *.bad and named in `complaints`.
    std::vector<RunResult> load(std::vector<std::string>& complaints) const;

 private:
    explicit Outbox(std::filesystem::path folder) : folder_(std::move(folder)) {}
    std::filesystem::path folder_;
};

}  // namespace bitsweep::agent
