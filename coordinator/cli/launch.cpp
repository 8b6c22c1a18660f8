// `bitsweep launch local|ssh|slurm`: starts workers here, over ssh, or as jobs of Slurm.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <thread>

#include "coordinator/cli/client.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/interrupt.h"
#include "coordinator/cli/options.h"
#include "coordinator/cli/time_words.h"
#include "coordinator/launchers/launcher.h"

namespace bitsweep {

namespace {

namespace fs = std::filesystem;
namespace po = boost::program_options;

constexpr int most_workers = 1'000;
constexpr std::chrono::seconds goodbye_time{15};

struct LaunchPlan {
    std::string launcher;
    std::vector<WorkerOrder> orders;
    bool dry_run = false;
};

Result<std::vector<std::string>> read_hosts(const Parsed& parsed, std::vector<std::string> hosts) {
    if (!parsed.has("hostfile")) {
        return hosts;
    }
    const std::string file = parsed.get<std::string>("hostfile");
    std::ifstream stream(file);
    if (!stream) {
        return make_error(ErrorCode::not_found, "cannot read the host file " + file);
    }
    int number = 0;
    for (std::string line; std::getline(stream, line);) {
        ++number;
        std::istringstream words(line.substr(0, line.find('#')));
        std::string host;
        std::string more;
        if (!(words >> host)) {
            continue;
        }
        if (words >> more) {
            return make_error(ErrorCode::invalid_input,
                              file + ":" + std::to_string(number) + ": `" + more + "` after `" +
                                  host + "`: one host a line, and nothing but its name");
        }
        hosts.push_back(host);
    }
    return hosts;
}

Result<BatchRequest> read_batch(const Parsed& parsed) {
    BatchRequest batch;
    if (parsed.has("time")) {
        const std::string text = parsed.get<std::string>("time");
        const Result<Duration> span = parse_until(text, {});
        if (!span || text.find(':') != std::string::npos) {
            return make_error(ErrorCode::invalid_input,
                              "--time " + text + ": a span such as 90m, 12h or 2d");
        }
        batch.time_limit = *span;
    }
    batch.partition = parsed.get<std::string>("partition");
    batch.gres = parsed.get<std::string>("gres");
    batch.options = parsed.get<std::vector<std::string>>("sbatch");
    return batch;
}

Status check_flags(const Parsed& parsed, const std::string& launcher) {
    for (const char* flag : {"time", "partition", "gres", "sbatch"}) {
        if (parsed.has(flag) && launcher != "slurm") {
            return make_error(ErrorCode::invalid_input,
                              "--" + std::string(flag) + " is for `bitsweep launch slurm`");
        }
    }
    if (parsed.has("count") && launcher == "ssh") {
        return make_error(ErrorCode::invalid_input,
                          "--count: over ssh one worker of each host serves all its devices");
    }
    return {};
}

// The access file of workers, found as `bitsweep worker` would find it.
Result<fs::path> access_file(const SharedOptions& shared) {
    std::error_code code;
    const fs::path file = shared.access.empty()
                              ? default_keys_folder(shared.db) / "access" / "worker.json"
                              : shared.access;
    const Access access = TRY(read_access(file));
    if (access.role != "work") {
        return make_error(ErrorCode::refused,
                          file.string() + " has the role `" + access.role +
                              "`; `bitsweep keys new NAME --role work` makes one for workers");
    }
    return fs::absolute(file, code);
}

bool names_address(const std::vector<std::string>& worker_flags) {
    return std::ranges::any_of(worker_flags, [](const std::string& flag) {
        return flag == "--connect" || flag.starts_with("--connect=");
    });
}

Result<LaunchPlan> read_plan(const Parsed& parsed, const std::vector<std::string>& worker_flags) {
    std::vector<std::string> words = parsed.get<std::vector<std::string>>("words");
    if (words.empty()) {
        return make_error(ErrorCode::invalid_input, "write `bitsweep launch local|ssh|slurm`");
    }
    LaunchPlan plan;
    plan.launcher = words.front();
    plan.dry_run = parsed.has("dry-run");
    TRY(make_launcher(plan.launcher));  // before anything else is asked of the machine
    TRY(check_flags(parsed, plan.launcher));
    words.erase(words.begin());
    const bool over_ssh = plan.launcher == "ssh";
    const std::vector<std::string> hosts = TRY(read_hosts(parsed, words));
    if (over_ssh == hosts.empty()) {
        return make_error(ErrorCode::invalid_input,
                          over_ssh ? "write `bitsweep launch ssh HOST...`, or give --hostfile F"
                                   : "`" + plan.launcher + "` takes no hosts");
    }
    const int count = over_ssh ? static_cast<int>(hosts.size()) : parsed.get<int>("count", 1);
    if (count < 1 || count > most_workers) {
        return make_error(ErrorCode::invalid_input,
                          "--count: between 1 and " + std::to_string(most_workers));
    }
    const fs::path access = TRY(access_file(parsed.shared));
    std::error_code code;
    WorkerOrder order;
    order.batch = TRY(read_batch(parsed));
    const fs::path self = fs::read_symlink("/proc/self/exe", code);
    order.program = parsed.get<std::string>("program", over_ssh ? "bitsweep" : self.string());
    order.arguments = worker_flags;
    // An address that was given goes before that of the access file, there as here.
    if (!parsed.shared.coordinator.empty() && !names_address(worker_flags)) {
        order.arguments.insert(order.arguments.begin(), {"--connect", parsed.shared.coordinator});
    }
    if (over_ssh) {
        std::ifstream stream(access, std::ios::binary);
        order.access.assign(std::istreambuf_iterator<char>(stream), {});
    } else {
        order.arguments.insert(order.arguments.begin(), {"--access", access.string()});
    }
    const fs::path logs = fs::absolute(parsed.get<std::string>("logs", "."), code);
    for (int i = 1; i <= count; ++i) {
        order.host = over_ssh ? hosts[static_cast<std::size_t>(i - 1)] : "";
        const std::string who = over_ssh ? order.host : std::to_string(i);
        order.log = logs / ("worker-" + who + ".log");
        plan.orders.push_back(order);
    }
    return plan;
}

std::string last_line(const fs::path& file) {
    std::ifstream stream(file);
    std::string last;
    for (std::string line; std::getline(stream, line);) {
        last = line.empty() ? last : line;
    }
    return last.empty() ? "it said nothing" : last;
}

using Launched = std::vector<std::pair<std::unique_ptr<LaunchedWorker>, fs::path>>;

// Until every worker has ended; Ctrl-C stops them in order.
int watch(Launched& workers) {
    int worst = exit_done;
    bool asked = false;
    auto give_up = std::chrono::steady_clock::time_point::max();
    while (!workers.empty() && std::chrono::steady_clock::now() < give_up) {
        if (interrupts().any && !asked) {
            asked = true;
            give_up = std::chrono::steady_clock::now() + goodbye_time;
            for (auto& [worker, log] : workers) {
                worker->ask_to_stop();
            }
        }
        std::erase_if(workers, [&](auto& entry) {
            const std::optional<int> status = entry.first->ended();
            if (status && *status != 0 && !asked) {
                std::fprintf(stderr, "%s ended with status %d: %s\n", entry.first->name().c_str(),
                             *status, last_line(entry.second).c_str());
                worst = std::max<int>(worst, exit_unavailable);
            }
            return status.has_value();
        });
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    workers.clear();  // ends the rest
    return asked ? int{exit_interrupted} : worst;
}

Result<int> launch(const Parsed& parsed, const std::vector<std::string>& worker_flags) {
    const LaunchPlan plan = TRY(read_plan(parsed, worker_flags));
    const std::unique_ptr<Launcher> launcher = TRY(make_launcher(plan.launcher));
    if (plan.dry_run) {
        for (const WorkerOrder& order : plan.orders) {
            const std::string text = TRY(launcher->describe(order));
            std::printf("%s%s", text.c_str(), text.back() == '\n' ? "" : "\n");
        }
        return int{exit_done};
    }
    interrupts();
    Launched workers;
    for (const WorkerOrder& order : plan.orders) {
        Result<std::unique_ptr<LaunchedWorker>> worker = launcher->start(order);
        if (!worker) {
            report(worker.error());
            continue;
        }
        std::printf("%s\n", (*worker)->name().c_str());
        std::fflush(stdout);
        workers.emplace_back(std::move(*worker), order.log);
    }
    const bool all = workers.size() == plan.orders.size();
    if (workers.empty()) {
        return int{exit_unavailable};
    }
    if (plan.launcher == "slurm") {
        for (auto& [worker, log] : workers) {
            worker->release();  // Slurm looks after it
        }
        std::fprintf(stderr, "`bitsweep status` shows them once they have started\n");
        return all ? int{exit_done} : int{exit_some_failed};
    }
    std::fprintf(stderr, "%zu workers started; Ctrl-C stops them\n", workers.size());
    const int code = watch(workers);
    return code == exit_done && !all ? int{exit_some_failed} : code;
}

}  // namespace

int command_launch(const Arguments& arguments) {
    OptionSet options("launch local|ssh|slurm [HOST...] [--dry-run] [-- FLAGS OF THE WORKERS]",
                      "Starts workers here, on machines that ssh reaches, or as jobs of Slurm.\n"
                      "What follows `--` are flags of `bitsweep worker` there.");
    // clang-format off
    options.add()
        ("dry-run", "prints what would be started: commands, or the job script")
        ("hostfile", po::value<std::string>()->value_name("F"), "ssh: more hosts, one a line")
        ("count", po::value<int>()->value_name("N"), "local, slurm: so many workers (default 1)")
        ("program", po::value<std::string>()->value_name("F"),
            "bitsweep on the machines of the workers (default: this one; over ssh: from PATH)")
        ("logs", po::value<std::string>()->value_name("DIR"),
            "folder of worker-N.log or worker-HOST.log (default: this folder)")
        ("time", po::value<std::string>()->value_name("SPAN"),
            "slurm: limit of each job, 90m, 12h; the worker takes only what ends in time")
        ("partition", po::value<std::string>()->value_name("NAME"), "slurm: where")
        ("gres", po::value<std::string>()->value_name("LIST"), "slurm: gpu:1, gpu:h100:2")
        ("sbatch", po::value<std::vector<std::string>>()->composing()->value_name("OPTION"),
            "slurm: one more option, --sbatch=--account=team; may be given several times");
    // clang-format on
    options.positional("words", -1);
    const auto dashes = std::find(arguments.begin(), arguments.end(), "--");
    const Parsed parsed = options.parse(Arguments(arguments.begin(), dashes));
    if (parsed.stop) {
        return *parsed.stop;
    }
    const Arguments worker_flags(dashes == arguments.end() ? dashes : dashes + 1, arguments.end());
    const Result<int> code = launch(parsed, worker_flags);
    return code ? *code : report(code.error());
}

}  // namespace bitsweep
