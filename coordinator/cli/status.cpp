// `bitsweep status`: progress, workers, failures with their classes.
#include <chrono>
#include <cstdio>
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

std::string joined(const std::map<std::string, std::int64_t>& counts) {
    std::string words;
    for (const auto& [name, count] : counts) {
        words += (words.empty() ? "" : ", ") + std::to_string(count) + " " + name;
    }
    return words;
}

Table experiments_table(const StatusReply& reply) {
    Table table;
    table.columns = {"experiment", "cells",  "done",     "running", "waiting",
                     "impossible", "failed", "failures", "retries", "left"};
    for (const ExperimentStatus& experiment : reply.experiments) {
        const Tally tally = tally_of(experiment);
        table.rows.push_back(
            {cell(experiment.experiment.value), cell(tally.total), cell(tally.done),
             cell(tally.running), cell(tally.waiting), cell(tally.impossible), cell(tally.failed),
             cell(joined(experiment.failures)), cell(joined(experiment.retries)),
             cell(experiment.eta_ms > 0 ? duration_words(experiment.eta_ms) : "")});
    }
    return table;
}

Table workers_table(const StatusReply& reply) {
    Table table;
    table.columns = {"worker", "host", "state", "devices", "running", "silent"};
    for (const WorkerStatus& worker : reply.workers) {
        std::string devices;
        for (const DeviceInfo& device : worker.devices) {
            devices += (devices.empty() ? "" : ", ") + device.id + " (" + device.name + ")";
        }
        std::string running;
        for (const RunningJob& job : worker.running) {
            running += (running.empty() ? "" : ", ") + job.key.value.substr(0, 12);
        }
        table.rows.push_back({cell(worker.worker.value), cell(worker.host), cell(worker.state),
                              cell(devices), cell(running),
                              cell(duration_words(worker.silent_ms))});
    }
    return table;
}

int print_status(const StatusReply& reply, const SharedOptions& shared) {
    if (shared.format == "json" || shared.format == "jsonl") {
        std::cout << to_json(Message(reply)) << "\n" << std::flush;
        return exit_done;
    }
    if (const int code = print_table(experiments_table(reply), shared); code != exit_done) {
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

Result<int> show(const Parsed& parsed) {
    Client client = TRY(Client::connect(TRY(find_access(parsed.shared, "client"))));
    const std::string experiment = parsed.get<std::string>("experiment");
    if (!parsed.has("watch")) {
        return print_status(TRY(ask(client, experiment)), parsed.shared);
    }
    interrupts();
    while (!interrupts().any) {
        const StatusReply reply = TRY(ask(client, experiment));
        if (is_terminal(1)) {
            std::cout << "\033[H\033[2J";
        }
        print_status(reply, parsed.shared);
        std::this_thread::sleep_for(std::chrono::seconds(1));
    }
    return int{exit_interrupted};
}

}  // namespace

int command_status(const Arguments& arguments) {
    OptionSet options("status [EXPERIMENT] [--watch]",
                      "Progress, time left, workers, failures and repeated jobs with their "
                      "classes.");
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
