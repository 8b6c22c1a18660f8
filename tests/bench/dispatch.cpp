// How fast the coordinator hands out jobs and takes results: real processes, ZeroMQ with CURVE,
// SQLite with synchronous=FULL, the real session machine of the worker with a runner that ends at
// once. What the runner would do and the worker's outbox on disk are left out: this is the cost of
// the orchestration alone.
//
//   bench_dispatch [--jobs N,N,...] [--workers W] [--window K] [--idle SECONDS] [--only PART]
//   [--json]
//
// --window: devices of each worker, so many jobs are on their way to it at once.
// --only: jobs, trip (one job at a time) or idle (workers that only speak).
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "coordinator/server/server.h"
#include "coordinator/transport/keys.h"
#include "tests/bench/processes.h"
#include "worker/agent/agent.h"
#include "worker/agent/dealer.h"

namespace bitsweep {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int cells_per_submission = 100'000;  // one message of 2 MiB

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

TimePoint now() {
    return {std::chrono::duration_cast<std::chrono::milliseconds>(
                std::chrono::system_clock::now().time_since_epoch())
                .count()};
}

template <class T>
T must(Result<T> result, const char* what) {
    if (!result) {
        std::fprintf(stderr, "bench_dispatch: %s: %s\n", what, result.error().message.c_str());
        std::exit(2);
    }
    return std::move(result).value();
}

// ---- this program in its three other roles

std::atomic<bool> stop_asked{false};

int be_coordinator(const fs::path& db, const fs::path& keys) {
    signal(SIGTERM, [](int) { stop_asked = true; });
    ServerOptions options;
    options.db = db;
    options.keys = keys;
    const auto start = Clock::now();
    std::unique_ptr<Server> server = must(Server::create(options), "coordinator");
    std::printf("%s %.6f\n", server->endpoint().c_str(), seconds_since(start));
    std::fflush(stdout);
    return server->run(stop_asked).ok() ? 0 : 1;
}

Hello hello_of(const std::string& name, int devices) {
    Hello hello;
    hello.worker = WorkerName{name};
    hello.session = SessionId{name + "-" + std::to_string(getpid())};
    hello.host = "bench";
    hello.models = {"m"};
    for (int i = 0; i < devices; ++i) {
        DeviceInfo device;
        device.id = "cpu:" + std::to_string(i);
        device.kind = device.name = "cpu";
        hello.devices.push_back(device);
    }
    return hello;
}

RunResult result_of(const Dispatch& job) {
    RunResult result;
    result.key = job.key;
    result.attempt = job.attempt;
    result.started_unix_ms = result.finished_unix_ms = now().unix_ms;
    result.measurements = {{"decode_tokens_per_s", "token/s", 0, 12.5},
                           {"perplexity", "1", 0, 17.25}};
    return result;
}

agent::Options options_of(const std::string& name, int devices) {
    agent::Options options;
    options.self = hello_of(name, devices);
    return options;
}

// Prints how many of its results were acknowledged, every 20 ms; with one device also the times
// between a result and the next job.
class NoopWorker {
 public:
    NoopWorker(const fs::path& access, const std::string& name, int devices)
        : dealer_(must(Dealer::connect(must(read_access(access), "access")), "connect")),
          machine_(options_of(name, devices), now()),
          one_at_a_time_(devices == 1) {}

    int run() {
        auto reported = Clock::now();
        std::uint64_t handshakes = 0;
        while (getppid() != 1) {
            if (dealer_->link().handshakes != handshakes) {
                handshakes = dealer_->link().handshakes;
                feed(agent::LinkUp{});
            }
            take(must(dealer_->receive(Duration{10}), "receive"));
            while (auto next = must(dealer_->receive(Duration{0}), "receive")) {
                take(std::move(next));
            }
            if (machine_.next_wake() <= now()) {
                feed(agent::Tick{});
            }
            (void)dealer_->send_all(said_);  // lost, it comes again by itself
            said_.clear();
            if (seconds_since(reported) > 0.02) {
                report();
                reported = Clock::now();
            }
        }
        return 0;
    }

