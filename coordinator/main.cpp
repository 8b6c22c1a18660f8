// The table of contents of `bitsweep`: one row and one file for each command.
#include <csignal>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "coordinator/cli/command.h"
#include "coordinator/cli/options.h"
#include "coordinator/cli/output_file.h"

namespace {

using bitsweep::Command;

constexpr Command commands[] = {
    {"run", "the whole thing on one machine: submit, measure, summarise", bitsweep::command_run},
    {"serve", "a coordinator", bitsweep::command_serve},
    {"worker", "attaches this machine to a coordinator", bitsweep::command_worker},
    {"launch", "starts workers here, over ssh, or as jobs of Slurm", bitsweep::command_launch},
    {"submit", "sends an experiment", bitsweep::command_submit},
    {"plan", "what would run, what not and why; nothing is sent", bitsweep::command_plan},
    {"diff", "which cells an edit of an experiment file changes", bitsweep::command_diff},
    {"explain", "why a job waits; which line makes a cell or leaves it out",
     bitsweep::command_explain},
    {"schema", "the JSON Schema of the experiment file", bitsweep::command_schema},
    {"status", "progress, workers, failures with their classes", bitsweep::command_status},
    {"logs", "how a job's attempts ended, what its runner printed", bitsweep::command_logs},
    {"dashboard", "the live page, and metrics for Prometheus", bitsweep::command_dashboard},
    {"pause", "hands out no further jobs of an experiment", bitsweep::command_pause},
    {"resume", "goes on with a paused experiment", bitsweep::command_resume},
    {"cancel", "ends an experiment; results stay", bitsweep::command_cancel},
    {"retry", "runs an experiment's failed jobs again", bitsweep::command_retry},
    {"drain", "lets a worker finish and leave", bitsweep::command_drain},
    {"clear", "says that a worker's devices are sound again", bitsweep::command_clear},
    {"query", "read-only SQL or a named view", bitsweep::command_query},
    {"report", "an experiment's summary as one HTML file", bitsweep::command_report},
    {"analyze", "the statistics: who is faster, from which size, why", bitsweep::command_analyze},
    {"import", "other tools' results beside ours", bitsweep::command_import},
    {"merge", "results of other databases into this one", bitsweep::command_merge},
    {"verify", "measures a random sample of cells again", bitsweep::command_verify},
    {"keys", "access files: new, list, revoke", bitsweep::command_keys},
    {"doctor", "what this machine has and lacks", bitsweep::command_doctor},
};

int print_help() {
    std::puts(
        "usage: bitsweep COMMAND [FLAGS]\n\nAt which bit width should this model run on this "
        "device?\n");
    for (const Command& command : commands) {
        std::printf("  %-9s %s\n", std::string(command.name).c_str(),
                    std::string(command.summary).c_str());
    }
    std::puts("\n`bitsweep COMMAND --help` lists its flags.");
    return bitsweep::exit_done;
}

int unknown_command(const std::string& name) {
    std::vector<std::string> names;
    for (const Command& command : commands) {
        names.emplace_back(command.name);
    }
    const std::string near = bitsweep::nearest(name, names);
    const std::string remedy =
        near.empty() ? "; `bitsweep --help` lists the commands" : "; did you mean `" + near + "`?";
    return bitsweep::report(
        {bitsweep::ErrorCode::invalid_input, "there is no command `" + name + "`" + remedy});
}

}  // namespace

int main(int count, char** words) {
    // A reader that closes the pipe early (`bitsweep query | head`) ends us through write errors.
    std::signal(SIGPIPE, SIG_IGN);
    if (count < 2) {
        print_help();
        return bitsweep::exit_bad_input;
    }
    const std::string name = words[1];
    if (name == "--help" || name == "-h" || name == "help") {
        return print_help();
    }
    if (name == "--version") {
        std::puts("bitsweep " BITSWEEP_VERSION);
        return bitsweep::exit_done;
    }
    for (const Command& command : commands) {
        if (command.name == name) {
            try {
                const int code = command.run(bitsweep::Arguments(words + 2, words + count));
                const bitsweep::Status printed = bitsweep::check_standard_output();
                return printed ? code : bitsweep::report(printed.error());
            } catch (const std::exception& escaped) {
                return bitsweep::report({bitsweep::ErrorCode::internal,
                                         "this is a bug: " + std::string(escaped.what())});
            }
        }
    }
    return unknown_command(name);
}
