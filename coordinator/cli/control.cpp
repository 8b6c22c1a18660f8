// `bitsweep pause|resume|cancel|retry EXPERIMENT`, `bitsweep drain|clear WORKER`: what a person
// orders, one request and its answer.
#include <cstdio>

#include "coordinator/cli/client.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/options.h"
#include "coordinator/cli/tables.h"

namespace bitsweep {

namespace {

namespace po = boost::program_options;

// The answer comes after the commit; an experiment of a million cells is cancelled in seconds.
constexpr Duration control_limit{60'000};
constexpr std::size_t longest_reason = 500;

struct Order {
    ControlAction action;
    const char* target;  // as the usage names it
    const char* about;
};

Result<int> send(const Order& order, const Parsed& parsed) {
    const std::string verb(to_string(order.action));
    Control control;
    control.action = order.action;
    control.target = parsed.get<std::string>("target");
    control.device = parsed.get<std::string>("device");
    control.reason = parsed.get<std::string>("reason");
    if (control.target.empty()) {
        return make_error(ErrorCode::invalid_input, "write `bitsweep " + verb + " " + order.target +
                                                        "`; `bitsweep status` lists them");
    }
    if (control.reason.size() > longest_reason) {
        return make_error(ErrorCode::invalid_input,
                          "--reason: up to " + std::to_string(longest_reason) + " characters");
    }
    Client client = TRY(Client::connect(TRY(find_access(parsed.shared, "client"))));
    const Controlled done = TRY(client.ask_for<Controlled>(control, control_limit));
    Table table;
    table.columns = {"order", "target", "jobs"};
    table.rows.push_back({cell(verb), cell(control.target), cell(done.jobs)});
    const int code = print_table(table, parsed.shared);
    std::fprintf(stderr, "%s\n", done.words.c_str());
    return code;
}

int obey(const Order& order, const Arguments& arguments) {
    const std::string verb(to_string(order.action));
    OptionSet options(verb + " " + order.target + " [--reason TEXT]", order.about);
    options.add()("reason", po::value<std::string>()->value_name("TEXT"),
                  "kept in the event log and with what it ends");
    if (order.action == ControlAction::clear) {
        options.add()("device", po::value<std::string>()->value_name("ID"),
                      "only this device of the worker, such as cuda:0");
    }
    options.positional("target", 1);
    const Parsed parsed = options.parse(arguments);
    if (parsed.stop) {
        return *parsed.stop;
    }
    const Result<int> code = send(order, parsed);
    return code ? *code : report(code.error());
}

}  // namespace

int command_pause(const Arguments& arguments) {
    return obey({ControlAction::pause, "EXPERIMENT",
                 "Hands out no further jobs of the experiment. What runs goes on. `bitsweep "
                 "resume` and\nsubmitting the experiment again lift it."},
                arguments);
}

int command_resume(const Arguments& arguments) {
    return obey({ControlAction::resume, "EXPERIMENT",
                 "Goes on with an experiment that was paused, or stopped at its max_fails."},
                arguments);
}

int command_cancel(const Arguments& arguments) {
    return obey({ControlAction::cancel, "EXPERIMENT",
                 "Ends the experiment's jobs that are not done. Running ones are told to stop, "
                 "then killed.\nJobs that another experiment wants too go on. Results stay."},
                arguments);
}

int command_retry(const Arguments& arguments) {
    return obey({ControlAction::retry, "EXPERIMENT",
                 "Runs the experiment's failed and cancelled jobs again, with fresh budgets."},
                arguments);
}

int command_drain(const Arguments& arguments) {
    return obey({ControlAction::drain, "WORKER",
                 "The worker finishes what it runs, delivers it and leaves."},
                arguments);
}

int command_clear(const Arguments& arguments) {
    return obey({ControlAction::clear, "WORKER",
                 "Says that the worker's devices are sound again after a GPU fault.\nThe same as "
                 "starting it with `bitsweep worker --clear`."},
                arguments);
}

}  // namespace bitsweep
