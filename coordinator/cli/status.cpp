// `bitsweep status`: progress, workers, failures with their classes.
#include <chrono>
#include <cstdio>
#include <deque>
#include <iostream>
#include <thread>

#include "coordinator/cli/client.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/interrupt.h"
#include "coordinator/cli/options.h"
#include "coordinator/cli/progress.h"
#include "coordinator/cli/tables.h"
#include "schemas/codec.h"

namespace bitsweep {

namespace {

constexpr Duration answer_time{5'000};
// The experiments' table with every column, names of usual length and a few words of failures.
constexpr int whole_width = 140;
constexpr std::size_t first_idle = 6;  // its columns from here on are mostly 0 or empty

std::string joined(const std::map<std::string, std::int64_t>& counts) {
    std::string words;
    for (const auto& [name, count] : counts) {
        words += (words.empty() ? "" : ", ") + std::to_string(count) + " " + name;
    }
    return words;
}

Table experiments_table(const StatusReply& reply) {
    Table table;
    table.columns = {"experiment", "state",  "cells",     "done",     "running", "waiting",
                     "impossible", "failed", "cancelled", "failures", "retries", "left"};
    for (const ExperimentStatus& experiment : reply.experiments) {
        const Tally tally = tally_of(experiment);
        table.rows.push_back(
            {cell(experiment.experiment.value), cell(experiment.state), cell(tally.total),
             cell(tally.done), cell(tally.running), cell(tally.waiting), cell(tally.impossible),
             cell(tally.failed), cell(tally.cancelled), cell(joined(experiment.failures)),
             cell(joined(experiment.retries)),
             cell(experiment.eta_ms > 0 ? duration_words(experiment.eta_ms) : "")});
    }
    return table;
}

Table workers_table(const StatusReply& reply) {
    Table table;
    table.columns = {"worker", "host", "state", "devices", "running", "silent", "loads", "saved"};
    for (const WorkerStatus& worker : reply.workers) {
        std::string devices;
        for (const DeviceInfo& device : worker.devices) {
            devices += (devices.empty() ? "" : ", ") + device.id + " (" + device.name;
            const auto set_aside = device.facts.find("set_aside");
            devices += (set_aside == device.facts.end() ? "" : "; SET ASIDE: " + set_aside->second);
            devices += ")";
        }
        std::string running;
        for (const RunningJob& job : worker.running) {
            running += (running.empty() ? "" : ", ") + job.key.value.substr(0, 12);
        }
        table.rows.push_back({cell(worker.worker.value), cell(worker.host), cell(worker.state),
                              cell(devices), cell(running), cell(duration_words(worker.silent_ms)),
                              cell(worker.loads), cell(worker.loads_saved)});
    }
    return table;
}

// How many jobs end, as seen from here.
class Throughput {
 public:
    void note(const StatusReply& reply) {
        std::int64_t ended = 0;
        for (const ExperimentStatus& experiment : reply.experiments) {
            const Tally tally = tally_of(experiment);
            ended += tally.done + tally.failed;
        }
        const Clock::time_point now = Clock::now();
        seen_.push_back({now, ended});
        while (seen_.front().at < now - window) {
            seen_.pop_front();
        }
    }

    // "" before there is anything to tell.
    std::string words() const {
        const double seconds =
            std::chrono::duration<double>(seen_.back().at - seen_.front().at).count();
        const std::int64_t ended = seen_.back().ended - seen_.front().ended;
        if (seconds < 2 || ended <= 0) {
            return "";
        }
        char text[96];
        std::snprintf(text, sizeof text, "%.3g jobs a minute (%lld in the last %.0f s)",
                      static_cast<double>(ended) * 60 / seconds, static_cast<long long>(ended),
                      seconds);
        return text;
    }

 private:
    using Clock = std::chrono::steady_clock;
    static constexpr std::chrono::seconds window{60};
    struct Seen {
        Clock::time_point at;
        std::int64_t ended;
    };
    std::deque<Seen> seen_;
};

int print_status(const StatusReply& reply, const SharedOptions& shared) {
    if (shared.format == "json" || shared.format == "jsonl") {
        std::cout << to_json(Message(reply)) << "\n" << std::flush;
        return exit_done;
    }
    Table experiments = experiments_table(reply);
    if (is_terminal(1) && terminal_width() < whole_width) {
        drop_idle_columns(experiments, first_idle);
    }
    if (const int code = print_table(experiments, shared); code != exit_done) {
        return code;
    }
    std::cout << "\n";
    if (const int code = print_table(workers_table(reply), shared); code != exit_done) {
        return code;
    }
    for (const ExperimentStatus& experiment : reply.experiments) {
        for (const std::string& reason : experiment.reasons) {
            std::fprintf(stderr, "%s: %s\n", experiment.experiment.value.c_str(), reason.c_str());
        }
    }
    if (reply.state != "running") {
        std::fprintf(stderr, "coordinator %s\n", reply.state.c_str());
    }
    return exit_done;
}

Result<StatusReply> ask(Client& client, const std::string& experiment) {
    StatusReply reply =
        TRY(client.ask_for<StatusReply>(StatusRequest{ExperimentName{experiment}}, answer_time));
    if (!experiment.empty() && reply.experiments.empty()) {
        return make_error(ErrorCode::not_found, "the coordinator knows no experiment `" +
                                                    experiment + "`; `bitsweep status` lists them");
    }
    return reply;
}

// Through a restart of the coordinator too: its absence is shown, not the end of the watch.
Result<int> watch(Client& client, const std::string& experiment, const SharedOptions& shared) {
    interrupts();
    Throughput throughput;
    while (!interrupts().any) {
        const Result<StatusReply> reply = ask(client, experiment);
        if (!reply && reply.error().code != ErrorCode::unavailable) {
            return reply.error();
        }
        if (is_terminal(1)) {
            std::cout << "\033[H\033[2J";
        }
        if (reply) {
            throughput.note(*reply);
            const int code = print_status(*reply, shared);
            if (code != exit_done || !std::cout) {
                return code;  // nobody reads on; main() tells a full disk from a closed pipe
            }
            const std::string words = throughput.words();
            std::fprintf(stderr, "%s%s", words.c_str(), words.empty() ? "" : "\n");
        } else {
            std::fprintf(stderr, "%s; trying again\n", reply.error().message.c_str());
        }
        for (int i = 0; i < 10 && !interrupts().any; ++i) {
            std::this_thread::sleep_for(std::chrono::milliseconds(100));
        }
    }
    return int{exit_interrupted};
}

Result<int> show(const Parsed& parsed) {
    Client client = TRY(Client::attach(parsed.shared));
    const std::string experiment = parsed.get<std::string>("experiment");
    if (!parsed.has("watch")) {
        return print_status(TRY(ask(client, experiment)), parsed.shared);
    }
    return watch(client, experiment, parsed.shared);
}

}  // namespace

int command_status(const Arguments& arguments) {
    OptionSet options("status [EXPERIMENT] [--watch]",
                      "Progress, time left, workers, failures and repeated jobs with their "
                      "classes. As csv and\nmarkdown two tables, experiments and workers, with an "
                      "empty line between; json has both in one.");
    options.add()("watch", "again every second, until Ctrl-C");
    options.positional("experiment", 1);
    const Parsed parsed = options.parse(arguments);
    if (parsed.stop) {
        return *parsed.stop;
    }
    const Result<int> code = show(parsed);
    return code ? *code : report(code.error());
}

}  // namespace bitsweep
