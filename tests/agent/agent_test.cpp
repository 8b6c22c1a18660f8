#include "worker/agent/agent.h"

#include <gtest/gtest.h>

#include <functional>

namespace bitsweep::agent {

namespace {

constexpr Duration heartbeat_every{1'000};
constexpr Duration lease{10'000};

RunResult result_of(char letter, OutcomeClass outcome = OutcomeClass::done) {
    RunResult result;
    result.key = {std::string(64, letter)};
    result.attempt = {1};
    result.outcome.outcome = outcome;
    return result;
}

Dispatch job(char letter, const std::string& device = "cpu", std::uint32_t attempt = 1) {
    Dispatch dispatch;
    dispatch.key = {std::string(64, letter)};
    dispatch.attempt = {attempt};
    dispatch.device = device;
    return dispatch;
}

// A machine with its clock; every command that a step gave must be claimed before the next.
class Agent : public testing::Test {
 protected:
    static Options options() {
        Options options;
        options.self.worker = {"w"};
        options.self.session = {"s"};
        options.self.devices = {{"cpu", "cpu"}, {"cuda:0", "card"}};
        options.patience = {60'000};
        options.hello_first = {250};
        options.hello_max = {1'000};
        options.resend = {5'000};
        return options;
    }

    void TearDown() override { expect_nothing(); }

    void step(const Event& event) {
        expect_nothing();
        commands_ = machine_.step(now_, event);
        next_ = 0;
    }

    void wait(std::int64_t ms) {
        now_ = now_ + Duration{ms};
        step(Tick{});
    }

    // The next command of type T, whatever was said before it.
    template <class T>
    T claim() {
        while (next_ < commands_.size() && std::holds_alternative<Say>(commands_[next_])) {
            ++next_;
        }
        if (next_ >= commands_.size()) {
            ADD_FAILURE() << "wanted one more command";
            return {};
        }
        const auto* command = std::get_if<T>(&commands_[next_++]);
        if (command == nullptr) {
            ADD_FAILURE() << "another command than the wanted one, index "
                          << commands_[next_ - 1].index();
            return {};
        }
        return *command;
    }

    template <class T>
    T claim_message() {
        const Send send = claim<Send>();
        const auto* message = std::get_if<T>(&send.message);
        if (message == nullptr) {
            ADD_FAILURE() << "another message than the wanted one, index " << send.message.index();
            return {};
        }
        return *message;
    }

    void expect_nothing() {
        for (; next_ < commands_.size(); ++next_) {
            EXPECT_TRUE(std::holds_alternative<Say>(commands_[next_]))
                << "a command nobody claimed, index " << commands_[next_].index();
        }
    }

    void welcome() {
        step(LinkUp{});
        (void)claim_message<Hello>();
        step(Received{Welcome{heartbeat_every, lease}});
    }

    void start(const Dispatch& dispatch) {
        step(Received{dispatch});
        EXPECT_EQ(claim<StartJob>().dispatch.key, dispatch.key);
        EXPECT_EQ(claim_message<Started>().device, dispatch.device);
    }

    TimePoint now_{1'000'000};
    Machine machine_{options(), now_};
    std::vector<Command> commands_;
    std::size_t next_ = 0;
};

TEST_F(Agent, GreetsWhenTheConnectionStandsAndNotBefore) {
    wait(500);
    expect_nothing();
    step(LinkUp{});
    EXPECT_EQ(claim_message<Hello>().worker.value, "w");
}

TEST_F(Agent, RepeatsItsHelloWithGrowingPausesUntilItIsWelcome) {
    step(LinkUp{});
    (void)claim_message<Hello>();
    wait(249);
    expect_nothing();
    for (const std::int64_t pause : {1, 500, 1'000, 1'000}) {
        wait(pause);
        (void)claim_message<Hello>();
    }
    wait(999);
    expect_nothing();
}

TEST_F(Agent, GivesUpWhenNoCoordinatorEverAnswers) {
    step(LinkDown{"connection refused: no coordinator answers"});
    wait(60'000);
    const Leave leave = claim<Leave>();
    ASSERT_TRUE(leave.error);
    EXPECT_EQ(leave.error->code, ErrorCode::unavailable);
    EXPECT_NE(leave.error->message.find("connection refused"), std::string::npos);
}

TEST_F(Agent, NeverGivesUpOnceItWasWelcome) {
    welcome();
    step(LinkDown{"gone"});
    wait(10'000'000);
    expect_nothing();
}

TEST_F(Agent, ARejectedKeyEndsTheWorkerWithTheReason) {
    step(LinkRejected{"handshake failed: the coordinator does not know our key"});
    const Leave leave = claim<Leave>();
    ASSERT_TRUE(leave.error);
    EXPECT_EQ(leave.error->code, ErrorCode::refused);
}

TEST_F(Agent, ARefusedHelloEndsTheWorkerWithTheReason) {
    step(LinkUp{});
    (void)claim_message<Hello>();
    step(Received{Refusal{ErrorCode::refused, "no such role"}});
    const Leave leave = claim<Leave>();
    ASSERT_TRUE(leave.error);
    EXPECT_NE(leave.error->message.find("no such role"), std::string::npos);
}

TEST_F(Agent, ACoordinatorOfAnotherProtocolEndsTheWorker) {
    welcome();
    step(Received{Refusal{ErrorCode::unsupported, "newer", protocol_version + 1}});
    const Leave leave = claim<Leave>();
    ASSERT_TRUE(leave.error);
    EXPECT_EQ(leave.error->code, ErrorCode::unsupported);
}

TEST_F(Agent, ABusyCoordinatorIsGreetedAgain) {
    step(LinkUp{});
    (void)claim_message<Hello>();
    step(Received{Refusal{ErrorCode::unavailable, "the database is away"}});
    wait(250);
    (void)claim_message<Hello>();
    expect_nothing();
}

TEST_F(Agent, SpeaksEveryHeartbeatAndNamesWhatRuns) {
    welcome();
    start(job('a'));
    wait(999);
    expect_nothing();
    wait(1);
    const Heartbeat heartbeat = claim_message<Heartbeat>();
    ASSERT_EQ(heartbeat.running.size(), 1u);
    EXPECT_EQ(heartbeat.running[0].key.value, std::string(64, 'a'));
}

TEST_F(Agent, KeepsAResultOnDiskBeforeItSendsItAndUntilItIsAcknowledged) {
    welcome();
    start(job('a'));
    step(JobEnded{result_of('a')});
    EXPECT_EQ(claim<KeepResult>().kept.result.key.value, std::string(64, 'a'));
    EXPECT_EQ(claim_message<ResultDelivery>().result.key.value, std::string(64, 'a'));
    step(Received{ResultAck{{std::string(64, 'a')}, {1}}});
    EXPECT_EQ(claim<DropResult>().key.value, std::string(64, 'a'));
    step(Received{ResultAck{{std::string(64, 'a')}, {1}}});
    expect_nothing();
}

TEST_F(Agent, SendsAnUnacknowledgedResultAgain) {
    welcome();
    start(job('a'));
    step(JobEnded{result_of('a')});
    (void)claim<KeepResult>();
    (void)claim_message<ResultDelivery>();
    for (int second = 1; second < 5; ++second) {
        wait(1'000);
        (void)claim_message<Heartbeat>();
    }
    wait(1'000);
    (void)claim_message<Heartbeat>();
    (void)claim_message<ResultDelivery>();
    expect_nothing();
}

TEST_F(Agent, AJobOutlivesTheCoordinatorAndItsResultFollowsTheNextWelcome) {
    welcome();
    start(job('a'));
    step(LinkDown{"the coordinator closed the connection"});
    step(JobEnded{result_of('a')});
    (void)claim<KeepResult>();
    step(LinkUp{});
    const Hello hello = claim_message<Hello>();
    ASSERT_EQ(hello.running.size(), 1u);  // done, but not acknowledged: not to be handed out again
    step(Received{Welcome{heartbeat_every, lease}});
    (void)claim_message<ResultDelivery>();
}

TEST_F(Agent, ResultsOfAnEarlierLifeAreDeliveredFirst) {
    Options with_results = options();
    with_results.undelivered = {{result_of('a'), ""}, {result_of('b'), ""}};
    machine_ = Machine(with_results, now_);
    step(LinkUp{});
    EXPECT_EQ(claim_message<Hello>().running.size(), 2u);
    step(Received{Welcome{heartbeat_every, lease}});
    (void)claim_message<ResultDelivery>();
    (void)claim_message<ResultDelivery>();
}

TEST_F(Agent, AResultGoesToTheDatabaseThatAskedForItAndToNoOther) {
    Options with_results = options();
    with_results.undelivered = {{result_of('a'), "first"}};
    machine_ = Machine(with_results, now_);
    step(LinkUp{});
    const Hello hello = claim_message<Hello>();
    EXPECT_EQ(hello.database, "first");
    EXPECT_EQ(hello.running.size(), 1u);
    step(Received{Welcome{heartbeat_every, lease, "second"}});
    start(job('a'));  // of the same key and attempt, and none of the second's results is here
    step(LinkDown{"the coordinator closed the connection"});
    step(LinkUp{});
    EXPECT_EQ(claim_message<Hello>().database, "second");
    step(Received{Welcome{heartbeat_every, lease, "first"}});
    (void)claim_message<ResultDelivery>();  // of the earlier life
    step(Received{ResultAck{{std::string(64, 'a')}, {1}}});
    EXPECT_EQ(claim<DropResult>().database, "first");
    step(JobEnded{result_of('a')});  // what the second asked for
    EXPECT_EQ(claim<KeepResult>().kept.database, "second");
    expect_nothing();
    step(Received{ResultAck{{std::string(64, 'a')}, {1}}});  // the first cannot have it
    expect_nothing();
    step(LinkUp{});
    (void)claim_message<Hello>();
    step(Received{Welcome{heartbeat_every, lease, "second"}});
    (void)claim_message<ResultDelivery>();
}

TEST_F(Agent, AJobOfOneNameWaitsForTheOtherDatabasesRunOfIt) {
    step(LinkUp{});
    (void)claim_message<Hello>();
    step(Received{Welcome{heartbeat_every, lease, "first"}});
    start(job('a'));
    step(LinkUp{});
    EXPECT_EQ(claim_message<Hello>().running.size(), 1u);
    step(Received{Welcome{heartbeat_every, lease, "second"}});
    step(Received{job('a')});
    expect_nothing();
    step(Received{Cancel{{std::string(64, 'b')}, {1}, "not asked for"}});
    expect_nothing();
    step(JobEnded{result_of('a')});
    EXPECT_EQ(claim<KeepResult>().kept.database, "first");
    EXPECT_EQ(claim<StartJob>().dispatch.key.value, std::string(64, 'a'));
    (void)claim_message<Started>();
    expect_nothing();
}

TEST_F(Agent, AnUnknownSessionIsAnsweredWithAHello) {
    welcome();
    start(job('a'));
    step(Received{Refusal{ErrorCode::not_found, "unknown session: say hello"}});
    EXPECT_EQ(claim_message<Hello>().running.size(), 1u);
}

TEST_F(Agent, ANameThatANewerProcessTookEndsTheWorker) {
    welcome();
    step(Received{Refusal{ErrorCode::already_exists, "a newer process took this name"}});
    EXPECT_TRUE(claim<Leave>().error);
}

TEST_F(Agent, GreetsACoordinatorAgainThatWasSilentForALease) {
    welcome();
    for (int second = 1; second < 10; ++second) {
        wait(1'000);
        (void)claim_message<Heartbeat>();
    }
    wait(1'000);
    (void)claim_message<Hello>();
    expect_nothing();
}

// libzmq's own heartbeat takes 40 s to see a connection that a router forgot.
TEST_F(Agent, AConnectionOnWhichNobodyAnswersIsGivenUpOnceAndTheNextOneGreetedOn) {
    welcome();
    now_ = now_ + lease;
    step(Tick{});
    (void)claim_message<Hello>();
    int hellos = 0;
    for (int waited = 0; waited < 4'900; waited += 100) {
        wait(100);
        for (; next_ < commands_.size(); ++next_) {
            EXPECT_TRUE(std::holds_alternative<Send>(commands_[next_]));
            ++hellos;
        }
    }
    EXPECT_EQ(hellos, 6);  // after 250, 750, 1,750, 2,750, 3,750 and 4,750 ms
    wait(100);
    (void)claim<Reconnect>();
    wait(60'000);
    expect_nothing();  // until the new connection stands
    step(LinkUp{});
    (void)claim_message<Hello>();
    step(Received{Welcome{heartbeat_every, lease}});
    expect_nothing();
}

TEST_F(Agent, ARepeatedDispatchStartsNothing) {
    welcome();
    start(job('a'));
    step(Received{job('a')});
    expect_nothing();
}

TEST_F(Agent, ADispatchOfAJobThatIsDoneIsAnsweredWithItsResult) {
    welcome();
    start(job('a'));
    step(JobEnded{result_of('a')});
    (void)claim<KeepResult>();
    (void)claim_message<ResultDelivery>();
    step(Received{job('a')});
    (void)claim_message<ResultDelivery>();
    expect_nothing();
}

TEST_F(Agent, ANewerAttemptReplacesTheRunningOne) {
    welcome();
    start(job('a'));
    step(Received{job('a', "cpu", 2)});
    EXPECT_EQ(claim<KillJob>().attempt.value, 1u);
    step(JobEnded{result_of('a', OutcomeClass::cancelled)});
    (void)claim<KeepResult>();
    (void)claim_message<ResultDelivery>();
    EXPECT_EQ(claim<StartJob>().dispatch.attempt.value, 2u);
    (void)claim_message<Started>();
}

TEST_F(Agent, TwoDevicesWorkAtTheSameTime) {
    welcome();
    start(job('a', "cpu"));
    start(job('b', "cuda:0"));
    expect_nothing();
}

TEST_F(Agent, ADispatchForABusyDeviceWaitsForItsEnd) {
    welcome();
    start(job('a'));
    step(Received{job('b')});
    expect_nothing();
    step(JobEnded{result_of('a')});
    (void)claim<KeepResult>();
    (void)claim_message<ResultDelivery>();
    EXPECT_EQ(claim<StartJob>().dispatch.key.value, std::string(64, 'b'));
    (void)claim_message<Started>();
}

TEST_F(Agent, ADispatchForADeviceThatIsNotHereIsRefused) {
    welcome();
    step(Received{job('a', "cuda:7")});
    EXPECT_NE(claim_message<Refusal>().reason.find("cuda:7"), std::string::npos);
}

TEST_F(Agent, ADispatchBeforeTheWelcomeStartsNothing) {
    step(LinkUp{});
    (void)claim_message<Hello>();
    step(Received{job('a')});
    expect_nothing();
}

TEST_F(Agent, ACancelledJobIsKilledOnceAndItsEndReported) {
    welcome();
    start(job('a'));
    step(Received{Cancel{{std::string(64, 'a')}, {1}, "a person said so"}});
    EXPECT_EQ(claim<KillJob>().reason, "a person said so");
    step(Received{Cancel{{std::string(64, 'a')}, {1}, "a person said so"}});
    expect_nothing();
    step(JobEnded{result_of('a', OutcomeClass::cancelled)});
    (void)claim<KeepResult>();
    (void)claim_message<ResultDelivery>();
}

TEST_F(Agent, ACancelOfAnotherAttemptTouchesNothing) {
    welcome();
    start(job('a', "cpu", 2));
    step(Received{Cancel{{std::string(64, 'a')}, {1}, "taken back"}});
    expect_nothing();
}

TEST_F(Agent, ADrainedWorkerFinishesDeliversAndSaysGoodbye) {
    welcome();
    start(job('a'));
    step(Received{Drain{}});
    step(Received{job('b')});
    expect_nothing();
    step(JobEnded{result_of('a')});
    (void)claim<KeepResult>();
    (void)claim_message<ResultDelivery>();
    step(Received{ResultAck{{std::string(64, 'a')}, {1}}});
    (void)claim<DropResult>();
    (void)claim_message<Goodbye>();
    EXPECT_FALSE(claim<Leave>().error);
}

TEST_F(Agent, AnIdleWorkerThatIsDrainedLeavesAtOnce) {
    welcome();
    step(DrainAsked{});
    (void)claim_message<Goodbye>();
    EXPECT_FALSE(claim<Leave>().error);
}

TEST_F(Agent, AStoppedWorkerHandsItsJobBackUnharmed) {
    welcome();
    start(job('a'));
    step(StopAsked{});
    (void)claim<KillJob>();
    step(JobEnded{result_of('a', OutcomeClass::cancelled)});
    (void)claim_message<Goodbye>();  // and no result `cancelled`, which would end the job for good
    EXPECT_FALSE(claim<Leave>().error);
}

TEST_F(Agent, AResultThatCameBeforeTheStopIsKept) {
    welcome();
    start(job('a'));
    step(StopAsked{});
    (void)claim<KillJob>();
    step(JobEnded{result_of('a', OutcomeClass::done)});
    (void)claim<KeepResult>();
    (void)claim_message<ResultDelivery>();
    (void)claim_message<Goodbye>();
    EXPECT_FALSE(claim<Leave>().error);
}

TEST_F(Agent, NothingHappensAfterItLeft) {
    welcome();
    step(StopAsked{});
    (void)claim_message<Goodbye>();
    (void)claim<Leave>();
    step(Received{job('a')});
    step(LinkUp{});
    expect_nothing();
}

TEST_F(Agent, WakesInTimeForWhatIsDueNext) {
    EXPECT_EQ(machine_.next_wake().unix_ms, now_.unix_ms + 60'000);
    step(LinkUp{});
    (void)claim_message<Hello>();
    EXPECT_EQ(machine_.next_wake().unix_ms, now_.unix_ms + 250);
    step(Received{Welcome{heartbeat_every, lease}});
    EXPECT_EQ(machine_.next_wake().unix_ms, now_.unix_ms + 1'000);
}

// A machine whose options are the test's own.
class AgentWith : public Agent {
 protected:
    void begin(const std::function<void(Options&)>& change) {
        Options own = options();
        change(own);
        machine_ = Machine(std::move(own), now_);
    }
};

TEST_F(AgentWith, SaysHowLongItStaysAndDrainsWhenTheTimeIsUp) {
    begin([this](Options& own) { own.until = now_ + Duration{30'000}; });
    now_ = now_ + Duration{10'000};
    step(LinkUp{});
    EXPECT_EQ(claim_message<Hello>().remaining.ms, 20'000);
    step(Received{Welcome{heartbeat_every, {60'000}}});
    start(job('a'));
    EXPECT_LE(machine_.next_wake().unix_ms, now_.unix_ms + 20'000);
    wait(20'000);
    (void)claim_message<Heartbeat>();
    step(Received{job('b', "cuda:0")});
    expect_nothing();  // nothing new is begun
    step(JobEnded{result_of('a')});
    (void)claim<KeepResult>();
    (void)claim_message<ResultDelivery>();
    step(Received{ResultAck{{std::string(64, 'a')}, {1}}});
    (void)claim<DropResult>();
    (void)claim_message<Goodbye>();
    EXPECT_FALSE(claim<Leave>().error);
}

TEST_F(AgentWith, ClearsItsDevicesOnceAndNotAfterEveryLostConnection) {
    begin([](Options& own) { own.self.clear = true; });
    step(LinkUp{});
    EXPECT_TRUE(claim_message<Hello>().clear);
    wait(250);
    EXPECT_TRUE(claim_message<Hello>().clear);  // the first may have been lost
    step(Received{Welcome{heartbeat_every, lease}});
    step(LinkDown{"gone"});
    step(LinkUp{});
    EXPECT_FALSE(claim_message<Hello>().clear);
}

TEST_F(Agent, TellsWhatChangedOnItsDevicesAndNothingElse) {
    welcome();
    step(DevicesSeen{{{"cpu", 1'000'000, ""}, {"cuda:0", 500, ""}}});
    wait(1'000);
    EXPECT_EQ(claim_message<Heartbeat>().devices.size(), 2u);
    step(DevicesSeen{{{"cpu", 1'010'000, ""}, {"cuda:0", 500, "pid 71, python"}}});
    wait(1'000);
    const Heartbeat second = claim_message<Heartbeat>();
    ASSERT_EQ(second.devices.size(), 1u);
    EXPECT_EQ(second.devices[0].foreign, "pid 71, python");
    step(DevicesSeen{{{"cpu", 900'000, ""}}});
    wait(1'000);
    EXPECT_EQ(claim_message<Heartbeat>().devices.at(0).free_bytes, 900'000u);
}

TEST_F(Agent, TellsEverythingAgainToACoordinatorThatStartedAgain) {
    welcome();
    step(DevicesSeen{{{"cpu", 1'000'000, ""}}});
    wait(1'000);
    EXPECT_EQ(claim_message<Heartbeat>().devices.size(), 1u);
    step(LinkDown{"gone"});
    step(LinkUp{});
    (void)claim_message<Hello>();
    step(Received{Welcome{heartbeat_every, lease}});
    wait(1'000);
    EXPECT_EQ(claim_message<Heartbeat>().devices.size(), 1u);
}

TEST_F(Agent, ARevokedWorkerAsksOnceMoreKillsItsJobAndLeaves) {
    welcome();
    start(job('a'));
    step(Received{Refusal{ErrorCode::refused, "the key is not authorised any more"}});
    (void)claim_message<Hello>();
    step(Received{Refusal{ErrorCode::refused, "the key is not authorised any more"}});
    (void)claim<KillJob>();
    const Leave leave = claim<Leave>();
    ASSERT_TRUE(leave.error);
    EXPECT_EQ(leave.error->code, ErrorCode::refused);
}

}  // namespace
}  // namespace bitsweep::agent
