// `bitsweep submit`: sends an experiment.
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "coordinator/cli/client.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/experiment_file.h"
#include "coordinator/cli/interrupt.h"
#include "coordinator/cli/options.h"
#include "coordinator/cli/progress.h"
#include "coordinator/cli/tables.h"

namespace bitsweep {

namespace {

namespace po = boost::program_options;

// A coordinator settles a million cells in seconds, and answers after the commit.
constexpr Duration submit_limit{120'000};

Result<ExperimentRequest> read_request(const Parsed& parsed) {
    ExperimentRequest request;
    if (!parsed.has("file")) {
        return make_error(ErrorCode::invalid_input, "write `bitsweep submit FILE`");
    }
    request.file = parsed.get<std::string>("file");
    request.overrides = TRY(parse_overrides(parsed.get<std::vector<std::string>>("set")));
    request.models = TRY(folders_of(parsed, "models"));
    request.force = parsed.has("force");
    request.retry_failed = parsed.has("retry-failed");
    if (parsed.has("priority")) {
        request.priority = parsed.get<int>("priority");
        if (std::abs(*request.priority) > most_priority) {
            return make_error(ErrorCode::invalid_input,
                              "--priority " + std::to_string(*request.priority) + ": from -" +
                                  std::to_string(most_priority) + " to " +
                                  std::to_string(most_priority));
        }
    }
    return request;
}

Table table_of(const Submitted& submitted) {
    Table table;
    table.columns = {"experiment", "cells", "new", "done", "running", "failed", "impossible"};
    table.rows.push_back({cell(submitted.experiment.value), cell(submitted.cells),
                          cell(submitted.new_cells), cell(submitted.done), cell(submitted.running),
                          cell(submitted.failed_before), cell(submitted.impossible)});
    return table;
}

// What was ordered before and a submission lifts: "small was paused: the lab is warm; ...". Empty
// where nothing was.
Result<std::string> lifted_order(Client& client, const ExperimentName& experiment) {
    const Result<StatusReply> reply =
        client.ask_for<StatusReply>(StatusRequest{experiment}, submit_limit);
    if (!reply) {  // a submission that is refused too has better words for it
        return reply.error().code == ErrorCode::refused ? Result<std::string>(std::string())
                                                        : Result<std::string>(reply.error());
    }
    const std::string state = reply->experiments.empty() ? "" : reply->experiments.front().state;
    if (!state.starts_with("paused") && !state.starts_with("stopped")) {
        return std::string();
    }
    return experiment.value + " was " + state + "; submitted again, it goes on (`bitsweep pause " +
           experiment.value + "` holds it)";
}

Result<int> submit(const Parsed& parsed) {
    PreparedExperiment prepared = TRY(prepare(TRY(read_request(parsed))));
    interrupts();
    Client client = TRY(Client::attach(parsed.shared));
    const std::size_t asked = prepared.submit.cells.size();
    const std::string lifted = TRY(lifted_order(client, prepared.submit.experiment));
    const Submitted submitted = TRY(client.submit(std::move(prepared.submit), submit_limit));
    print_table(table_of(submitted), parsed.shared);
    if (submitted.cells == 0) {
        std::fprintf(stderr, "%zu cells wait for the first worker of each kind of device\n", asked);
    }
    if (submitted.former > 0) {
        std::fprintf(stderr, "%s\n", former_words(submitted).c_str());
    }
    if (!lifted.empty()) {
        std::fprintf(stderr, "%s\n", lifted.c_str());
    }
    if (!parsed.has("wait")) {
        return int{exit_done};
    }
    WaitRules rules;
    rules.look = tell_what_fits_nowhere();
    const ExperimentStatus end = TRY(wait_for_end(client, submitted.experiment, rules));
    const Tally tally = tally_of(end);
    std::fprintf(stderr, "%s\n", progress_words(end).c_str());
    for (const auto& [outcome, count] : end.failures) {
        std::fprintf(stderr, "  %lld failed: %s\n", static_cast<long long>(count), outcome.c_str());
    }
    return int{tally.failed + tally.cancelled > 0 ? exit_some_failed : exit_done};
}

}  // namespace

int command_submit(const Arguments& arguments) {
    OptionSet options("submit FILE [--wait] [--force] [--retry-failed] [--set key=value]",
                      "Sends an experiment. Cells that are done are not done again. An experiment "
                      "that was\npaused, or stopped at its max_fails, goes on.");
    // clang-format off
    options.add()
        ("wait", "until every job has ended; exit code 1 when one failed")
        ("force", "run the cells again that are done")
        ("retry-failed", "run the cells again that failed")
        ("set", po::value<std::vector<std::string>>()->composing()->value_name("key=value"),
            "replaces a value of the file; may be given several times")
        ("priority", po::value<int>()->value_name("N"), "higher goes first (default 0)")
        ("models", po::value<std::vector<std::string>>()->composing()->value_name("DIR"),
            "folder with models, to know their digests");
    // clang-format on
    options.positional("file", 1);
    const Parsed parsed = options.parse(arguments);
    if (parsed.stop) {
        return *parsed.stop;
    }
    const Result<int> code = submit(parsed);
    return code ? *code : report(code.error());
}

}  // namespace bitsweep
