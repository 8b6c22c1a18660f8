// `bitsweep run`: coordinator, workers, submit, progress and summary on one machine.
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <thread>

#include "coordinator/cli/client.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/experiment_file.h"
#include "coordinator/cli/interrupt.h"
#include "coordinator/cli/options.h"
#include "coordinator/cli/output_file.h"
#include "coordinator/cli/progress.h"
#include "coordinator/launchers/launcher.h"
#include "coordinator/server/server.h"
#include "coordinator/transport/keys.h"
#include "results/analysis/report.h"
#include "results/analysis/summary.h"
#include "results/store/store.h"

namespace bitsweep {

namespace {

namespace fs = std::filesystem;
namespace po = boost::program_options;

constexpr Duration submit_limit{120'000};
constexpr Duration goodbye_time{8'000};  // a worker's five seconds of grace for its job, and some
constexpr int most_workers = 64;

// The coordinator of this run, in a thread of its own.
class HostedCoordinator {
 public:
    static Result<std::unique_ptr<HostedCoordinator>> start(const ServerOptions& options) {
        std::unique_ptr<Server> server = TRY(Server::create(options));
        return std::unique_ptr<HostedCoordinator>(new HostedCoordinator(std::move(server)));
    }

    ~HostedCoordinator() { (void)stop(); }

    std::string endpoint() const { return server_->endpoint(); }

    Status stop() {
        stop_ = true;
        if (thread_.joinable()) {
            thread_.join();
        }
        return ended_;
    }

 private:
    explicit HostedCoordinator(std::unique_ptr<Server> server)
        : server_(std::move(server)), thread_([this] { ended_ = server_->run(stop_); }) {}

    std::unique_ptr<Server> server_;
    std::atomic<bool> stop_{false};
    Status ended_;  // read after join()
    std::thread thread_;
};

// The worker processes of this run.
class HostedWorkers {
 public:
    Status start(Launcher& launcher, const std::vector<WorkerOrder>& orders) {
        for (const WorkerOrder& order : orders) {
            workers_.push_back(TRY(launcher.start(order)));
            logs_.push_back(order.log);
        }
        return {};
    }

    // unavailable, with the last words of one, when none lives any more.
    Status check() {
        for (const auto& worker : workers_) {
            if (!worker->ended()) {
                return {};
            }
        }
        std::ifstream stream(logs_.front());
        std::string last;
        for (std::string line; std::getline(stream, line);) {
            last = line.empty() ? last : line;
        }
        return make_error(ErrorCode::unavailable,
                          "no worker lives any more (log " + logs_.front().string() + "): " + last);
    }

    void stop() {
        for (const auto& worker : workers_) {
            worker->ask_to_stop();
        }
        const auto end =
            std::chrono::steady_clock::now() + std::chrono::milliseconds(goodbye_time.ms);
        const auto alive = [](const auto& worker) { return !worker->ended(); };
        while (std::any_of(workers_.begin(), workers_.end(), alive) &&
               std::chrono::steady_clock::now() < end) {
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
        workers_.clear();  // ends the rest
    }

 private:
    std::vector<std::unique_ptr<LaunchedWorker>> workers_;
    std::vector<fs::path> logs_;
};

struct RunPlan {
    ExperimentRequest request;
    fs::path db;
    fs::path state;  // keys, outboxes and logs of this database's runs; private
    fs::path report;
    int workers = 0;  // 0: as many as make sense
    bool clear = false;
};

Result<RunPlan> read_plan(const Parsed& parsed) {
    RunPlan plan;
    if (!parsed.has("file")) {
        return make_error(ErrorCode::invalid_input, "write `bitsweep run FILE`");
    }
    plan.request.file = parsed.get<std::string>("file");
    plan.request.overrides = TRY(parse_overrides(parsed.get<std::vector<std::string>>("set")));
    std::error_code code;
    plan.request.models = TRY(folders_of(parsed, "models"));
    plan.request.force = parsed.has("force");
    plan.request.retry_failed = parsed.has("retry-failed");
    plan.clear = parsed.has("clear");
    const std::string workers = parsed.get<std::string>("workers", "auto");
    if (workers != "auto") {
        char* rest = nullptr;
        const long number = std::strtol(workers.c_str(), &rest, 10);
        plan.workers = static_cast<int>(std::clamp(number, 0L, most_workers + 1L));
        if (*rest != '\0' || plan.workers < 1 || plan.workers > most_workers) {
            return make_error(
                ErrorCode::invalid_input,
                "--workers " + workers + ": auto, or 1 to " + std::to_string(most_workers));
        }
    }
    plan.db = fs::absolute(parsed.shared.db, code);
    plan.state = run_folder(plan.db);
    plan.report = parsed.get<std::string>("report");
    if (!plan.report.empty()) {
        TRY(check_output("--report", plan.report));
        if (fs::weakly_canonical(fs::absolute(plan.report, code), code) ==
            fs::weakly_canonical(plan.db, code)) {
            return make_error(ErrorCode::invalid_input, "--report " + plan.report.string() +
                                                            ": is the database; give another name");
        }
    }
    return plan;
}

Result<Access> access_of(const fs::path& keys, const std::string& name, Role role,
                         const std::string& url) {
    std::error_code code;
    const fs::path file = keys / "access" / (name + ".json");
    if (!fs::exists(file, code)) {
        TRY(new_access(keys, name, role, url));
    }
    Access access = TRY(read_access(file));
    access.coordinator = url;
    return access;
}

// The CPU is measured where a cell names it, where somebody asks for several workers, and, by the
// worker's own rule, where there is no card. `gpu: {each: any}` alone means the cards: both at once
// would measure each other.
bool wants_cpu(const RunPlan& plan, const std::vector<Cell>& cells) {
    return plan.workers > 1 || std::any_of(cells.begin(), cells.end(),
                                           [](const Cell& cell) { return cell.spec.gpu == "cpu"; });
}

// One worker for everything by default: two jobs at a time would measure each other. Several share
// the cores, and only the first has the GPUs.
std::vector<WorkerOrder> orders_of(const RunPlan& plan, const std::string& url, bool cpu) {
    std::error_code code;
    const int count = std::max(plan.workers, 1);
    const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
    std::vector<WorkerOrder> orders;
    for (int i = 1; i <= count; ++i) {
        const std::string name = "worker-" + std::to_string(i);
        WorkerOrder order;
        order.program = fs::read_symlink("/proc/self/exe", code);
        order.log = plan.state / (name + ".log");
        order.arguments = {"--access",         (plan.state / "keys/access/worker.json").string(),
                           "--connect",        url,
                           "--state",          (plan.state / name).string(),
                           "--name",           name,
                           "--end-with-parent"};
        if (cpu) {
            order.arguments.push_back("--cpu");
        }
        if (cpu && i == 1) {
            order.arguments.insert(order.arguments.end(), {"--gpus", "all"});
        }
        if (plan.clear) {
            order.arguments.push_back("--clear");
        }
        if (count > 1) {
            order.arguments.insert(order.arguments.end(),
                                   {"--threads", std::to_string(std::max(1, cores / count))});
        }
        for (const fs::path& folder : plan.request.models) {
            order.arguments.insert(order.arguments.end(), {"--models", folder.string()});
        }
        orders.push_back(std::move(order));
    }
    return orders;
}

void print_submitted(const Submitted& submitted, std::size_t asked) {
    if (submitted.former > 0) {
        std::fprintf(stderr, "%s\n", former_words(submitted).c_str());
    }
    if (submitted.cells == 0) {
        std::fprintf(stderr, "%s: %zu cells for each kind of device\n",
                     submitted.experiment.value.c_str(), asked);
        return;
    }
    const std::string failed = submitted.failed_before == 0
                                   ? ""
                                   : ", " + std::to_string(submitted.failed_before) +
                                         " failed before (`--retry-failed` runs them again)";
    // Cancelled ones run too, and done or failed ones where that was asked for.
    std::fprintf(stderr, "%s: %lld cells, %lld to run, %lld done before%s\n",
                 submitted.experiment.value.c_str(), static_cast<long long>(submitted.cells),
                 static_cast<long long>(submitted.new_cells),
                 static_cast<long long>(submitted.done), failed.c_str());
}

// Jobs that none of this run's workers can ever take would be waited for in vain.
Status give_up_on_impossible(const StatusReply& reply, const Tally& tally, std::size_t workers) {
    if (tally.running + tally.waiting > 0 || reply.workers.size() < workers) {
        return {};
    }
    std::string reasons;
    for (const std::string& reason : reply.experiments.front().reasons) {
        reasons += "\n  " + reason;
    }
    return make_error(ErrorCode::unsupported, std::to_string(tally.impossible) +
                                                  " jobs fit nothing on this machine:" + reasons);
}

Status work(const RunPlan& plan, Client& client, const ExperimentName& experiment,
            const std::string& url, bool cpu) {
    const StatusReply before =
        TRY(client.ask_for<StatusReply>(StatusRequest{experiment}, submit_limit));
    if (!before.experiments.empty() && tally_of(before.experiments.front()).finished()) {
        return {};
    }
    const std::unique_ptr<Launcher> launcher = TRY(make_launcher("local"));
    HostedWorkers workers;
    const std::vector<WorkerOrder> orders = orders_of(plan, url, cpu);
    TRY(workers.start(*launcher, orders));
    WaitRules rules;
    rules.look = [&](const StatusReply& reply, const Tally& tally) -> Status {
        TRY(give_up_on_impossible(reply, tally, orders.size()));
        return workers.check();
    };
    const Result<ExperimentStatus> end = wait_for_end(client, experiment, rules);
    workers.stop();
    return end ? Status() : Status(end.error());
}

// What was measured, also when not everything was.
Result<int> summarise(const RunPlan& plan, const Parsed& parsed, const ExperimentName& experiment) {
    const std::unique_ptr<Store> store = TRY(Store::open(plan.db, OpenMode::read_only));
    const Summary summary = TRY(summarize(*store, experiment));
    std::cout << to_text(summary, terminal_width(), wants_color(1)) << std::flush;
    if (!plan.report.empty()) {
        TRY(write_output("--report", plan.report, to_html(TRY(make_report(*store, experiment)))));
        std::fprintf(stderr, "report: %s\n", plan.report.c_str());
    }
    std::fprintf(stderr, "database: %s\n", parsed.shared.db.c_str());
    return int{summary.failures.empty() ? exit_done : exit_some_failed};
}

Result<int> run(const Parsed& parsed) {
    RunPlan plan = TRY(read_plan(parsed));
    PreparedExperiment prepared = TRY(prepare(plan.request));
    const auto models = TRY(model_paths(prepared.submit.cells));
    TRY(texts_are_here(prepared.submit.cells));
    interrupts();
    plan.request.models.push_back(plan.state / "models");
    const fs::path keys = plan.state / "keys";
    ServerOptions options;
    options.db = plan.db;
    options.keys = keys;
    const std::unique_ptr<HostedCoordinator> coordinator = TRY(HostedCoordinator::start(options));
    TRY(link_models(models, plan.request.models.back()));  // the database is this run's now
    const std::string url = coordinator->endpoint();
    TRY(access_of(keys, "worker", Role::work, url));
    Client client = TRY(Client::connect(TRY(access_of(keys, "client", Role::submit, url))));
    TRY(refresh_access(keys, url));  // for `bitsweep status` and others meanwhile
    const std::size_t asked = prepared.submit.cells.size();
    const bool on_cpu = wants_cpu(plan, prepared.submit.cells);
    const Submitted submitted = TRY(client.submit(std::move(prepared.submit), submit_limit));
    print_submitted(submitted, asked);
    const Status worked = work(plan, client, submitted.experiment, url, on_cpu);
    TRY(coordinator->stop());
    if (!worked && worked.error().code == ErrorCode::interrupted) {
        return make_error(ErrorCode::interrupted,
                          "interrupted; what is done is kept, the same command goes on");
    }
    const int code = TRY(summarise(plan, parsed, submitted.experiment));
    if (!worked) {
        report(worked.error());
        return int{worked.error().code == ErrorCode::unsupported ? exit_some_failed
                                                                 : exit_code(worked.error().code)};
    }
    return code;
}

}  // namespace

int command_run(const Arguments& arguments) {
    OptionSet options("run FILE [--db F] [--workers auto|N] [--report F] [--force]",
                      "The whole thing on one machine: coordinator, workers, submit, progress, "
                      "summary.\nCtrl-C leaves a database that the next run continues.");
    // clang-format off
    options.add()
        ("workers", po::value<std::string>()->value_name("N"),
            "auto (one, so that jobs do not measure each other), or a number")
        ("report", po::value<std::string>()->value_name("F"), "writes the summary as one HTML file")
        ("force", "run the cells again that are done")
        ("retry-failed", "run the cells again that failed")
        ("clear", "this machine's devices are sound again: lifts what a GPU fault set aside")
        ("set", po::value<std::vector<std::string>>()->composing()->value_name("key=value"),
            "replaces a value of the file; may be given several times")
        ("models", po::value<std::vector<std::string>>()->composing()->value_name("DIR"),
            "folder with models; may be given several times");
    // clang-format on
    options.positional("file", 1);
    const Parsed parsed = options.parse(arguments);
    if (parsed.stop) {
        return *parsed.stop;
    }
    const Result<int> code = run(parsed);
    return code ? *code : report(code.error());
}

}  // namespace bitsweep
