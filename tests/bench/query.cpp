// How long a large database takes to answer: through the read API, through `bitsweep query` as a
// person types it, as a report, and as the live page. 1,000,000 measurements (20,000 runs of 50);
// `--runs N` makes it N runs of as many metrics as fill a million rows, or of one.

#include <httplib.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "results/store/store.h"
#include "schemas/catalog/shapes.h"
#include "schemas/codec.h"
#include "tests/bench/own_folder.h"

namespace bitsweep {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int models = 20, methods = 10, devices = 4, rows_wanted = 1'000'000;
constexpr int rounds = 5;

double ms_since(Clock::time_point start) {
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

// Bytes over a bandwidth, with a little noise: what fits and crossings expect to find.
FinishedRun run_of(const StoredJob& job, int number, int metrics) {
    const double bits = 16.0 / (1 + number / models % methods);
    const double bytes =
        static_cast<double>(find_shape(job.cell.spec.model.name)->parameters) * bits / 8;
    const double rate = 1 / (20e-6 + bytes / 2e12) * (1 + 0.002 * (number % 7));
    FinishedRun run;
    run.result.key = job.key;
    run.result.attempt = {1};
    run.result.started_unix_ms = number;
    run.result.finished_unix_ms = number + 1;
    run.result.measurements = {{"decode_tokens_per_s", "token/s", 0, rate}};
    if (metrics > 3) {
        run.result.measurements.push_back({"bytes_per_token", "B", 0, bytes});
        run.result.measurements.push_back({"weights_bytes", "B", 0, bytes});
    }
    for (int i = static_cast<int>(run.result.measurements.size()); i < metrics; ++i) {
        run.result.measurements.push_back(
            {"metric_" + std::to_string(i), "1", 0, static_cast<double>(number % 89)});
    }
    run.worker.value = "w";
    run.device = "cuda:0";
    run.device_kind = run.device_name = job.cell.spec.gpu;
    return run;
}

Status fill(Store& store, int runs) {
    // A bit width and a group size name the method: ten of them exist in every build.
    const std::vector<std::string> names = {"fp16",     "int8",     "nf4",      "fp4",
                                            "int2-g64", "int3-g64", "int4-g64", "int5-g64",
                                            "int6-g64", "int7-g64"};
    const int metrics = std::max(1, rows_wanted / runs);
    return store.transact([&](StoreWriter& writer) -> Status {
        StoredExperiment experiment;
        experiment.name.value = "e";
        TRY(writer.put_experiment(experiment));
        for (int i = 0; i < runs; ++i) {
            StoredJob job;
            job.cell.spec.model.name =
                shape_table()[static_cast<std::size_t>(i % models) % shape_table().size()].name;
            job.cell.spec.method = names[static_cast<std::size_t>(i / models % methods)];
            job.cell.spec.gpu = "gpu-" + std::to_string(i / models / methods % devices);
            job.cell.spec.repeat = i / models / methods / devices;
            job.cell.identity.spec_key = spec_key(job.cell.spec);
            job.key = cell_key(job.cell.identity);
            job.state = "done";
            TRY(writer.put_job({"e"}, job));
            TRY(writer.put_run(run_of(job, i, metrics)));
        }
        return {};
    });
}

struct Question {
    const char *name, *sql;
};
constexpr Question questions[] = {
    {"filter_and_group",
     "SELECT model, method, avg(decode_tokens_per_s) FROM v_results WHERE device = 'gpu-1'"
     " GROUP BY model, method"},
    {"group_everything",
     "SELECT c.model, c.method, c.device, avg(m.value) FROM v_cells c JOIN measurements m"
     " ON m.run = c.run AND m.sample = 0 AND m.metric = 'decode_tokens_per_s'"
     " GROUP BY c.model, c.method, c.device"},
    {"one_model",
     "SELECT method, avg(decode_tokens_per_s) FROM v_results WHERE model = 'gpt2'"
     " GROUP BY method"},
    {"speedups", "SELECT model, method, avg(speedup) FROM v_speedup GROUP BY model, method"},
};

class Figures {
 public:
    void add(const std::string& name, double ms, std::size_t rows) {
        std::printf("%-28s %8zu %10.1f\n", name.c_str(), rows, ms);
        std::fflush(stdout);
        json_ += (json_.empty() ? "{\"" : ", \"") + name + "_ms\": " + std::to_string(ms);
    }
    std::string json() const { return json_ + "}"; }

 private:
    std::string json_;
};

// The built `bitsweep`, beside the folder of this program.
fs::path program() {
    return fs::read_symlink("/proc/self/exe").parent_path().parent_path() / "bin" / "bitsweep";
}

// A command of the built program, its output into a file; the time that a person waits.
Result<double> timed(const fs::path& folder, const std::string& words) {
    const std::string command = "cd " + folder.string() + " && " + program().string() + " " +
                                words + " --db big.db >out.txt 2>err.txt";
    const Clock::time_point start = Clock::now();
    if (std::system(command.c_str()) != 0) {
        return make_error(ErrorCode::internal, "bitsweep " + words + " failed");
    }
    return ms_since(start);
}

std::size_t lines_in(const fs::path& file) {
    std::ifstream stream(file);
    return static_cast<std::size_t>(std::count(std::istreambuf_iterator<char>(stream), {}, '\n'));
}

Status ask_by_command(const fs::path& folder, Figures& figures) {
    for (const Question& question : questions) {
        double best = INFINITY;
        for (int round = 0; round < rounds; ++round) {
            best =
                std::min(best, TRY(timed(folder, "query \"" + std::string(question.sql) + "\"")));
        }
        figures.add("command_" + std::string(question.name), best, lines_in(folder / "out.txt"));
    }
    const double report_ms = TRY(timed(folder, "report e -o report.html"));
    figures.add("report", report_ms, fs::file_size(folder / "report.html"));
    return {};
}

// What the page asks for until its grid stands: the page itself, then what it draws.
Status ask_page(const fs::path& folder, Figures& figures) {
    const pid_t server = fork();
    if (server == 0) {
        if (chdir(folder.c_str()) == 0 && freopen("serve.txt", "w", stderr) != nullptr &&
            freopen("/dev/null", "w", stdout) != nullptr) {
            execl(program().c_str(), "bitsweep", "serve", "--db", "big.db", "--no-keys", "--listen",
                  "tcp://127.0.0.1:0", "--http", "0", nullptr);
        }
        _exit(127);
    }
    std::string url;
    const Clock::time_point start = Clock::now();
    while (url.empty() && ms_since(start) < 60'000) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        std::ifstream stream(folder / "serve.txt");
        for (std::string line; std::getline(stream, line);) {
            const std::size_t at = line.find("http://");
            url = at == std::string::npos ? url : line.substr(at, line.find('/', at + 7) - at);
        }
    }
    figures.add("serve_until_it_listens", ms_since(start), 0);
    httplib::Client client(url);
    client.set_read_timeout(std::chrono::seconds(60));
    for (const char* path : {"/", "/status.json", "/results.json?experiment=e",
                             "/results.json?experiment=e#again", "/view.json?name=v_speedup"}) {
        const Clock::time_point asked = Clock::now();
        const auto answer = client.Get(std::string(path).substr(0, std::string(path).find('#')));
        figures.add("page " + std::string(path), ms_since(asked),
                    answer && answer->status == 200 ? answer->body.size() : 0);
    }
    kill(server, SIGTERM);
    int ignored = 0;
    waitpid(server, &ignored, 0);
    return {};
}

Result<std::string> measure(const fs::path& folder, int runs) {
    Figures figures;
    std::printf("%-28s %8s %10s\n", "question", "rows", "ms");
    {
        const auto store = TRY(Store::open(folder / "big.db", OpenMode::read_write));
        const Clock::time_point start = Clock::now();
        TRY(fill(*store, runs));
        figures.add("fill", ms_since(start), static_cast<std::size_t>(runs));
        for (const Question& question : questions) {
            double best = INFINITY;
            std::size_t rows = 0;
            for (int round = 0; round < rounds; ++round) {
                const Clock::time_point asked = Clock::now();
                rows = TRY(store->query(question.sql)).rows.size();
                best = std::min(best, ms_since(asked));
            }
            figures.add(question.name, best, rows);
        }
    }
    TRY(ask_by_command(folder, figures));
    TRY(ask_page(folder, figures));
    return figures.json();
}

}  // namespace
}  // namespace bitsweep

int main(int count, char** words) {
    int runs = 20'000;
    for (int i = 1; i + 1 < count; ++i) {
        if (std::string(words[i]) == "--runs") {
            runs = std::max(800, std::atoi(words[i + 1]));
        }
    }
    return bitsweep::run_in_own_folder(
        "query", [runs](const auto& folder) { return bitsweep::measure(folder, runs); }, count,
        words);
}