 private:
    void take(std::optional<Message> message) {
        if (!message) {
            return;
        }
        if (one_at_a_time_ && std::holds_alternative<Dispatch>(*message) &&
            sent_ != Clock::time_point{}) {
            waits_us_.push_back(seconds_since(sent_) * 1e6);
        }
        acknowledged_ += std::holds_alternative<ResultAck>(*message) ? 1 : 0;
        feed(agent::Received{std::move(*message)});
    }

    void feed(agent::Event event) {
        for (agent::Command& command : machine_.step(now(), std::move(event))) {
            if (auto* send = std::get_if<agent::Send>(&command)) {
                if (std::holds_alternative<ResultDelivery>(send->message)) {
                    sent_ = Clock::now();
                }
                said_.push_back(std::move(send->message));
            } else if (auto* start = std::get_if<agent::StartJob>(&command)) {
                ended_.push_back(result_of(start->dispatch));
            }
        }
        while (!ended_.empty()) {
            RunResult result = std::move(ended_.front());
            ended_.pop_front();
            feed(agent::JobEnded{std::move(result)});
        }
    }

    void report() {
        std::printf("%lld", static_cast<long long>(acknowledged_));
        if (!waits_us_.empty()) {
            std::vector<double> sorted = waits_us_;
            std::sort(sorted.begin(), sorted.end());
            std::printf(" %.0f %.0f", sorted[sorted.size() / 2], sorted[sorted.size() * 99 / 100]);
        }
        std::printf("\n");
        std::fflush(stdout);
    }

    std::unique_ptr<Dealer> dealer_;
    agent::Machine machine_;
    bool one_at_a_time_;
    std::vector<Message> said_;
    std::deque<RunResult> ended_;
    std::vector<double> waits_us_;
    Clock::time_point sent_{};
    std::int64_t acknowledged_ = 0;
};

// `count` sessions that only speak once a second, over up to 50 connections: a thousand would
// measure the threads of this process.
int be_crowd(const fs::path& access, int count) {
    std::vector<std::unique_ptr<Dealer>> dealers;
    for (int i = 0; i < std::min(count, 50); ++i) {
        dealers.push_back(must(Dealer::connect(must(read_access(access), "access")), "connect"));
    }
    const auto dealer_of = [&](int i) -> Dealer& {
        return *dealers[static_cast<std::size_t>(i) % dealers.size()];
    };
    for (int i = 0; i < count; ++i) {
        Hello hello = hello_of("crowd" + std::to_string(i), 1);
        hello.session = SessionId{"crowd-" + std::to_string(i)};
        hello.models = {"nothing-of-the-bench"};
        (void)dealer_of(i).send(hello);
    }
    for (int i = 0; getppid() != 1; i = (i + 1) % count) {
        (void)dealer_of(i).send(Heartbeat{SessionId{"crowd-" + std::to_string(i)}, {}, {}});
        const auto next = Clock::now() + std::chrono::microseconds(1'000'000 / count);
        while (must(dealer_of(i).receive(Duration{0}), "receive")) {
        }
        std::this_thread::sleep_until(next);
    }
    return 0;
}

// ---- the world of one measurement

class World {
 public:
    World() {
        char name[] = "/var/tmp/bitsweep-bench-XXXXXX";
        if (mkdtemp(name) == nullptr) {
            std::exit(2);
        }
        folder_ = name;
        (void)must(new_keys(), "keys");
    }
    ~World() {
        for (Process& worker : workers_) {
            worker.end(SIGKILL);
        }
        coordinator_.end(SIGKILL);
        fs::remove_all(folder_);
    }

