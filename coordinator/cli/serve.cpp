// `bitsweep serve`: a coordinator.
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <optional>

#include "coordinator/cli/client.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/interrupt.h"
#include "coordinator/cli/live_page.h"
#include "coordinator/cli/options.h"
#include "coordinator/server/server.h"
#include "coordinator/transport/keys.h"

namespace bitsweep {

namespace {

namespace fs = std::filesystem;
namespace po = boost::program_options;

// The first start makes one access file for workers and one for people on this machine.
Status ensure_access(const fs::path& keys, const std::string& url) {
    if (TRY(list_access(keys)).empty()) {
        TRY(new_access(keys, "worker", Role::work, url));
        TRY(new_access(keys, "client", Role::submit, url));
    }
    return {};
}

void print_where(const fs::path& keys, const std::string& endpoint, const fs::path& db) {
    std::fprintf(stderr, "coordinator at %s, database %s\n", endpoint.c_str(), db.c_str());
    if (keys.empty()) {
        std::fputs("no keys: any process of this machine may connect\n", stderr);
        return;
    }
    std::fprintf(stderr,
                 "  workers: bitsweep worker --access %s\n"
                 "  clients: bitsweep submit FILE --access %s\n"
                 "  more of them: bitsweep keys new NAME --role work --keys %s\n",
                 (keys / "access" / "worker.json").c_str(),
                 (keys / "access" / "client.json").c_str(), keys.c_str());
}

// Every connection is a descriptor, a stranger's too, until its handshake fails.
void allow_many_connections() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 65'536);
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

// Where this machine reaches a coordinator that listens on every address.
std::string local_endpoint(std::string endpoint) {
    const std::string everywhere = "tcp://0.0.0.0:";
    if (endpoint.rfind(everywhere, 0) == 0) {
        endpoint.replace(0, everywhere.size(), "tcp://127.0.0.1:");
    }
    return endpoint;
}

// The live page asks as any client does, with a key of its own that may only read.
Result<std::unique_ptr<LivePage>> open_page(const ServerOptions& options, int port,
                                            const std::string& endpoint) {
    LivePageOptions page;
    page.db = options.db;
    page.port = port;
    page.access.coordinator = endpoint;
    if (!options.keys.empty()) {
        const fs::path file = options.keys / "access" / "live-page.json";
        std::error_code code;
        if (!fs::exists(file, code)) {
            TRY(new_access(options.keys, "live-page", Role::read, endpoint));
        }
        page.access = TRY(read_access(file));
        page.access.coordinator = endpoint;
    }
    return LivePage::start(page);
}

Status serve(const ServerOptions& options, std::optional<int> page_port) {
    allow_many_connections();
    std::unique_ptr<Server> server = TRY(Server::create(options));
    // Not before it listens: files for an address where nobody does mislead every later command.
    if (!options.keys.empty()) {
        TRY(ensure_access(options.keys, server->endpoint()));
        TRY(refresh_access(options.keys, server->endpoint()));
    }
    std::unique_ptr<LivePage> page;
    if (page_port) {
        page = TRY(open_page(options, *page_port, local_endpoint(server->endpoint())));
    }
    print_where(options.keys, server->endpoint(), options.db);
    if (page) {
        std::fprintf(stderr, "live page: %s (metrics at /metrics)\n", page->url().c_str());
    }
    TRY(server->run(interrupts().any));
    std::fputs("stopped; the database is complete\n", stderr);
    return {};
}

}  // namespace

int command_serve(const Arguments& arguments) {
    OptionSet options("serve [--listen URL] [--db F] [--keys DIR]",
                      "A coordinator: takes experiments, hands jobs to workers, stores every "
                      "result.\nStops on Ctrl-C and SIGTERM; a later start goes on where it was.");
    // clang-format off
    options.add()
        ("listen", po::value<std::string>()->value_name("URL"),
            "tcp://host:port (default tcp://127.0.0.1:7420); port 0: any free one")
        ("keys", po::value<std::string>()->value_name("DIR"), "folder of keys (default DB.keys)")
        ("no-keys", "no encryption and no check of peers; loopback only")
        ("lease", po::value<int>()->value_name("S"),
            "seconds that a job survives its worker's silence (default 10)")
        ("no-affinity", "jobs in their order, whatever weights a worker's runner still holds")
        ("http", po::value<int>()->value_name("PORT"),
            "the live page on 127.0.0.1, and metrics for Prometheus; 0: any free port");
    // clang-format on
    const Parsed parsed = options.parse(arguments);
    if (parsed.stop) {
        return *parsed.stop;
    }
    ServerOptions server;
    server.listen = parsed.get<std::string>("listen", std::string(default_listen));
    server.db = parsed.shared.db;
    if (!parsed.has("no-keys")) {
        server.keys = parsed.get<std::string>("keys", default_keys_folder(server.db).string());
    }
    if (parsed.has("no-affinity")) {
        server.affinity = scheduler::Affinity::none;
    }
    const int lease_s = parsed.get<int>("lease", 10);
    if (lease_s < 2 || lease_s > 86'400) {
        return report(make_error(ErrorCode::invalid_input,
                                 "--lease: between 2 and 86400 seconds, in which a worker speaks "
                                 "several times"));
    }
    server.lease = {lease_s * 1'000};
    const auto log = spdlog::stderr_logger_mt("serve");
    log->set_pattern("%Y-%m-%d %H:%M:%S %v");
    server.say = [log](const std::string& line) { log->info(line); };
    interrupts();
    std::optional<int> page_port;
    if (parsed.has("http")) {
        page_port = parsed.get<int>("http");
        if (*page_port < 0 || *page_port > 65'535) {
            return report(
                make_error(ErrorCode::invalid_input, "--http: a port between 0 and 65535"));
        }
    }
    if (const Status served = serve(server, page_port); !served) {
        return report(served.error());
    }
    return exit_done;
}

}  // namespace bitsweep
