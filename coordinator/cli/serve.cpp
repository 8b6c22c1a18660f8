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
#include "coordinator/cli/own_address.h"
#include "coordinator/server/server.h"
#include "coordinator/transport/keys.h"

namespace bitsweep {

namespace {

namespace fs = std::filesystem;
namespace po = boost::program_options;

bool any_of_role(const std::vector<AuthorizedPeer>& peers, Role role) {
    return std::ranges::any_of(peers, [&](const auto& peer) { return peer.role == role; });
}

// Where nobody may work or submit yet, an access file for workers and one for people on this
// machine.
Status ensure_access(const fs::path& keys, const std::string& url) {
    const std::vector<AuthorizedPeer> peers = TRY(list_access(keys));
    if (!any_of_role(peers, Role::work)) {
        TRY(new_access(keys, "worker", Role::work, url));
    }
    if (!any_of_role(peers, Role::submit)) {
        TRY(new_access(keys, "client", Role::submit, url));
    }
    return {};
}

// The access file of that role that lies there, or how to make one: they are carried away.
void print_access(const fs::path& keys, Role role, const char* who, const char* command) {
    std::error_code code;
    const Result<std::vector<AuthorizedPeer>> peers = list_access(keys);
    for (const AuthorizedPeer& peer : peers ? *peers : std::vector<AuthorizedPeer>{}) {
        const fs::path file = keys / "access" / (peer.name + ".json");
        if (peer.role == role && fs::exists(file, code)) {
            std::fprintf(stderr, "  %s: %s --access %s\n", who, command, file.c_str());
            return;
        }
    }
    std::fprintf(stderr, "  %s: their access files were carried away\n", who);
}

void print_where(const ServerOptions& options, const std::string& endpoint,
                 const std::string& address) {
    std::fprintf(stderr, "coordinator at %s, database %s\n", endpoint.c_str(), options.db.c_str());
    if (options.keys.empty()) {
        std::fprintf(stderr,
                     "no keys: any process of this machine may connect, with --coordinator %s\n",
                     endpoint.c_str());
        return;
    }
    if (address != endpoint) {
        std::fprintf(stderr, "  others reach it at %s (--advertise HOST says otherwise)\n",
                     address.c_str());
    }
    print_access(options.keys, Role::work, "workers", "bitsweep worker");
    print_access(options.keys, Role::submit, "clients", "bitsweep submit FILE");
    std::fprintf(stderr, "  more of them: bitsweep keys new NAME --role work --keys %s\n",
                 options.keys.c_str());
}

// Every connection is a descriptor, a stranger's too, until its handshake fails.
void allow_many_connections() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 65'536);
        setrlimit(RLIMIT_NOFILE, &limit);
    }
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

Status serve(const ServerOptions& options, std::optional<int> page_port, const std::string& host) {
    allow_many_connections();
    std::unique_ptr<Server> server = TRY(Server::create(options));
    std::unique_ptr<LivePage> page;
    if (page_port) {
        page = TRY(open_page(options, *page_port, local_endpoint(server->endpoint())));
    }
    // Not before everything stands: files for an address where nobody listens mislead every later
    // command.
    const std::string address = advertised(server->endpoint(), host);
    if (!options.keys.empty()) {
        TRY(ensure_access(options.keys, address));
        TRY(refresh_access(options.keys, address));
    }
    print_where(options, server->endpoint(), address);
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
        ("advertise", po::value<std::string>()->value_name("HOST"),
            "how other machines reach this one, for the access files (default: the host of "
            "--listen; of 0.0.0.0 the address of the default route)")
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
    const std::string host = parsed.get<std::string>("advertise");
    if (host.find_first_of("/ ") != std::string::npos) {
        return report(make_error(ErrorCode::invalid_input,
                                 "--advertise " + host + ": a host's name or address alone"));
    }
    if (const Status served = serve(server, page_port, host); !served) {
        return report(served.error());
    }
    return exit_done;
}

}  // namespace bitsweep
