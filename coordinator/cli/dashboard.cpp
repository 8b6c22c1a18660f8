// `bitsweep dashboard`: the live page of a coordinator, on this machine.
#include <chrono>
#include <cstdio>
#include <thread>

#include "coordinator/cli/client.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/interrupt.h"
#include "coordinator/cli/live_page.h"
#include "coordinator/cli/options.h"

namespace bitsweep {

namespace {

namespace po = boost::program_options;

constexpr int default_port = 7421;

Result<int> show(const Parsed& parsed) {
    LivePageOptions options;
    options.port = parsed.get<int>("port", default_port);
    if (options.port < 0 || options.port > 65'535) {
        return make_error(ErrorCode::invalid_input, "--port: between 0 and 65535");
    }
    options.access = TRY(find_access(parsed.shared, "client"));
    options.access_file = address_file_of(parsed.shared, "client");
    options.db = parsed.shared.db;
    TRY(Client::connect(options.access));  // a mistake is told here and not on the page
    interrupts();
    const std::unique_ptr<LivePage> page = TRY(LivePage::start(options));
    std::printf("%s\n", page->url().c_str());
    std::fflush(stdout);
    std::fputs("Ctrl-C ends it; metrics for Prometheus are at /metrics\n", stderr);
    while (!interrupts().any) {
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    return int{exit_done};
}

}  // namespace

int command_dashboard(const Arguments& arguments) {
    OptionSet options(
        "dashboard [--port N]",
        "The live page of a coordinator: progress, failures, workers and results so far. The "
        "results\nare read from the database: start it where the coordinator keeps that. "
        "Read-only, on\n127.0.0.1 only; reach it from elsewhere through ssh -L.");
    options.add()("port", po::value<int>()->value_name("N"), "default 7421; 0: any free one");
    const Parsed parsed = options.parse(arguments);
    if (parsed.stop) {
        return *parsed.stop;
    }
    const Result<int> code = show(parsed);
    return code ? *code : report(code.error());
}

}  // namespace bitsweep
