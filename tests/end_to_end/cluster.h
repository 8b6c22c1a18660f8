// A coordinator, workers and clients as processes of their own, with keys, in a folder that goes
// away. The runner is the fake one: its jobs take as long as a test needs.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "results/store/store.h"
#include "tests/cli/program.h"
#include "tests/temp_folder.h"

namespace bitsweep {

class Cluster : public testing::Test {
 protected:
    void SetUp() override;

    // The coordinator and its clients live on machine "hub", a worker on the machine of its name.
    // A killed coordinator leaves its port at once, so that a later one can take it again.
    void serve(const std::string& listen = "tcp://127.0.0.1:0");
    void kill_server();

    // How a command is started on one of the machines; as it stands where there is only this one.
    virtual Words on(const std::string& machine, const Words& words) const;

    // `connect`: another address than that of the access file, for a proxy between.
    std::unique_ptr<Program> worker(const std::string& name, const std::string& connect = "");
    std::unique_ptr<Program> start_worker(const std::string& name, const Words& more = {});

    // Writes NAME.yaml: jobs of `ms` milliseconds for 8 methods and `repeat` repeats.
    void write_experiment(const std::string& name, int ms, int repeat);
    // `bitsweep submit NAME.yaml --wait`, in the background.
    std::unique_ptr<Program> submit(const std::string& name);

    Table query(const std::string& sql);
    std::int64_t number(const std::string& sql);
    bool reaches(const std::string& sql, std::int64_t least, int seconds);

    // Job key and attempt of every result that counts.
    std::map<std::string, std::int64_t> done();
    // Every cell has exactly one result that counts, and the file is whole.
    void expect_each_cell_once(std::int64_t cells);

    static constexpr const char* done_count = "SELECT COUNT(*) FROM jobs WHERE state = 'done'";
    static constexpr const char* running_count =
        "SELECT COUNT(*) FROM jobs WHERE state = 'running'";

    TempFolder folder_;
    Environment environment_;
    std::optional<Program> server_;
    std::string url_;
};

// The children of a process, as /proc tells.
std::vector<pid_t> children_of(pid_t parent);

}  // namespace bitsweep
