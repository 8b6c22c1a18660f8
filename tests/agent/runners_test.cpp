#include "worker/agent/runners.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <thread>

#include "tests/temp_folder.h"

namespace bitsweep::agent {

namespace {

TimePoint now() {
    return {std::chrono::duration_cast<std::chrono::milliseconds>(
                std::chrono::steady_clock::now().time_since_epoch())
                .count()};
}

class RunnersTest : public testing::Test {
 protected:
    void SetUp() override {
        signal(SIGPIPE, SIG_IGN);
        settings_.program = FAKE_RUNNER;
        settings_.logs = folder_;
        settings_.limits.grace = {200};
        settings_.limits.silence = {20'000};
    }

    static Dispatch job(const std::string& prompt, char letter = 'a') {
        Dispatch dispatch;
        dispatch.key = {std::string(64, letter)};
        dispatch.attempt = {1};
        dispatch.device = "cpu";
        dispatch.timeout = {20'000};
        dispatch.spec.model.name = "llama-nano";
        dispatch.spec.method = "fp16";
        dispatch.spec.protocol = Protocol::quick;
        dispatch.spec.prompt = prompt;
        return dispatch;
    }

    static std::vector<RunResult> wait(Runners& runners, std::size_t count = 1) {
        std::vector<RunResult> all;
        for (int i = 0; i < 2'000 && all.size() < count; ++i) {
            for (RunResult& result : runners.advance(now())) {
                all.push_back(std::move(result));
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
        return all;
    }

    RunResult run(const Dispatch& dispatch) {
        Runners runners(settings_);
        runners.start(now(), dispatch);
        const auto results = wait(runners);
        EXPECT_EQ(results.size(), 1u);
        return results.empty() ? RunResult() : results[0];
    }

    std::string log_of(const Dispatch& dispatch) {
        std::ifstream stream(folder_ / (dispatch.key.value + "-1.log"));
        return {std::istreambuf_iterator<char>(stream), {}};
    }

    TempFolder folder_;
    RunnerSettings settings_;
};

TEST_F(RunnersTest, AGoodJobComesBackAsItsRunnerToldIt) {
    const RunResult result = run(job("ok"));
    EXPECT_EQ(result.outcome.outcome, OutcomeClass::done);
    EXPECT_EQ(result.key.value, std::string(64, 'a'));
    EXPECT_EQ(result.measurements.at(0).metric, "fake_pid");
}

TEST_F(RunnersTest, AFailureThatTheRunnerReportsStaysAFailure) {
    EXPECT_EQ(run(job("fail")).outcome.outcome, OutcomeClass::failure);
}

TEST_F(RunnersTest, ASegmentationFaultIsACrashWithTheTailOfTheLogAsEvidence) {
    const RunResult result = run(job("segfault"));
    EXPECT_EQ(result.outcome.outcome, OutcomeClass::crash);
    EXPECT_NE(result.outcome.message.find("signal 11"), std::string::npos);
    EXPECT_NE(result.outcome.evidence.find("about to touch"), std::string::npos);
}

TEST_F(RunnersTest, AnExitStatusWithoutAResultIsACrash) {
    const RunResult result = run(job("exit 3"));
    EXPECT_EQ(result.outcome.outcome, OutcomeClass::crash);
    EXPECT_NE(result.outcome.message.find("exit status 3"), std::string::npos);
    EXPECT_NE(result.outcome.evidence.find("giving up"), std::string::npos);
}

TEST_F(RunnersTest, AFailedAllocationIsOutOfMemory) {
    EXPECT_EQ(run(job("bad_alloc")).outcome.outcome, OutcomeClass::out_of_memory);
}

TEST_F(RunnersTest, TheDevicesFailedAllocationIsOutOfGpuMemory) {
    EXPECT_EQ(run(job("cuda out of memory")).outcome.outcome, OutcomeClass::out_of_gpu_memory);
}

TEST_F(RunnersTest, AHangEndsAtTheJobsTimeLimit) {
    Dispatch dispatch = job("hang");
    dispatch.timeout = {150};
    const RunResult result = run(dispatch);
    EXPECT_EQ(result.outcome.outcome, OutcomeClass::timeout);
    EXPECT_EQ(result.outcome.message, "timeout after 150 ms");
}

TEST_F(RunnersTest, SilenceEndsAJobBeforeItsTimeLimit) {
    settings_.limits.silence = {150};
    const RunResult result = run(job("hang"));
    EXPECT_EQ(result.outcome.outcome, OutcomeClass::timeout);
    EXPECT_EQ(result.outcome.message, "no progress for 150 ms");
}

TEST_F(RunnersTest, ProgressKeepsAJobAlive) {
    settings_.limits.silence = {300};
    EXPECT_EQ(run(job("work 900")).outcome.outcome, OutcomeClass::done);
}

TEST_F(RunnersTest, ARunnerThatIgnoresSigtermIsKilledAfterTheGrace) {
    Dispatch dispatch = job("hang and ignore SIGTERM");
    dispatch.timeout = {300};
    const RunResult result = run(dispatch);
    EXPECT_EQ(result.outcome.outcome, OutcomeClass::timeout);
    EXPECT_NE(result.outcome.evidence.find("signal 9"), std::string::npos)
        << result.outcome.evidence;
}

TEST_F(RunnersTest, GarbageOnTheResultDescriptorIsACrashThatQuotesTheReason) {
    const RunResult result = run(job("garbage"));
    EXPECT_EQ(result.outcome.outcome, OutcomeClass::crash);
    EXPECT_NE(result.outcome.evidence.find("on the result descriptor"), std::string::npos);
}

TEST_F(RunnersTest, HalfAResultIsACrash) {
    EXPECT_EQ(run(job("half")).outcome.outcome, OutcomeClass::crash);
}

TEST_F(RunnersTest, TheResultOfAnotherJobIsACrashOfThisOne) {
    const RunResult result = run(job("another job"));
    EXPECT_EQ(result.outcome.outcome, OutcomeClass::crash);
    EXPECT_EQ(result.key.value, std::string(64, 'a'));
}

TEST_F(RunnersTest, NoiseOnStandardOutputCorruptsNoResultAndLandsInTheLog) {
    const RunResult result = run(job("noise"));
    EXPECT_EQ(result.outcome.outcome, OutcomeClass::done);
    EXPECT_NE(log_of(job("noise")).find("a library that prints"), std::string::npos);
}

TEST_F(RunnersTest, ACrashAfterTheResultChangesNothing) {
    EXPECT_EQ(run(job("crash after the result")).outcome.outcome, OutcomeClass::done);
}

TEST_F(RunnersTest, ACancelledJobIsKilledAndSaysWhy) {
    Runners runners(settings_);
    const Dispatch dispatch = job("hang");
    runners.start(now(), dispatch);
    (void)runners.advance(now());
    runners.kill(now(), dispatch.key, dispatch.attempt, "a person said so");
    const auto results = wait(runners);
    ASSERT_EQ(results.size(), 1u);
    EXPECT_EQ(results[0].outcome.outcome, OutcomeClass::cancelled);
    EXPECT_EQ(results[0].outcome.message, "a person said so");
}

TEST_F(RunnersTest, ARunnerThatCannotStartIsAFailureWithTheSystemsWords) {
    settings_.program = folder_ / "nothing-here";
    const RunResult result = run(job("ok"));
    EXPECT_EQ(result.outcome.outcome, OutcomeClass::failure);
    EXPECT_NE(result.outcome.message.find("No such file"), std::string::npos);
}

double pid_in(const RunResult& result) {
    return result.measurements.at(0).value;
}

TEST_F(RunnersTest, QuickJobsOfOneModelShareAProcess) {
    Runners runners(settings_);
    runners.start(now(), job("ok", 'a'));
    const auto first = wait(runners);
    runners.start(now(), job("ok", 'b'));
    const auto second = wait(runners);
    ASSERT_TRUE(first.size() == 1 && second.size() == 1);
    EXPECT_EQ(pid_in(first[0]), pid_in(second[0]));
}

TEST_F(RunnersTest, AnotherModelGetsAnotherProcess) {
    Runners runners(settings_);
    runners.start(now(), job("ok", 'a'));
    const auto first = wait(runners);
    Dispatch other = job("ok", 'b');
    other.spec.model.name = "gpt2-nano";
    runners.start(now(), other);
    const auto second = wait(runners);
    ASSERT_TRUE(first.size() == 1 && second.size() == 1);
    EXPECT_NE(pid_in(first[0]), pid_in(second[0]));
}

TEST_F(RunnersTest, EveryOtherProtocolMeasuresAFreshProcess) {
    for (const Protocol protocol :
         {Protocol::standard, Protocol::headline, Protocol::seed_report}) {
        Runners runners(settings_);
        Dispatch dispatch = job("ok", 'a');
        dispatch.spec.protocol = protocol;
        runners.start(now(), dispatch);
        const auto first = wait(runners);
        dispatch.key = {std::string(64, 'b')};
        runners.start(now(), dispatch);
        const auto second = wait(runners);
        ASSERT_TRUE(first.size() == 1 && second.size() == 1);
        EXPECT_NE(pid_in(first[0]), pid_in(second[0]));
    }
}

TEST_F(RunnersTest, ACrashOfASharedProcessHurtsOnlyTheJobAtHand) {
    Runners runners(settings_);
    runners.start(now(), job("ok", 'a'));
    EXPECT_EQ(wait(runners).at(0).outcome.outcome, OutcomeClass::done);
    runners.start(now(), job("segfault", 'b'));
    EXPECT_EQ(wait(runners).at(0).outcome.outcome, OutcomeClass::crash);
    runners.start(now(), job("ok", 'c'));
    EXPECT_EQ(wait(runners).at(0).outcome.outcome, OutcomeClass::done);
}

TEST_F(RunnersTest, AnIdleRunnerGivesItsMemoryBack) {
    settings_.idle = {100};
    Runners runners(settings_);
    runners.start(now(), job("ok"));
    const auto results = wait(runners);
    ASSERT_EQ(results.size(), 1u);
    const auto pid = static_cast<pid_t>(pid_in(results[0]));
    EXPECT_EQ(kill(pid, 0), 0);
    for (int i = 0; i < 200 && kill(pid, 0) == 0; ++i) {
        (void)runners.advance(now());
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    EXPECT_NE(kill(pid, 0), 0);
}

TEST_F(RunnersTest, AJobThatHoldsMoreThanTheLimitIsOutOfMemoryWithTheFigures) {
    settings_.memory = 64u << 20;
    const RunResult result = run(job("eat memory"));
    EXPECT_EQ(result.outcome.outcome, OutcomeClass::out_of_memory);
    EXPECT_NE(result.outcome.message.find("limit is 64 MiB"), std::string::npos)
        << result.outcome.message;
}

TEST_F(RunnersTest, TheKernelTakesARunnerBeforeItsWorker) {
    Runners runners(settings_);
    runners.start(now(), job("hang"));
    const auto living = runners.living();
    ASSERT_EQ(living.size(), 1u);
    EXPECT_EQ(living[0].device, "cpu");
    std::ifstream stream("/proc/" + std::to_string(living[0].pid) + "/oom_score_adj");
    int score = 0;
    stream >> score;
    EXPECT_EQ(score, 500);
}

TEST(DeviceWatchTest, TheCpusFreeMemoryIsThatOfTheKernel) {
    const DeviceWatch watch(std::vector<DeviceInfo>{{"cpu", "cpu"}});
    const auto states = watch.look({});
    ASSERT_EQ(states.size(), 1u);
    EXPECT_EQ(states[0].id, "cpu");
    EXPECT_GT(states[0].free_bytes, 1u << 20);
    EXPECT_EQ(states[0].foreign, "");
}

TEST(DeviceWatchTest, WhatAnOwnRunnerHoldsCountsAsFree) {
    std::vector<char> held(64u << 20, 'x');
    ASSERT_GE(resident_bytes(getpid()), held.size());
    const DeviceWatch watch(std::vector<DeviceInfo>{{"cpu", "cpu"}});
    const std::uint64_t alone = watch.look({})[0].free_bytes;
    const std::uint64_t with_ours = watch.look({{"cpu", getpid()}})[0].free_bytes;
    EXPECT_GT(with_ours, alone + (32u << 20));
}

TEST_F(RunnersTest, NoRunnerOutlivesItsOwner) {
    pid_t pid = 0;
    {
        Runners runners(settings_);
        runners.start(now(), job("ok"));
        pid = static_cast<pid_t>(pid_in(wait(runners).at(0)));
        runners.start(now(), job("hang", 'b'));
    }
    EXPECT_NE(kill(pid, 0), 0);
}

TEST(OutcomeOf, SignalNineIsOutOfMemoryOnlyWithTheKernelsEvidence) {
    RunnerEnd end;
    end.signal = SIGKILL;
    EXPECT_EQ(outcome_of(end).outcome, OutcomeClass::crash);
    end.oom_note = "the kernel counted 1 out-of-memory kills";
    const Outcome outcome = outcome_of(end);
    EXPECT_EQ(outcome.outcome, OutcomeClass::out_of_memory);
    EXPECT_NE(outcome.evidence.find("counted 1"), std::string::npos);
}

TEST(OutcomeOf, ADeviceErrorInTheLogIsAGpuFault) {
    RunnerEnd end;
    end.exit_status = 1;
    end.log_tail = "CUDA error: an illegal memory access was encountered";
    EXPECT_EQ(outcome_of(end).outcome, OutcomeClass::gpu_fault);
}

TEST(OutcomeOf, ATimeoutWinsOverTheSignalThatCarriedItOut) {
    RunnerEnd end;
    end.signal = SIGKILL;
    end.oom_note = "the kernel counted 1 out-of-memory kills";
    end.cause = StopCause::deadline;
    end.cause_words = "timeout after 1 s";
    EXPECT_EQ(outcome_of(end).outcome, OutcomeClass::timeout);
}

TEST(JobWatchTest, EachSignalIsGivenOnce) {
    WatchLimits limits;
    limits.timeout = {1'000};
    limits.grace = {500};
    JobWatch watch(limits, {0});
    EXPECT_EQ(watch.advance({999}), Urge::none);
    EXPECT_EQ(watch.advance({1'000}), Urge::terminate);
    EXPECT_EQ(watch.advance({1'499}), Urge::none);
    EXPECT_EQ(watch.next_wake().unix_ms, 1'500);
    EXPECT_EQ(watch.advance({1'500}), Urge::kill);
    EXPECT_EQ(watch.advance({9'000}), Urge::none);
    EXPECT_EQ(watch.cause(), StopCause::deadline);
}

TEST(JobWatchTest, ACancelAfterATimeoutDoesNotRenameIt) {
    WatchLimits limits;
    limits.timeout = {1'000};
    JobWatch watch(limits, {0});
    (void)watch.advance({1'000});
    watch.cancel({1'001}, "late");
    EXPECT_EQ(watch.cause(), StopCause::deadline);
}

TEST_F(RunnersTest, WhatAChildPrintsBeforeItsFirstJobIsInThatJobsLog) {
    const auto child = Child::start({"/bin/sh", "-c", "echo cannot start; exit 127"});
    ASSERT_TRUE(child.ok()) << child.error().message;
    for (int i = 0; i < 1'000 && (*child)->log_tail().empty(); ++i) {
        (*child)->exchange();
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    (*child)->log_to(folder_ / "job.log");
    EXPECT_EQ((*child)->log_tail(), "cannot start\n");
    std::ifstream stream(folder_ / "job.log");
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(stream), {}), "cannot start\n");
}

TEST_F(RunnersTest, AChildHasTheDescriptorsThatItWasHandedAndNoOther) {
    // As a library opens files: not closed on exec. The number is one that a listing cannot have.
    const int ours = fcntl(open("/dev/null", O_RDONLY), F_DUPFD, 777);
    ASSERT_GE(ours, 777);
    const auto child = Child::start({"/bin/ls", "/proc/self/fd"});
    ASSERT_TRUE(child.ok()) << child.error().message;
    for (int i = 0; i < 1'000 && !(*child)->reap(); ++i) {
        (*child)->exchange();
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    close(ours);
    // Its own standard ones, descriptor 3, and the folder that it lists.
    EXPECT_EQ((*child)->log_tail(), "0\n1\n2\n3\n4\n");
}

}  // namespace
}  // namespace bitsweep::agent
