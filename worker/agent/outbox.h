// Results on disk until the coordinator has acknowledged them: they survive the loss of the
// coordinator, of the connection and of this process.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "schemas/status.h"
#include "worker/agent/kept_result.h"

namespace bitsweep::agent {

// "KEY-ATTEMPT", a name without any character that means something to a file system: keys come
// from a peer.
std::string file_stem(const JobKey& key, Attempt attempt);

// A folder of files KEY-ATTEMPT.json for each database, and in the outbox itself for the nameless.
class Outbox {
 public:
    // Makes the folder. io.
    static Result<Outbox> open(std::filesystem::path folder);

    // Durable when it returns ok: temporary file, fsync, rename, fsync of the folder.
    Status keep(const KeptResult& kept) const;
    void drop(const std::string& database, const JobKey& key, Attempt attempt) const;

    // What is there. A file that is no result is renamed to *.bad and named in `complaints`.
    std::vector<KeptResult> load(std::vector<std::string>& complaints) const;

 private:
    explicit Outbox(std::filesystem::path folder) : folder_(std::move(folder)) {}
    std::filesystem::path folder_of(const std::string& database) const;
    void remove_if_empty(const std::string& database) const;
    void load_folder(const std::string& database, std::vector<KeptResult>& kept,
                     std::vector<std::string>& complaints) const;
    std::filesystem::path folder_;
};

}  // namespace bitsweep::agent
