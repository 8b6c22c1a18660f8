// `bitsweep logs JOB`: how each attempt of a job ended, and what its runner printed.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>

#include "coordinator/cli/client.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/options.h"
#include "coordinator/cli/progress.h"
#include "results/store/store.h"
#include "worker/agent/outbox.h"

namespace bitsweep {

namespace {

namespace fs = std::filesystem;
namespace po = boost::program_options;

constexpr std::size_t shortest_prefix = 4;

struct Attempted {
    Attempt attempt;
    std::string outcome;
    std::string message;
    std::string evidence;
    std::string device;
    std::string worker;
    std::int64_t ms = 0;
};

Result<JobKey> find_job(Store& store, const std::string& prefix) {
    const bool hex = prefix.size() >= shortest_prefix && prefix.size() <= 64 &&
                     prefix.find_first_not_of("0123456789abcdef") == std::string::npos;
    if (!hex) {
        return make_error(ErrorCode::invalid_input,
                          "`" + prefix +
                              "` is no job: give its key or the first 4 or more characters of it, "
                              "as `bitsweep status` and `bitsweep query` show it");
    }
    const Table jobs =
        TRY(store.query("SELECT key FROM jobs WHERE key GLOB '" + prefix + "*' LIMIT 2"));
    if (jobs.rows.empty()) {
        return make_error(ErrorCode::not_found, "no job's key begins with " + prefix);
    }
    if (jobs.rows.size() > 1) {
        return make_error(ErrorCode::invalid_input,
                          "several jobs' keys begin with " + prefix + "; give more of it");
    }
    return JobKey{jobs.rows[0].at(0).text};
}

Result<std::vector<Attempted>> attempts_of(Store& store, const JobKey& key) {
    const Table runs = TRY(store.query(
        "SELECT r.attempt, r.outcome, r.message, r.evidence, r.device, r.worker,"
        " r.finished_unix_ms - r.started_unix_ms FROM runs r JOIN jobs j ON j.id = r.job "
        "WHERE j.key = '" +
        key.value + "' ORDER BY r.attempt"));
    std::vector<Attempted> attempts;
    for (const auto& row : runs.rows) {
        attempts.push_back({Attempt{static_cast<std::uint32_t>(row.at(0).integer)}, row.at(1).text,
                            row.at(2).text, row.at(3).text, row.at(4).text, row.at(5).text,
                            row.at(6).integer});
    }
    return attempts;
}

// State folders that may be the worker's: those that the user names, else those that workers of
// `bitsweep run` and of this user have by its name. A job has the same key in every database, so
// another worker's log of that name may be another run's.
std::vector<fs::path> log_folders(const Parsed& parsed, const std::string& worker) {
    std::vector<fs::path> folders;
    for (const std::string& folder : parsed.get<std::vector<std::string>>("state")) {
        folders.push_back(fs::path(folder) / "logs");
    }
    if (fs::path(worker).filename() != worker) {
        return folders;  // a peer's name is no path of ours
    }
    folders.push_back(run_folder(parsed.shared.db) / worker / "logs");
    const std::string own = "worker-" + worker;
    if (const char* state = std::getenv("XDG_STATE_HOME")) {
        folders.push_back(fs::path(state) / "bitsweep" / own / "logs");
    } else if (const char* home = std::getenv("HOME")) {
        folders.push_back(fs::path(home) / ".local/state/bitsweep" / own / "logs");
    }
    return folders;
}

bool print_log(const std::vector<fs::path>& folders, const JobKey& key, Attempt attempt) {
    for (const fs::path& folder : folders) {
        std::ifstream stream(folder / (agent::file_stem(key, attempt) + ".log"), std::ios::binary);
        if (stream && stream.peek() != std::ifstream::traits_type::eof()) {
            std::cout << stream.rdbuf() << std::flush;
            return true;
        }
    }
    return false;
}

Result<int> show(const Parsed& parsed) {
    const std::string prefix = parsed.get<std::string>("job");
    if (prefix.empty()) {
        return make_error(ErrorCode::invalid_input, "write `bitsweep logs JOB`");
    }
    if (std::error_code code; !fs::exists(parsed.shared.db, code)) {
        return make_error(ErrorCode::not_found,
                          parsed.shared.db.string() +
                              ": no such database; `bitsweep logs` reads the coordinator's, so run "
                              "it there or name that with --db; `bitsweep explain " +
                              prefix + "` asks the coordinator itself");
    }
    const auto store = TRY(Store::open(parsed.shared.db, OpenMode::read_only));
    const JobKey key = TRY(find_job(*store, prefix));
    const std::vector<Attempted> attempts = TRY(attempts_of(*store, key));
    std::fprintf(stderr, "job %s\n", key.value.c_str());
    if (attempts.empty()) {
        std::fprintf(stderr, "no attempt of it has ended yet; `bitsweep explain %s` says why\n",
                     prefix.c_str());
    }
    for (const Attempted& one : attempts) {
        std::fprintf(stderr, "attempt %u on %s of worker %s: %s after %s%s%s\n", one.attempt.value,
                     one.device.c_str(), one.worker.c_str(), one.outcome.c_str(),
                     duration_words(one.ms).c_str(), one.message.empty() ? "" : ": ",
                     one.message.c_str());
        if (print_log(log_folders(parsed, one.worker), key, one.attempt)) {
            continue;
        }
        if (!one.evidence.empty()) {
            std::printf("%s\n", one.evidence.c_str());
        }
        std::fprintf(stderr,
                     "its log, if it printed anything, is logs/%s.log in the state folder "
                     "of that worker\n",
                     agent::file_stem(key, one.attempt).c_str());
    }
    return int{exit_done};
}

}  // namespace

int command_logs(const Arguments& arguments) {
    OptionSet options("logs JOB [--db F] [--state DIR]...",
                      "How each attempt of a job ended and what its runner printed: from the "
                      "workers' logs where they\nare on this machine, else what the database keeps "
                      "as evidence. Reads the database\nitself: run it where the coordinator "
                      "keeps that.");
    options.add()("state", po::value<std::vector<std::string>>()->composing()->value_name("DIR"),
                  "state folder of a worker, looked at first; may be given several times");
    options.positional("job", 1);
    const Parsed parsed = options.parse(arguments);
    if (parsed.stop) {
        return *parsed.stop;
    }
    const Result<int> code = show(parsed);
    return code ? *code : report(code.error());
}

}  // namespace bitsweep
