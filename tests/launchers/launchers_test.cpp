// The launchers against programs called ssh, sbatch, squeue and scancel that write down what they
// were given and end as told.
#include "coordinator/launchers/launcher.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <thread>

#include "coordinator/launchers/process.h"
#include "tests/temp_folder.h"

namespace bitsweep {

namespace {

namespace fs = std::filesystem;

class Launchers : public testing::Test {
 protected:
    void SetUp() override {
        path_ = getenv("PATH");
        setenv("PATH", (folder_.string() + ":" + path_).c_str(), 1);
        signal(SIGPIPE, SIG_IGN);
    }
    void TearDown() override { setenv("PATH", path_.c_str(), 1); }

    // A program that writes its words, one a line, to NAME.words, and then does as told.
    void fake(const std::string& name, const std::string& then) {
        const fs::path file = folder_ / name;
        std::ofstream(file) << "#!/bin/sh\nfor word in \"$@\"; do printf '%s\\n' \"$word\"; done > "
                            << file.string() << ".words\n"
                            << then << "\n";
        chmod(file.c_str(), 0700);
    }

    std::string text(const std::string& name) {
        std::ifstream stream(folder_ / name, std::ios::binary);
        return {std::istreambuf_iterator<char>(stream), {}};
    }

    std::vector<std::string> words(const std::string& name) {
        std::ifstream stream(folder_ / (name + ".words"));
        std::vector<std::string> all;
        for (std::string word; std::getline(stream, word);) {
            all.push_back(word);
        }
        return all;
    }

    WorkerOrder order() {
        WorkerOrder order;
        order.program = "/opt/bit sweep/bitsweep";
        order.arguments = {"--name", "it's mine", "--models", "/m; rm -rf ~"};
        order.log = folder_ / "worker.log";
        return order;
    }

