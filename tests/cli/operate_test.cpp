// What a person does with a running coordinator: orders, workers elsewhere, logs, the live page.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <thread>

#include "tests/cli/program.h"
#include "tests/temp_folder.h"

namespace bitsweep {

namespace {

namespace fs = std::filesystem;

constexpr const char* experiment = R"(experiment: small
question: Does it run?
defaults: {protocol: quick, new_tokens: 4, quality: off, prompt: "work 20"}
retries: {crash: 1, fail: 0}
matrix:
  model: [llama-pico]
  method: [fp16, int8, nf4, fp4]
  gpu: cpu
)";

bool holds(const std::function<bool()>& what, int seconds) {
    for (int i = 0; i < seconds * 20; ++i) {
        if (what()) {
            return true;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return false;
}

class Operating : public testing::Test {
 protected:
    void SetUp() override {
        std::ofstream(folder_ / "small.yaml") << experiment;
        serve({});
    }

    void serve(const Words& more) {
        Words words{bitsweep_program(), "serve", "--listen", "tcp://127.0.0.1:0"};
        words.insert(words.end(), more.begin(), more.end());
        server_.reset();
        server_.emplace(folder_, words);
        ASSERT_TRUE(server_->says("coordinator at", 10)) << server_->err();
    }

    Ended run(const Words& words, const Environment& more = {}) {
        return bitsweep(folder_, words, more);
    }

    std::unique_ptr<Program> worker(const std::string& name) {
        auto worker = std::make_unique<Program>(
            folder_, Words{bitsweep_program(), "worker", "--runner", FAKE_RUNNER, "--name", name});
        EXPECT_TRUE(worker->says("waiting for jobs", 10)) << worker->err();
        return worker;
    }

    bool status_says(const std::string& text) {
        return holds(
            [&] {
                return run({"status", "--format", "json"}).out.find(text) != std::string::npos;
            },
            5);
    }

    TempFolder folder_;
    std::optional<Program> server_;
};

TEST_F(Operating, APausedExperimentWaitsAndAResumedOneRuns) {
    ASSERT_EQ(run({"submit", "small.yaml"}).code, 0);
    const Ended paused = run({"pause", "small", "--reason", "the lab is warm", "--format", "csv"});
    EXPECT_EQ(paused.code, 0) << paused.err;
    EXPECT_NE(paused.out.find("pause,small,"), std::string::npos) << paused.out;
    const auto only = worker("only");
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    EXPECT_TRUE(status_says("the lab is warm"));
    EXPECT_EQ(only->err().find("on cpu"), std::string::npos) << only->err();
    EXPECT_EQ(run({"resume", "small"}).code, 0);
    EXPECT_EQ(run({"submit", "small.yaml", "--wait"}).code, 0);
}

TEST_F(Operating, ASubmissionSaysThatItLiftsAPause) {
    EXPECT_EQ(run({"submit", "small.yaml"}).err.find("goes on"), std::string::npos);
    ASSERT_EQ(run({"pause", "small", "--reason", "the lab is warm"}).code, 0);
    const Ended again = run({"submit", "small.yaml"});
    EXPECT_EQ(again.code, 0) << again.err;
    EXPECT_NE(again.err.find("small was paused: the lab is warm; submitted again, it goes on"),
              std::string::npos)
        << again.err;
}

TEST_F(Operating, AWaitSaysWhyWhatIsLeftFitsNoWorker) {
    const auto only = worker("only");
    Program wait(folder_,
                 {bitsweep_program(), "submit", "small.yaml", "--set", "gpu=[H100]", "--wait"});
    EXPECT_TRUE(wait.says("no attached device is of kind H100 (attached: cpu)", 10)) << wait.err();
    EXPECT_TRUE(wait.says("waits for a worker that fits", 5)) << wait.err();
    wait.signal(SIGINT);
    EXPECT_EQ(wait.wait(10), 130);
}

TEST_F(Operating, AWatchEndsWhenNobodyReadsOn) {
    const std::string watch = "cd " + folder_.path().string() + " && timeout 20 " +
                              bitsweep_program() + " status --watch";
    EXPECT_EQ(WEXITSTATUS(std::system(("bash -c '" + watch +
                                       " 2>/dev/null | head -1 >/dev/null; exit ${PIPESTATUS[0]}'")
                                          .c_str())),
              0);
    EXPECT_EQ(WEXITSTATUS(std::system((watch + " > /dev/full 2>/dev/null").c_str())), 2);
}

TEST_F(Operating, ACancelledExperimentEndsItsRunningJobAndRetryRunsItAgain) {
    ASSERT_EQ(run({"submit", "small.yaml", "--set", "prompt=work 20000"}).code, 0);
    const auto only = worker("only");
    ASSERT_TRUE(only->says("on cpu", 10)) << only->err();
    const Ended cancelled = run({"cancel", "small", "--reason", "wrong prompt", "--format", "csv"});
    EXPECT_EQ(cancelled.code, 0) << cancelled.err;
    EXPECT_NE(cancelled.out.find("cancel,small,4"), std::string::npos) << cancelled.out;
    EXPECT_TRUE(only->says("wrong prompt", 10)) << only->err();
    EXPECT_TRUE(status_says("\"cancelled\":4")) << run({"status"}).out;
    const Ended again = run({"retry", "small", "--format", "csv"});
    EXPECT_NE(again.out.find("retry,small,4"), std::string::npos) << again.out << again.err;
}

TEST_F(Operating, ADrainedWorkerFinishesItsJobAndLeaves) {
    const auto only = worker("only");
    ASSERT_EQ(run({"submit", "small.yaml", "--set", "prompt=work 700"}).code, 0);
    ASSERT_TRUE(only->says("on cpu", 10)) << only->err();
    const Ended drained = run({"drain", "only"});
    EXPECT_EQ(drained.code, 0) << drained.err;
    EXPECT_EQ(only->wait(15), 0) << only->err();
    EXPECT_NE(only->err().find(" done"), std::string::npos) << only->err();
    EXPECT_EQ(only->err().find(" cancelled"), std::string::npos) << only->err();
}

TEST_F(Operating, AVerificationSaysWhatItWaitsForAndWhatAnInterruptLeaves) {
    {
        const auto only = worker("only");
        ASSERT_EQ(run({"submit", "small.yaml", "--wait"}).code, 0);
        ASSERT_EQ(run({"drain", "only"}).code, 0);
        ASSERT_EQ(only->wait(15), 0) << only->err();
    }
    Program verify(folder_, {bitsweep_program(), "verify", "small", "--sample", "2"});
    EXPECT_TRUE(verify.says("waits for a worker: no worker is attached", 10)) << verify.err();
    verify.signal(SIGINT);
    EXPECT_EQ(verify.wait(10), 130) << verify.err();
    EXPECT_NE(verify.err().find("`bitsweep cancel verify-small` ends that"), std::string::npos)
        << verify.err();
}

TEST_F(Operating, OrdersForNobodyAreRefusedAndChangeNothing) {
    for (const char* verb : {"pause", "resume", "cancel", "retry", "drain", "clear"}) {
        const Ended none = run({verb, "nobody"});
        EXPECT_TRUE(none.code == 2 || none.code == 3) << verb << none.err;
        EXPECT_NE(none.err.find("nobody"), std::string::npos) << none.err;
        const Ended without = run({verb});
        EXPECT_EQ(without.code, 2) << verb;
        EXPECT_NE(without.err.find("bitsweep " + std::string(verb)), std::string::npos);
    }
    ASSERT_EQ(run({"keys", "new", "guest", "--role", "read"}).code, 0);
    const Ended guest = run({"cancel", "small", "--access", "bitsweep.db.keys/access/guest.json"});
    EXPECT_EQ(guest.code, 3);
    EXPECT_NE(guest.err.find("--role submit"), std::string::npos) << guest.err;
}

TEST_F(Operating, LogsShowHowEveryAttemptEndedAndWhatItPrinted) {
    const auto only = worker("only");
    ASSERT_EQ(run({"submit", "small.yaml", "--wait", "--set", "prompt=segfault", "--set",
                   "method=[fp16]"})
                  .code,
              1);
    const Ended keys = run({"query", "SELECT key FROM jobs", "--format", "csv"});
    const std::string key = keys.out.substr(keys.out.find('\n') + 1, 12);
    const Ended logs = run({"logs", key});
    EXPECT_EQ(logs.code, 0) << logs.err;
    EXPECT_NE(logs.out.find("about to touch what is not ours"), std::string::npos) << logs.out;
    EXPECT_NE(logs.err.find("attempt 1"), std::string::npos) << logs.err;
    EXPECT_NE(logs.err.find("attempt 2 on cpu of worker only: crash"), std::string::npos)
        << logs.err;
    fs::remove_all(folder_ / "state");  // another machine has only the database
    const Ended evidence = run({"logs", key});
    EXPECT_NE(evidence.out.find("about to touch"), std::string::npos) << evidence.out;
    EXPECT_NE(evidence.err.find("state folder of that worker"), std::string::npos);
    EXPECT_EQ(run({"logs", "ffffffffffff"}).code, 2);
    EXPECT_EQ(run({"logs", "' OR 1"}).code, 2);
    EXPECT_EQ(run({"logs"}).code, 2);
}

TEST_F(Operating, LogsAreThoseOfTheWorkerThatMadeTheAttempt) {
    const auto only = worker("only");
    ASSERT_EQ(run({"submit", "small.yaml", "--wait", "--set", "method=[fp16]"}).code, 0);
    const Ended keys = run({"query", "SELECT key FROM jobs", "--format", "csv"});
    const std::string key = keys.out.substr(keys.out.find('\n') + 1, 64);
    // The same job of another database, by a worker of another name.
    const fs::path other = folder_ / "state/bitsweep/worker-other/logs";
    fs::create_directories(other);
    std::ofstream(other / (key + "-1.log")) << "BOOM\n";
    EXPECT_EQ(run({"logs", key}).out.find("BOOM"), std::string::npos);
    fs::create_directories(folder_ / "named/logs");
    std::ofstream(folder_ / "named/logs" / (key + "-1.log")) << "as asked\n";
    const Ended named = run({"logs", key, "--state", "named"});
    EXPECT_EQ(named.out, "as asked\n") << named.err;
}

class Launching : public Operating {
 protected:
    // An ssh that reaches this machine only.
    Environment with_fake_ssh() {
        fs::create_directory(folder_ / "bin");
        const fs::path ssh = folder_ / "bin/ssh";
        std::ofstream(ssh) << "#!/bin/sh\nfor last; do :; done\nexec sh -c \"$last\"\n";
        chmod(ssh.c_str(), 0700);
        return {{"PATH", (folder_ / "bin").string() + ":/usr/bin:/bin"},
                {"BITSWEEP_RUNNER", FAKE_RUNNER}};
    }
};

TEST_F(Launching, AWorkerOverSshAttachesWithASecretThatNeverTouchesADiskAndStopsOnCtrlC) {
    Program launch(folder_,
                   {bitsweep_program(), "launch", "ssh", "gpu-1", "--program", bitsweep_program(),
                    "--", "--name", "far", "--state", (folder_ / "far").string()},
                   with_fake_ssh());
    ASSERT_TRUE(launch.says("1 workers started", 10)) << launch.err();
    ASSERT_TRUE(status_says("\"far\"")) << run({"status"}).out;
    EXPECT_EQ(launch.out(), "host gpu-1\n");
    EXPECT_EQ(run({"submit", "small.yaml", "--wait"}).code, 0);
    launch.signal(SIGINT);
    EXPECT_EQ(launch.wait(20), 130) << launch.err();
    EXPECT_TRUE(holds(
        [&] {
            return run({"status", "--format", "csv"}).out.find("far,") == std::string::npos;
        },
        10));
}

TEST_F(Launching, AHostThatCannotBeReachedIsToldWithItsLastWords) {
    Environment environment = with_fake_ssh();
    std::ofstream(folder_ / "bin/ssh") << "#!/bin/sh\necho 'ssh: no route to host' >&2\nexit 255\n";
    const Ended ended = run({"launch", "ssh", "nowhere"}, environment);
    EXPECT_EQ(ended.code, 3) << ended.err;
    EXPECT_NE(ended.err.find("host nowhere ended with status 255: ssh: no route to host"),
              std::string::npos)
        << ended.err;
}

TEST_F(Launching, ADryRunShowsTheJobScriptAndStartsNothing) {
    const Ended dry = run({"launch", "slurm", "--time", "2h", "--gres", "gpu:1", "--dry-run", "--",
                           "--models", "/srv/models"});
    EXPECT_EQ(dry.code, 0) << dry.err;
    EXPECT_NE(dry.out.find("#SBATCH --time=120\n#SBATCH --gres=gpu:1\n"), std::string::npos)
        << dry.out;
    EXPECT_NE(dry.out.find("bitsweep.db.keys/access/worker.json --models /srv/models --until"),
              std::string::npos)
        << dry.out;
    EXPECT_EQ(dry.out.find("secret"), std::string::npos);
}

TEST_F(Launching, AnAddressThatWasGivenReachesTheWorkers) {
    const Words given = {"launch", "local", "--dry-run", "--coordinator", "tcp://head:7420"};
    EXPECT_NE(run(given).out.find("--connect tcp://head:7420"), std::string::npos)
        << run(given).out;
    Words both = given;
    both.insert(both.end(), {"--", "--connect", "tcp://other:7420"});
    EXPECT_EQ(run(both).out.find("head:7420"), std::string::npos) << run(both).out;
    Program launch(folder_,
                   {bitsweep_program(), "launch", "ssh", "gpu-1", "--dry-run", "--coordinator",
                    "tcp://head:7420"},
                   with_fake_ssh());
    EXPECT_EQ(launch.wait(10), 0) << launch.err();
    EXPECT_NE(launch.out().find("--connect tcp://head:7420"), std::string::npos) << launch.out();
}

TEST_F(Launching, ALineOfTheHostFileIsOneHost) {
    std::ofstream(folder_ / "hosts") << "# ours\n gpu-1  # the old one\n\ngpu-2\n";
    const Ended two = run({"launch", "ssh", "--hostfile", "hosts", "--dry-run"});
    EXPECT_EQ(two.code, 0) << two.err;
    EXPECT_NE(two.out.find("gpu-2"), std::string::npos) << two.out;
    std::ofstream(folder_ / "hosts") << "gpu-1\ngpu-2 slots=4\n";
    const Ended refused = run({"launch", "ssh", "--hostfile", "hosts", "--dry-run"});
    EXPECT_EQ(refused.code, 2);
    EXPECT_NE(refused.err.find("hosts:2: `slots=4` after `gpu-2`: one host a line"),
              std::string::npos)
        << refused.err;
}

TEST_F(Launching, MistakesAreOneLineAndStartNothing) {
    const std::vector<std::pair<Words, std::string>> mistakes = {
        {{"launch"}, "local|ssh|slurm"},
        {{"launch", "kubernetes"}, "known: local, ssh, slurm"},
        {{"launch", "ssh"}, "HOST"},
        {{"launch", "slurm", "host"}, "takes no hosts"},
        {{"launch", "local", "--time", "1h"}, "slurm"},
        {{"launch", "slurm", "--time", "18:30"}, "--time"},
        {{"launch", "local", "--count", "0"}, "--count"},
        {{"launch", "ssh", "--hostfile", "none"}, "none"},
        {{"launch", "ssh", "-oProxyCommand=x"}, ""},
        {{"launch", "ssh", "h", "--access", "bitsweep.db.keys/access/client.json"}, "role"}};
    for (const auto& [words, wanted] : mistakes) {
        const Ended ended = run(words);
        EXPECT_NE(ended.code, 0) << wanted;
        EXPECT_NE(ended.err.find(wanted), std::string::npos) << ended.err;
        EXPECT_EQ(ended.out, "") << wanted;
    }
}

// One HTTP/1.1 exchange, whole.
std::string http(int port, const std::string& request) {
    const int descriptor = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    std::string answer;
    if (connect(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) {
        (void)send(descriptor, request.data(), request.size(), MSG_NOSIGNAL);
        char buffer[4'096];
        for (ssize_t count; (count = recv(descriptor, buffer, sizeof buffer, 0)) > 0;) {
            answer.append(buffer, static_cast<std::size_t>(count));
        }
    }
    close(descriptor);
    return answer;
}

std::string get(int port, const std::string& path, const std::string& host = "localhost") {
    return http(port,
                "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n");
}

class Page : public Operating {
 protected:
    void SetUp() override {
        Operating::SetUp();
        serve({"--http", "0"});
        ASSERT_TRUE(server_->says("live page: ", 10)) << server_->err();
        port_ = port_in(server_->err());
    }
    static int port_in(const std::string& text) {
        const std::size_t start = text.find("http://127.0.0.1:");
        return start == std::string::npos ? 0 : std::stoi(text.substr(start + 17));
    }
    int port_ = 0;
};

TEST_F(Page, ShowsProgressMetricsAndResults) {
    const auto only = worker("only");
    ASSERT_EQ(run({"submit", "small.yaml", "--wait"}).code, 0);
    EXPECT_NE(get(port_, "/").find("<title>bitsweep</title>"), std::string::npos);
    EXPECT_NE(get(port_, "/dashboard.js").find("status.json"), std::string::npos);
    std::this_thread::sleep_for(std::chrono::milliseconds(1'000));
    const std::string status = get(port_, "/status.json");
    EXPECT_NE(status.find("\"type\":\"status_reply\""), std::string::npos) << status;
    EXPECT_NE(status.find("\"done\":4"), std::string::npos) << status;
    const std::string metrics = get(port_, "/metrics");
    EXPECT_NE(metrics.find("bitsweep_up 1\n"), std::string::npos) << metrics;
    EXPECT_NE(metrics.find("bitsweep_jobs{experiment=\"small\",state=\"done\"} 4\n"),
              std::string::npos)
        << metrics;
    const std::string results = get(port_, "/results.json?experiment=small");
    EXPECT_NE(results.find("\"method\":\"nf4\",\"model\":\"llama-pico\",\"states\":{\"done\":1}"),
              std::string::npos)
        << results;
    EXPECT_NE(get(port_, "/results.json?experiment=o'clock").find("404"), std::string::npos);
    const std::string report = get(port_, "/report?experiment=small");
    EXPECT_NE(report.find("200 OK"), std::string::npos);
    EXPECT_NE(report.find("<section id=\"provenance\""), std::string::npos) << "the whole report";
    EXPECT_NE(get(port_, "/report?experiment=none").find("404"), std::string::npos);
}

TEST_F(Page, IsReadOnlyAndOfThisMachineOnly) {
    EXPECT_NE(get(port_, "/status.json", "evil.example").find("403"), std::string::npos);
    EXPECT_NE(http(port_,
                   "POST /status.json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                   "Content-Length: 0\r\n\r\n")
                  .find("403"),
              std::string::npos);
    EXPECT_NE(get(port_, "/../bitsweep.db.keys/server.json").find("404"), std::string::npos);
    EXPECT_EQ(get(port_, "/status.json").find("secret"), std::string::npos);
    EXPECT_NE(get(port_, "/").find("Content-Security-Policy"), std::string::npos);
}

TEST_F(Page, ADashboardOfItsOwnSaysWhenTheCoordinatorIsAway) {
    Program dashboard(folder_, {bitsweep_program(), "dashboard", "--port", "0"});
    ASSERT_TRUE(dashboard.says("/metrics", 10)) << dashboard.err();
    const int port = port_in(dashboard.out());
    EXPECT_NE(get(port, "/metrics").find("bitsweep_up 1\n"), std::string::npos);
    server_->signal(SIGKILL);
    server_->wait(5);
    EXPECT_TRUE(holds(
        [&] { return get(port, "/metrics").find("bitsweep_up 0\n") != std::string::npos; }, 10));
    EXPECT_NE(get(port, "/status.json").find("\"error\""), std::string::npos);
    dashboard.signal(SIGTERM);
    EXPECT_EQ(dashboard.wait(10), 0);
}

TEST_F(Operating, AWaitAndAWatchFollowACoordinatorToAnotherAddress) {
    ASSERT_EQ(run({"submit", "small.yaml"}).code, 0);
    Program wait(folder_, {bitsweep_program(), "submit", "small.yaml", "--wait"});
    Program watch(folder_, {bitsweep_program(), "status", "--watch", "--format", "jsonl"});
    Program page(folder_, {bitsweep_program(), "dashboard", "--port", "0"});
    ASSERT_TRUE(page.says("/metrics", 10)) << page.err();
    ASSERT_TRUE(holds([&] { return !wait.out().empty() && !watch.out().empty(); }, 10));
    server_->signal(SIGTERM);
    ASSERT_EQ(server_->wait(10), 0);
    ASSERT_TRUE(wait.says("waiting for it to come back", 10)) << wait.err();
    serve({});  // any free port: another one
    const auto only = worker("only");
    EXPECT_EQ(wait.wait(20), 0) << wait.err();
    EXPECT_TRUE(holds([&] { return watch.out().find("\"done\":4") != std::string::npos; }, 10))
        << watch.out() << watch.err();
    const std::string at = page.out();
    const int port = std::stoi(at.substr(at.rfind(':') + 1));
    EXPECT_TRUE(holds(
        [&] { return get(port, "/metrics").find("bitsweep_up 1\n") != std::string::npos; }, 10));
}

TEST_F(Page, APortInUseIsNamed) {
    const Ended ended = run({"dashboard", "--port", std::to_string(port_)});
    EXPECT_EQ(ended.code, 2);
    EXPECT_NE(ended.err.find(std::to_string(port_)), std::string::npos) << ended.err;
    EXPECT_EQ(run({"dashboard", "--port", "70000"}).code, 2);
}

}  // namespace
}  // namespace bitsweep
