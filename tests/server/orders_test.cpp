// What people order: over the loop, through the store, through a restart.
#include "tests/server/loop_fixture.h"

namespace bitsweep {
namespace {

class Orders : public LoopTest {
 protected:
    Controlled order(ControlAction action, const std::string& target,
                     const std::string& reason = {}) {
        say(client_peer(), Control{action, target, {}, reason});
        turn();
        const auto done = take<Controlled>("client");
        EXPECT_TRUE(done);
        return done.value_or(Controlled{});
    }
    Refusal refused(ControlAction action, const std::string& target) {
        say(client_peer(), Control{action, target, {}, {}});
        turn();
        const auto no = take<Refusal>("client");
        EXPECT_TRUE(no);
        return no.value_or(Refusal{});
    }
    void submit(int cells, std::int64_t max_fails = 0) {
        Submit made = submission(cells);
        made.max_fails = max_fails;
        say(client_peer(), made);
        turn();
        EXPECT_TRUE(take<Submitted>("client"));
    }
    std::string state_of(const std::string& experiment) {
        return status(experiment).experiments.at(0).state;
    }
    void restart() { start(RoleCheck::by_role); }
    void join(const std::string& name = "w1") {
        say(worker_peer(name), hello(name));
        turn();
    }
};

TEST_F(Orders, a_paused_experiment_stays_paused_through_a_restart) {
    submit(2);
    const Controlled done = order(ControlAction::pause, "sweep", "lunch");
    EXPECT_EQ(done.jobs, 2);
    EXPECT_EQ(done.words, "paused sweep: 2 jobs held until `bitsweep resume sweep`");
    restart();
    join();
    EXPECT_FALSE(take<Dispatch>("w1"));
    EXPECT_EQ(state_of("sweep"), "paused: lunch");
    EXPECT_EQ(status("sweep").experiments.at(0).reasons.at(0),
              "2 jobs: experiment sweep is paused: lunch");
    order(ControlAction::resume, "sweep");
    EXPECT_TRUE(take<Dispatch>("w1"));
    EXPECT_EQ(state_of("sweep"), "running");
}

TEST_F(Orders, an_order_is_answered_after_the_commit_that_keeps_it) {
    submit(1);
    bool stored = false;
    store_.after_commit = [&] { stored = store_.contents().events.back().first == "paused"; };
    router_.on_send = [&](const Message& message) {
        if (std::holds_alternative<Controlled>(message)) {
            EXPECT_TRUE(stored);
        }
    };
    order(ControlAction::pause, "sweep");
    EXPECT_TRUE(stored);
}

TEST_F(Orders, while_the_store_is_away_an_order_is_told_to_come_again) {
    submit(1);
    store_.fault = [] { return make_error(ErrorCode::io, "disk full"); };
    join();
    turn();
    const Refusal no = refused(ControlAction::cancel, "sweep");
    EXPECT_EQ(no.code, ErrorCode::unavailable);
    EXPECT_NE(no.reason.find("disk full"), std::string::npos);
}

TEST_F(Orders, max_fails_ends_the_experiment_and_is_kept_through_a_restart) {
    submit(4, 2);
    join();
    const auto first = take<Dispatch>("w1");
    ASSERT_TRUE(first);
    say(worker_peer(), result_of(*first, "w1-1", OutcomeClass::failure));
    turn();
    const auto second = take<Dispatch>("w1");
    ASSERT_TRUE(second);
    restart();  // the first failure is not forgotten
    Hello again = hello();
    again.running = {{second->key, second->attempt}};
    say(worker_peer(), again);
    say(worker_peer(), result_of(*second, "w1-1", OutcomeClass::failure));
    turn();
    EXPECT_FALSE(take<Dispatch>("w1"));
    const ExperimentStatus view = status("sweep").experiments.at(0);
    EXPECT_EQ(view.state, "stopped: 2 jobs failed, max_fails is 2");
    EXPECT_EQ(view.jobs.at("failed"), 2);
    EXPECT_EQ(view.jobs.at("cancelled"), 2);
    restart();
    EXPECT_EQ(state_of("sweep"), "stopped: 2 jobs failed, max_fails is 2");
    EXPECT_EQ(order(ControlAction::resume, "sweep").jobs, 2);
    EXPECT_EQ(state_of("sweep"), "running");
}

TEST_F(Orders, a_device_that_was_set_aside_stays_so_through_restarts_of_both_sides) {
    submit(1);
    join();
    const auto dispatch = take<Dispatch>("w1");
    ASSERT_TRUE(dispatch);
    say(worker_peer(), result_of(*dispatch, "w1-1", OutcomeClass::gpu_fault));
    turn();
    restart();
    Hello fresh = hello();
    fresh.session = SessionId{"w1-2"};
    say(worker_peer(), fresh);
    turn();
    EXPECT_FALSE(take<Dispatch>("w1"));
    EXPECT_EQ(status().workers.at(0).devices.at(0).facts.at("set_aside"), "some words");
    fresh.session = SessionId{"w1-3"};
    fresh.clear = true;
    say(worker_peer(), fresh);
    turn();
    EXPECT_TRUE(take<Dispatch>("w1"));
    restart();
    EXPECT_TRUE(loop_->scheduler().state().quarantines.empty());
}

TEST_F(Orders, a_reader_may_ask_why_and_not_order) {
    submit(1);
    const Peer reader{"reader", "reader", Role::read, ""};
    say(reader, Control{ControlAction::cancel, "sweep", {}, {}});
    turn();
    EXPECT_EQ(take<Refusal>("reader").value_or(Refusal{}).code, ErrorCode::refused);
    const std::string key = loop_->scheduler().state().job(0).key().value;
    say(reader, ExplainRequest{key.substr(0, 6)});
    turn();
    const auto told = take<Explanation>("reader");
    ASSERT_TRUE(told);
    EXPECT_EQ(told->key.value, key);
    EXPECT_EQ(told->state, "waiting");
    EXPECT_EQ(told->lines.at(0), "no worker is attached");
}

TEST_F(Orders, an_order_for_nobody_names_what_lists_the_names) {
    EXPECT_EQ(refused(ControlAction::pause, "nothing").reason,
              "no experiment nothing; `bitsweep status` lists them");
    EXPECT_EQ(refused(ControlAction::drain, "nobody").reason,
              "no worker nobody is attached; `bitsweep status` lists them");
    EXPECT_EQ(refused(ControlAction::clear, "nobody").reason,
              "no device of worker nobody is set aside");
}

TEST_F(Orders, where_a_job_ran_out_of_memory_it_does_not_go_again_after_a_restart) {
    Submit made = submission(1);
    made.cells[0].spec.gpu = "A100";
    say(client_peer(), made);
    Hello cards = hello();
    cards.devices = {{"cuda:0", "A100-40G", "A100", 40ull << 30, 0, {}},
                     {"cuda:1", "A100-80G", "A100", 80ull << 30, 0, {}}};
    say(worker_peer(), cards);
    turn();
    const auto dispatch = take<Dispatch>("w1");
    ASSERT_TRUE(dispatch);
    ASSERT_EQ(dispatch->device, "cuda:0");
    say(worker_peer(), result_of(*dispatch, "w1-1", OutcomeClass::out_of_gpu_memory));
    turn();
    const auto second = take<Dispatch>("w1");
    ASSERT_TRUE(second);
    EXPECT_EQ(second->device, "cuda:1");
    restart();
    const scheduler::Job& job = loop_->scheduler().state().job(0);
    EXPECT_EQ(job.told().kinds_tried, std::vector<std::string>{"A100-40G"});
    EXPECT_EQ(job.told().outgrew_bytes, 40ull << 30);
}

}  // namespace
}  // namespace bitsweep