    static std::optional<int> wait(LaunchedWorker& worker) {
        for (int i = 0; i < 1'000; ++i) {
            if (const auto status = worker.ended()) {
                return status;
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
        return std::nullopt;
    }

    TempFolder folder_;
    std::string path_;
};

std::unique_ptr<LaunchedWorker> start(const char* launcher, const WorkerOrder& order) {
    const auto made = make_launcher(launcher);
    EXPECT_TRUE(made);
    auto worker = (*made)->start(order);
    EXPECT_TRUE(worker) << worker.error().message;
    return worker ? std::move(*worker) : nullptr;
}

Error refusal(const char* launcher, const WorkerOrder& order) {
    const auto made = make_launcher(launcher);
    EXPECT_TRUE(made);
    const auto worker = (*made)->start(order);
    EXPECT_FALSE(worker);
    return worker ? Error{} : worker.error();
}

TEST_F(Launchers, TheTableNamesThreeAndRefusesAFourth) {
    EXPECT_EQ(launcher_table().size(), 3u);
    const auto none = make_launcher("kubernetes");
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error().code, ErrorCode::not_found);
    EXPECT_NE(none.error().message.find("local, ssh, slurm"), std::string::npos);
}

TEST_F(Launchers, ALocalWorkerGetsItsWordsUnchangedAndItsOutputGoesToTheLog) {
    fake("bitsweep", "echo hello from the worker; exit 7");
    WorkerOrder local = order();
    local.program = folder_ / "bitsweep";
    const auto worker = start("local", local);
    ASSERT_TRUE(worker);
    EXPECT_EQ(wait(*worker), 7);
    EXPECT_EQ(words("bitsweep"), (std::vector<std::string>{"worker", "--name", "it's mine",
                                                           "--models", "/m; rm -rf ~"}));
    EXPECT_EQ(text("worker.log"), "hello from the worker\n");
}

TEST_F(Launchers, ALocalWorkerThatCannotStartIsAnErrorWithTheSystemsWords) {
    WorkerOrder local = order();
    local.program = folder_ / "nowhere";
    EXPECT_NE(refusal("local", local).message.find("No such file"), std::string::npos);
}

TEST_F(Launchers, ALocalWorkerEndsWithItsHandleUnlessReleased) {
    fake("bitsweep", "exec sleep 30");
    WorkerOrder local = order();
    local.program = folder_ / "bitsweep";
    auto worker = start("local", local);
    ASSERT_TRUE(worker);
    const pid_t pid = std::stoi(worker->name().substr(4));
    EXPECT_EQ(kill(pid, 0), 0);
    worker.reset();
    EXPECT_NE(kill(pid, 0), 0);
    worker = start("local", local);
    const pid_t other = std::stoi(worker->name().substr(4));
    worker->release();
    worker.reset();
    EXPECT_EQ(kill(other, 0), 0);
    kill(other, SIGKILL);
}

TEST_F(Launchers, SshGetsOneHostAndOneQuotedCommandAndTheSecretOnItsInput) {
    fake("ssh", "cat > " + (folder_ / "input").string());
    WorkerOrder remote = order();
    remote.host = "me@gpu-1.example";
    remote.access = "{\n  \"secret_key\": \"s3cret\"\n}";
    const auto worker = start("ssh", remote);
    ASSERT_TRUE(worker);
    EXPECT_EQ(worker->name(), "host me@gpu-1.example");
    for (int i = 0; i < 400 && words("ssh").empty(); ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    const std::vector<std::string> given = words("ssh");
    ASSERT_GE(given.size(), 3u);
    EXPECT_EQ(given[given.size() - 3], "--");
    EXPECT_EQ(given[given.size() - 2], "me@gpu-1.example");
    EXPECT_EQ(given.back(),
              "'/opt/bit sweep/bitsweep' worker --access - --orders-from-input --name "
              "'it'\\''s mine' --models '/m; rm -rf ~'");
    for (const std::string& word : given) {
        EXPECT_EQ(word.find("s3cret"), std::string::npos) << "a secret in a process list";
    }
    worker->ask_to_stop();
    const std::string wanted = "{   \"secret_key\": \"s3cret\" }\nstop\n";
    for (int i = 0; i < 400 && text("input") != wanted; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    EXPECT_EQ(text("input"), wanted);
}

TEST_F(Launchers, WhatSshSaysIsInTheLogAndItsExitStatusIsKept) {
    fake("ssh", "echo 'ssh: connect to host x port 22: Connection refused' >&2; exit 255");
    WorkerOrder remote = order();
    remote.host = "x";
    remote.access = "{}";
    const auto worker = start("ssh", remote);
    ASSERT_TRUE(worker);
    EXPECT_EQ(wait(*worker), 255);
    EXPECT_NE(text("worker.log").find("Connection refused"), std::string::npos);
}

TEST_F(Launchers, AHostThatWouldBeAnOptionOrACommandIsRefused) {
    fake("ssh", "exit 0");
    for (const char* host :
         {"", "-oProxyCommand=touch /tmp/owned", "a b", "a;b", "$(id)", "a\nb"}) {
        WorkerOrder remote = order();
        remote.host = host;
        remote.access = "{}";
        EXPECT_EQ(refusal("ssh", remote).code, ErrorCode::invalid_input) << host;
    }
    EXPECT_TRUE(words("ssh").empty());
}

class Slurm : public Launchers {
 protected:
    WorkerOrder batch() {
        WorkerOrder job = order();
        job.batch.time_limit = {3'600'000};
        job.batch.gres = "gpu:h100:1";
        job.batch.options = {"--account=team"};
        return job;
    }
    std::string script(const WorkerOrder& job) {
        const auto text = (*make_launcher("slurm"))->describe(job);
        EXPECT_TRUE(text) << text.error().message;
        return text ? *text : "";
    }
};

TEST_F(Slurm, TheScriptAsksForWhatWasWantedAndLeavesTimeForAnOrderlyEnd) {
    EXPECT_EQ(script(batch()),
              "#!/bin/sh\n"
              "#SBATCH --job-name=bitsweep-worker\n"
              "#SBATCH --ntasks=1\n"
              "#SBATCH --output=" +
                  (folder_ / "worker.log").string() +
                  "\n"
                  "#SBATCH --open-mode=append\n"
                  "#SBATCH --signal=B:TERM@60\n"
                  "#SBATCH --time=60\n"
                  "#SBATCH --gres=gpu:h100:1\n"
                  "#SBATCH --account=team\n"
                  "exec '/opt/bit sweep/bitsweep' worker --name 'it'\\''s mine' --models "
                  "'/m; rm -rf ~' --until 3480s\n");
}

TEST_F(Slurm, SbatchGetsTheScriptOnItsInputAndItsJobIsFollowedAndCancelled) {
    fake("sbatch", "cat > " + (folder_ / "script").string() + "; echo '4711;cluster'");
    fake("scancel", "");
    fake("squeue", "");  // it has left the queue
    auto worker = start("slurm", batch());
    ASSERT_TRUE(worker);
    EXPECT_EQ(worker->name(), "Slurm job 4711");
    EXPECT_EQ(words("sbatch"), std::vector<std::string>{"--parsable"});
    EXPECT_EQ(text("script"), script(batch()));
    worker->ask_to_stop();
    EXPECT_EQ(words("scancel"), (std::vector<std::string>{"--batch", "--signal=TERM", "4711"}));
    EXPECT_EQ(worker->ended(), 0);
    worker = start("slurm", batch());
    worker.reset();
    EXPECT_EQ(words("scancel"), std::vector<std::string>{"4711"});
}

TEST_F(Slurm, AJobStillInTheQueueHasNotEnded) {
    fake("sbatch", "echo 12");
    fake("squeue", "echo RUNNING");
    const auto worker = start("slurm", batch());
    ASSERT_TRUE(worker);
    EXPECT_EQ(worker->ended(), std::nullopt);
    worker->release();
}

TEST_F(Slurm, ARefusalOfSbatchKeepsItsWords) {
    fake("sbatch", "echo 'sbatch: error: invalid partition specified: nowhere' >&2; exit 1");
    const Error error = refusal("slurm", batch());
    EXPECT_EQ(error.code, ErrorCode::unavailable);
    EXPECT_NE(error.message.find("invalid partition"), std::string::npos) << error.message;
    fake("sbatch", "echo Submitted something");
    EXPECT_EQ(refusal("slurm", batch()).code, ErrorCode::corrupt);
}

TEST_F(Slurm, WithoutSlurmTheErrorNamesTheMissingProgram) {
    setenv("PATH", folder_.c_str(), 1);
    EXPECT_NE(refusal("slurm", batch()).message.find("sbatch"), std::string::npos);
}

TEST_F(Slurm, ALineThatWouldBecomeTwoOrACommandIsRefused) {
    fake("sbatch", "echo 1");
    for (const char* option : {"--a=b\nrm -rf ~", "--a=b c", "--a=$(id)", "--a='x'", "account=x"}) {
        WorkerOrder job = batch();
        job.batch.options = {option};
        EXPECT_EQ(refusal("slurm", job).code, ErrorCode::invalid_input) << option;
    }
    WorkerOrder brief = batch();
    brief.batch.time_limit = {60'000};
    EXPECT_NE(refusal("slurm", brief).message.find("4 minutes"), std::string::npos);
    EXPECT_TRUE(words("sbatch").empty());
}

TEST_F(Launchers, ACommandThatNeverEndsIsGivenUpAfterItsLimit) {
    fake("sleepy", "exec sleep 30");
    const auto answer = run_command({"sleepy"}, "", {200});
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, ErrorCode::timeout);
}

TEST_F(Launchers, QuotedWordsComeBackFromAShellAsTheyWere) {
    for (const std::string word :
         {"plain", "", "two words", "it's", "$HOME", "a\\b", "`id`", "*"}) {
        const auto answer = run_command({"sh", "-c", "printf %s " + quote_word(word)}, "", {5'000});
        ASSERT_TRUE(answer);
        EXPECT_EQ(answer->output, word);
    }
}

TEST_F(Launchers, AProgramThatIsStartedHasNoDescriptorOfOurs) {
    const int ours = fcntl(open("/dev/null", O_RDONLY), F_DUPFD, 777);
    ASSERT_GE(ours, 777);
    auto program =
        Process::start({"/bin/ls", "/proc/self/fd"}, Process::Input::none, folder_ / "ls.log");
    ASSERT_TRUE(program.ok()) << program.error().message;
    for (int i = 0; i < 1'000 && !program->ended(); ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    close(ours);
    EXPECT_EQ(text("ls.log"), "0\n1\n2\n3\n");  // and the folder that it lists
}

}  // namespace
}  // namespace bitsweep