    // Seconds from the start of the process until it listens.
    double start_coordinator() {
        const auto began = Clock::now();
        coordinator_ = start({"--coordinator", folder_ / "bench.db", folder_ / "keys"});
        std::string line;
        while ((line = coordinator_.last_line()).empty()) {
            std::this_thread::sleep_for(std::chrono::microseconds(200));
        }
        const double seconds = seconds_since(began);
        endpoint_ = line.substr(0, line.find(' '));
        for (const char* peer : {"worker", "client"}) {
            const fs::path file = folder_ / "keys/access" / (std::string(peer) + ".json");
            if (!fs::exists(file)) {
                (void)must(new_access(folder_ / "keys", peer,
                                      *peer == 'w' ? Role::work : Role::submit, endpoint_),
                           "access");
            }
        }
        (void)must(refreshed(), "access");
        return seconds;
    }
    void kill_coordinator() { coordinator_.end(SIGKILL); }

    struct SubmitCost {
        double s = 0;  // until everything was acknowledged
        double client_cpu_s = 0;
        double coordinator_cpu_s = 0;
    };
    SubmitCost submit(int jobs) {
        auto dealer =
            must(Dealer::connect(must(read_access(folder_ / "keys/access/client.json"), "access")),
                 "connect");
        const double client = cpu_seconds(getpid());
        const double coordinator = cpu_seconds(coordinator_.pid);
        const auto began = Clock::now();
        for (int from = 0; from < jobs; from += cells_per_submission) {
            Submit submit;
            submit.experiment = ExperimentName{"bench" + std::to_string(from)};
            submit.yaml = "experiment: bench";
            for (int i = from; i < std::min(jobs, from + cells_per_submission); ++i) {
                Cell cell;
                cell.spec.model.name = "m";
                cell.spec.method = "fp16";
                cell.spec.seed = static_cast<std::uint64_t>(i);
                submit.cells.push_back(std::move(cell));
            }
            if (Status sent = dealer->send(std::move(submit)); !sent) {
                std::fprintf(stderr, "bench_dispatch: %s\n", sent.error().message.c_str());
                std::exit(2);
            }
            for (;;) {
                auto answer = must(dealer->receive(Duration{60'000}), "answer");
                if (answer && std::holds_alternative<Submitted>(*answer)) {
                    break;
                }
                if (!answer || std::holds_alternative<Refusal>(*answer)) {
                    std::fprintf(stderr, "bench_dispatch: the submission failed: %s\n",
                                 answer ? std::get<Refusal>(*answer).reason.c_str() : "silence");
                    std::exit(2);
                }
            }
        }
        return {seconds_since(began), cpu_seconds(getpid()) - client,
                cpu_seconds(coordinator_.pid) - coordinator};
    }

    void start_workers(int count, int window) {
        for (int i = 0; i < count; ++i) {
            workers_.push_back(start({"--noop", folder_ / "keys/access/worker.json",
                                      "w" + std::to_string(i), std::to_string(window)}));
        }
    }
    void start_crowd(int count) {
        workers_.push_back(
            start({"--crowd", folder_ / "keys/access/worker.json", std::to_string(count)}));
    }
    void stop_workers() {
        for (Process& worker : workers_) {
            worker.end(SIGKILL);
        }
        workers_.clear();
    }

    std::int64_t acknowledged() {
        std::int64_t sum = 0;
        for (Process& worker : workers_) {
            const std::string line = worker.last_line();
            sum += line.empty() ? 0 : std::stoll(line);
        }
        return sum;
    }
    std::string line_of_first_worker() { return workers_.front().last_line(); }
    pid_t coordinator() const { return coordinator_.pid; }
    double workers_cpu_seconds() const {
        double sum = 0;
        for (const Process& worker : workers_) {
            sum += cpu_seconds(worker.pid);
        }
        return sum;
    }

    // Waits until so many results were acknowledged; gives up after a minute without progress.
    bool wait_for(std::int64_t results) {
        std::int64_t before = -1;
        auto progress = Clock::now();
        while (before < results) {
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
            const std::int64_t sum = acknowledged();
            if (sum != before) {
                before = sum;
                progress = Clock::now();
            } else if (seconds_since(progress) > 60) {
                std::fprintf(stderr, "bench_dispatch: stuck at %lld of %lld\n",
                             static_cast<long long>(sum), static_cast<long long>(results));
                return false;
            }
        }
        return true;
    }

 private:
    Result<int> new_keys() {
        TRY(ensure_server_keys(folder_ / "keys"));
        return 0;
    }
    Result<int> refreshed() {
        TRY(refresh_access(folder_ / "keys", endpoint_));
        return 0;
    }

    fs::path folder_;
    std::string endpoint_;
    Process coordinator_;
    std::vector<Process> workers_;
};

// ---- the measurements

struct Settings {
    std::vector<int> jobs = {10'000, 100'000};
    int workers = 4;
    int window = 16;
    int idle_s = 5;
    std::string only;
    bool json = false;

    bool wants(const char* part) const { return only.empty() || only == part; }
};

std::string figures;  // of the last line

void figure(const std::string& name, double value) {
    char text[128];
    std::snprintf(text, sizeof text, "%s\"%s\": %.6g", figures.empty() ? "" : ", ", name.c_str(),
                  value);
    figures += text;
}

void measure_throughput(const Settings& settings, int jobs) {
    World world;
    world.start_coordinator();
    const World::SubmitCost submit = world.submit(jobs);
    // The answer leaves before the memory is given back.
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    const double rss = rss_mib(world.coordinator());
    world.kill_coordinator();
    const double listen_s = world.start_coordinator();
    const auto began = Clock::now();
    const double cpu = cpu_seconds(world.coordinator());
    world.start_workers(settings.workers, settings.window);
    if (!world.wait_for(1)) {
        std::exit(1);
    }
    const double first_s = seconds_since(began);
    const double restarted_rss = rss_mib(world.coordinator());
    const auto first = Clock::now();
    const std::int64_t before = world.acknowledged();
    if (!world.wait_for(jobs)) {
        std::exit(1);
    }
    const double rate = static_cast<double>(jobs - before) / seconds_since(first);
    const double cpu_us = (cpu_seconds(world.coordinator()) - cpu) / jobs * 1e6;
    const double worker_us = world.workers_cpu_seconds() / jobs * 1e6;
    std::printf(
        "%9d jobs | %8.0f jobs/s | us of CPU a job: coordinator %5.1f, workers %5.1f | submit "
        "%6.2f s (CPU: client %.2f s, coordinator %.2f s) | "
        "RSS %6.0f MiB queued, %6.0f MiB after a restart | killed and back: listens after %.2f s, "
        "first result %.2f s later\n",
        jobs, rate, cpu_us, worker_us, submit.s, submit.client_cpu_s, submit.coordinator_cpu_s, rss,
        restarted_rss, listen_s, first_s);
    std::fflush(stdout);
    const std::string suffix = "_" + std::to_string(jobs);
    figure("jobs_per_s" + suffix, rate);
    figure("cpu_us_per_job" + suffix, cpu_us);
    figure("worker_cpu_us_per_job" + suffix, worker_us);
    figure("submit_s" + suffix, submit.s);
    figure("submit_client_cpu_s" + suffix, submit.client_cpu_s);
    figure("submit_coordinator_cpu_s" + suffix, submit.coordinator_cpu_s);
    figure("rss_mib" + suffix, rss);
    figure("rss_restarted_mib" + suffix, restarted_rss);
    figure("restart_s" + suffix, listen_s);
}

void measure_round_trip() {
    World world;
    world.start_coordinator();
    constexpr int jobs = 3'000;
    world.submit(jobs);
    world.start_workers(1, 1);
    if (!world.wait_for(jobs)) {
        std::exit(1);
    }
    std::istringstream line(world.line_of_first_worker());
    double count = 0;
    double p50 = 0;
    double p99 = 0;
    line >> count >> p50 >> p99;
    std::printf("one job at a time: result to next job %.2f ms (p50), %.2f ms (p99)\n", p50 / 1e3,
                p99 / 1e3);
    figure("round_trip_p50_ms", p50 / 1e3);
    figure("round_trip_p99_ms", p99 / 1e3);
}

void measure_idle(const Settings& settings, int sessions) {
    World world;
    world.start_coordinator();
    world.start_crowd(sessions);
    std::this_thread::sleep_for(std::chrono::seconds(2));
    const double before = cpu_seconds(world.coordinator());
    std::this_thread::sleep_for(std::chrono::seconds(settings.idle_s));
    const double share =
        (cpu_seconds(world.coordinator()) - before) / static_cast<double>(settings.idle_s);
    std::printf("%5d workers that only speak once a second: %.1f %% of a core\n", sessions,
                share * 100);
    figure("idle_core_share_" + std::to_string(sessions), share);
}

std::vector<int> numbers(const std::string& text) {
    std::vector<int> values;
    std::istringstream in(text);
    for (std::string item; std::getline(in, item, ',');) {
        values.push_back(std::max(1, std::atoi(item.c_str())));
    }
    return values;
}

int measure(const std::vector<std::string>& arguments) {
    Settings settings;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const std::string value = i + 1 < arguments.size() ? arguments[i + 1] : "";
        if (arguments[i] == "--json") {
            settings.json = true;
        } else if (arguments[i] == "--jobs" && !value.empty()) {
            settings.jobs = numbers(value);
            ++i;
        } else if (arguments[i] == "--workers" && !value.empty()) {
            settings.workers = numbers(value).front();
            ++i;
        } else if (arguments[i] == "--window" && !value.empty()) {
            settings.window = numbers(value).front();
            ++i;
        } else if (arguments[i] == "--idle" && !value.empty()) {
            settings.idle_s = numbers(value).front();
            ++i;
        } else if (arguments[i] == "--only" && !value.empty()) {
            settings.only = value;
            ++i;
        } else {
            std::fprintf(stderr,
                         "usage: bench_dispatch [--jobs N,N] [--workers W] [--window K] "
                         "[--idle SECONDS] [--only jobs|trip|idle] [--json]\n");
            return 2;
        }
    }
    std::setvbuf(stdout, nullptr, _IOLBF, 0);  // in order with what goes wrong
    std::printf("%d workers with %d jobs each on their way, CURVE, synchronous=FULL\n",
                settings.workers, settings.window);
    if (settings.wants("jobs")) {
        for (const int jobs : settings.jobs) {
            measure_throughput(settings, jobs);
        }
    }
    if (settings.wants("trip")) {
        measure_round_trip();
    }
    if (settings.wants("idle")) {
        measure_idle(settings, 64);
        measure_idle(settings, 1'000);
    }
    if (settings.json) {
        std::printf("{%s}\n", figures.c_str());
    }
    return 0;
}

int start_role(const std::vector<std::string>& arguments) {
    const std::string role = arguments.empty() ? "" : arguments[0];
    if (role == "--coordinator" || role == "--noop" || role == "--crowd") {
        prctl(PR_SET_PDEATHSIG, SIGKILL);  // a benchmark that is stopped takes its parts along
    }
    if (role == "--coordinator" && arguments.size() == 3) {
        return be_coordinator(arguments[1], arguments[2]);
    }
    if (role == "--noop" && arguments.size() == 4) {
        return NoopWorker(arguments[1], arguments[2], std::stoi(arguments[3])).run();
    }
    if (role == "--crowd" && arguments.size() == 3) {
        return be_crowd(arguments[1], std::stoi(arguments[2]));
    }
    return measure(arguments);
}

}  // namespace
}  // namespace bitsweep

int main(int argc, char** argv) {
    return bitsweep::start_role({argv + 1, argv + argc});
}
