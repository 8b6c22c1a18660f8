// `bitsweep worker`: attaches this machine to a coordinator.
#include <sys/prctl.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>

#include "coordinator/cli/client.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/input_orders.h"
#include "coordinator/cli/interrupt.h"
#include "coordinator/cli/options.h"
#include "coordinator/cli/time_words.h"
#include "schemas/content.h"
#include "worker/agent/agent_loop.h"
#include "worker/agent/capabilities.h"

namespace bitsweep {

namespace {

namespace fs = std::filesystem;
namespace po = boost::program_options;

// libtorch takes seconds to load from a cold disk.
constexpr Duration capabilities_limit{120'000};
constexpr double most_memory_gib = 65'536;

void say(const std::string& line) {
    std::fprintf(stderr, "worker: %s\n", line.c_str());
}

std::string gib(std::uint64_t bytes) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f GiB",
                  static_cast<double>(bytes) / static_cast<double>(1u << 30));
    return text;
}

void print_found(const agent::WorkerSetup& setup, const agent::StateFolder& state) {
    say("bitsweep " BITSWEEP_VERSION ", runner " + setup.version + ", name " + state.name() +
        ", state " + state.path().string());
    for (const DeviceInfo& device : setup.devices) {
        say(device.id + ": " + device.name + ", " + gib(device.memory_bytes) + ", " +
            gib(device.free_bytes) + " free");
        std::string facts;
        for (const auto& [key, value] : device.facts) {
            facts += (facts.empty() ? "" : ", ") + key + " " + value;
        }
        if (!facts.empty()) {
            say("  " + facts);
        }
    }
    std::string names;
    for (const std::string& model : setup.models) {
        names += (names.empty() ? "" : ", ") + model;
    }
    say("models: " + (names.empty() ? "none found; give --models DIR" : names));
}

// Limits first: a mistake in them is told before anything is started.
Status read_limits(const Parsed& parsed, agent::WorkerSetup& setup) {
    using std::chrono::system_clock;
    if (parsed.has("until")) {
        const auto since_epoch = system_clock::now().time_since_epoch();
        const TimePoint now{
            std::chrono::duration_cast<std::chrono::milliseconds>(since_epoch).count()};
        setup.until = TRY(parse_until(parsed.get<std::string>("until"), now));
    }
    setup.clear = parsed.has("clear");
    const double memory_gib = parsed.get<double>("memory", 0);
    if (parsed.has("memory") && !(memory_gib >= 0.1 && memory_gib <= most_memory_gib)) {
        return make_error(ErrorCode::invalid_input, "--memory: GiB, between 0.1 and 65536");
    }
    setup.runners.memory = static_cast<std::uint64_t>(memory_gib * (1u << 30));
    setup.runners.threads = parsed.get<int>("threads", 0);
    if (parsed.has("threads") && (setup.runners.threads < 1 || setup.runners.threads > 4'096)) {
        return make_error(ErrorCode::invalid_input, "--threads: between 1 and 4096");
    }
    return {};
}

Result<agent::WorkerSetup> make_setup(const Parsed& parsed) {
    agent::WorkerSetup setup;
    TRY(read_limits(parsed, setup));
    SharedOptions shared = parsed.shared;
    shared.coordinator = parsed.get<std::string>("connect", shared.coordinator);
    setup.access = TRY(find_access(shared, "worker"));
    if (shared.coordinator.empty() && shared.access != "-") {
        setup.access_file = access_file_of(shared, "worker");
    }
    setup.runners.program = TRY(agent::find_runner(parsed.get<std::string>("runner")));
    setup.runners.models = TRY(folders_of(parsed, "models"));
    setup.runners.data = TRY(folders_of(parsed, "data"));
    setup.patience = {std::int64_t{1'000} * parsed.get<int>("patience", 60)};
    agent::Capabilities found = TRY(agent::ask_runner(setup.runners.program, setup.runners.models,
                                                      capabilities_limit, interrupts().any));
    setup.devices = TRY(
        agent::choose_devices(found.devices, {parsed.has("cpu"), parsed.get<std::string>("gpus")}));
    setup.version = found.version;
    setup.models = std::move(found.models);
    return setup;
}

Status attach(const Parsed& parsed) {
    static agent::StopFlags flags;  // signal handlers outlive this function
    also_set(flags.stop);
    interrupts();
    const std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
    agent::WorkerSetup setup = TRY(make_setup(parsed));
    std::optional<InputOrders> orders;
    if (parsed.has("orders-from-input")) {
        orders.emplace(flags);  // after the access file, which may come the same way
    }
    if (setup.until.ms > 0) {  // asking the runner took a part of it
        const auto spent = std::chrono::steady_clock::now() - start;
        const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(spent).count();
        setup.until.ms = std::max<std::int64_t>(1, setup.until.ms - ms);
    }
    const agent::StateFolder state = TRY(agent::StateFolder::take(parsed.get<std::string>("state"),
                                                                  parsed.get<std::string>("name")));
    print_found(setup, state);
    return agent::run_worker(setup, state, flags, say);
}

}  // namespace

int command_worker(const Arguments& arguments) {
    OptionSet options("worker [--connect URL] [--access F] [--gpus all|0,1] [--cpu]",
                      "Attaches this machine to a coordinator and runs its jobs, one at a time on "
                      "each device.\nCtrl-C gives a running job back and leaves.");
    // clang-format off
    options.add()
        ("connect", po::value<std::string>()->value_name("URL"),
            "the coordinator (default: as the access file says)")
        ("gpus", po::value<std::string>()->value_name("LIST"), "all, or indices such as 0,1")
        ("cpu", "offer the CPU (default only where there is no GPU)")
        ("models", po::value<std::vector<std::string>>()->composing()->value_name("DIR"),
            "folder with models; may be given several times")
        ("data", po::value<std::vector<std::string>>()->composing()->value_name("DIR"),
            "folder with texts; may be given several times")
        ("name", po::value<std::string>()->value_name("N"), "default: host name and a number")
        ("state", po::value<std::string>()->value_name("DIR"),
            "results and logs (default ~/.local/state/bitsweep/worker-NAME)")
        ("threads", po::value<int>()->value_name("N"), "CPU threads of a job (default: all cores)")
        ("until", po::value<std::string>()->value_name("TIME"),
            "finish what runs and leave: after 90s, 30m, 12h, at 18:30, at 2026-11-24T18:30; "
            "jobs that would take longer are not given")
        ("clear", "its devices are sound again: lifts what a GPU fault set aside")
        ("memory", po::value<double>()->value_name("GIB"),
            "a job that holds more host memory is ended (default: no limit)")
        ("runner", po::value<std::string>()->value_name("F"),
            "bitsweep-runner (BITSWEEP_RUNNER; default: beside this program)")
        ("patience", po::value<int>()->value_name("S"),
            "seconds to wait for a coordinator at the start (default 60)")
        ("orders-from-input", "obeys `drain` and `stop`, a word a line on standard input")
        ("end-with-parent", "end when the process that started it ends");
    // clang-format on
    const Parsed parsed = options.parse(arguments);
    if (parsed.stop) {
        return *parsed.stop;
    }
    if (parsed.has("end-with-parent")) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
    }
    const Status attached = attach(parsed);
    if (!attached) {
        return report(attached.error());
    }
    return interrupts().signal == SIGINT ? exit_interrupted : exit_done;
}

}  // namespace bitsweep
