// Persist, then send; what happens when the store goes away; who may say what.
#include "tests/server/loop_fixture.h"

#include <algorithm>

#include "schemas/codec.h"

namespace bitsweep {
namespace {

class ServerLoop : public LoopTest {};

TEST_F(ServerLoop, a_job_goes_from_submission_to_stored_result) {
    say(worker_peer(), hello());
    say(client_peer(), submission(1));
    turn();
    EXPECT_TRUE(take<Welcome>("w1"));
    const auto submitted = take<Submitted>("client");
    ASSERT_TRUE(submitted);
    EXPECT_EQ(submitted->cells, 1);
    EXPECT_EQ(submitted->new_cells, 1);
    EXPECT_EQ(submitted->impossible, 0);
    const auto dispatch = take<Dispatch>("w1");
    ASSERT_TRUE(dispatch);
    say(worker_peer(), result_of(*dispatch));
    turn();
    const auto ack = take<ResultAck>("w1");
    ASSERT_TRUE(ack);
    EXPECT_EQ(ack->key, dispatch->key);
    EXPECT_TRUE(router_.sent.empty());
    const FinishedRun& run = store_.contents().runs.at({dispatch->key, dispatch->attempt});
    EXPECT_EQ(run.worker.value, "w1");
    EXPECT_EQ(run.device_name, "some CPU");
    EXPECT_EQ(run.result.measurements.at(0).value, 12.5);
    EXPECT_EQ(store_.job(dispatch->key)->state, "done");
}

TEST_F(ServerLoop, every_message_leaves_after_the_commit_that_it_depends_on) {
    std::vector<std::string> order;
    store_.after_commit = [&] { order.push_back("commit"); };
    router_.on_send = [&](const Message& message) {
        if (std::holds_alternative<Dispatch>(message)) {
            order.push_back("dispatch");
        } else if (std::holds_alternative<ResultAck>(message)) {
            order.push_back("ack");
        } else if (std::holds_alternative<Submitted>(message)) {
            order.push_back("submitted");
        }
    };
    say(worker_peer(), hello());
    turn();
    order.clear();
    say(client_peer(), submission(1));
    turn();
    EXPECT_EQ(order, (std::vector<std::string>{"commit", "dispatch", "submitted"}));
    order.clear();
    say(worker_peer(), result_of(*take<Dispatch>("w1")));
    turn();
    EXPECT_EQ(order, (std::vector<std::string>{"commit", "ack"}));
}

TEST_F(ServerLoop, the_results_of_one_turn_share_one_transaction) {
    std::vector<Dispatch> dispatches;
    say(client_peer(), submission(8));
    for (int i = 0; i < 8; ++i) {
        say(worker_peer("w" + std::to_string(i)), hello("w" + std::to_string(i)));
    }
    turn();
    for (int i = 0; i < 8; ++i) {
        const std::string name = "w" + std::to_string(i);
        const auto dispatch = take<Dispatch>(name);
        ASSERT_TRUE(dispatch);
        say(worker_peer(name), result_of(*dispatch, name + "-1"));
    }
    const int before = store_.transactions;
    turn();
    EXPECT_EQ(store_.transactions, before + 1);
    EXPECT_EQ(store_.contents().runs.size(), 8u);
}

class StoreTrouble : public ServerLoop {
 protected:
    // One job runs on w1, one waits; then the disk is full.
    Dispatch run_one_and_fill_the_disk() {
        say(worker_peer(), hello());
        say(client_peer(), submission(2));
        turn();
        const Dispatch dispatch = take<Dispatch>("w1").value();
        store_.fault = [] { return make_error(ErrorCode::io, "database or disk is full"); };
        say(worker_peer(), result_of(dispatch));
        turn();
        router_.sent.clear();
        return dispatch;
    }
};

TEST_F(StoreTrouble, nothing_is_acknowledged_or_handed_out_and_status_says_why) {
    const Dispatch dispatch = run_one_and_fill_the_disk();
    say(worker_peer(), result_of(dispatch));
    turn_after(50);
    EXPECT_FALSE(take<ResultAck>("w1"));
    EXPECT_FALSE(take<Dispatch>("w1"));
    EXPECT_EQ(status().state, "stopped: database or disk is full");
    EXPECT_EQ(std::count(events_.begin(), events_.end(), "stopped"), 1);
}

TEST_F(StoreTrouble, heartbeats_and_hellos_are_answered_meanwhile) {
    run_one_and_fill_the_disk();
    say(worker_peer(), Heartbeat{SessionId{"w1-1"}, {}});
    say(worker_peer("w2"), hello("w2"));
    turn_after(3'000);
    EXPECT_TRUE(take<Welcome>("w1"));
    EXPECT_TRUE(take<Welcome>("w2"));
}

TEST_F(StoreTrouble, a_submission_is_told_to_come_again) {
    run_one_and_fill_the_disk();
    say(client_peer(), submission(1, "other"));
    turn_after(50);
    const auto refusal = take<Refusal>("client");
    ASSERT_TRUE(refusal);
    EXPECT_EQ(refusal->code, ErrorCode::unavailable);
    EXPECT_EQ(refusal->reason, "the coordinator is stopped: database or disk is full");
}

TEST_F(StoreTrouble, it_is_tried_again_with_growing_pauses_not_in_a_circle) {
    run_one_and_fill_the_disk();
    const int before = store_.transactions;
    for (int i = 0; i < 100; ++i) {
        turn_after(100);  // ten seconds
    }
    EXPECT_GE(store_.transactions - before, 3);
    EXPECT_LE(store_.transactions - before, 8);
}

TEST_F(StoreTrouble, when_the_store_works_again_everything_goes_on_and_nothing_is_lost) {
    const Dispatch dispatch = run_one_and_fill_the_disk();
    turn_after(60'000);
    store_.fault = nullptr;
    turn_after(10'000);
    turn();
    EXPECT_EQ(store_.job(dispatch.key)->state, "done");
    EXPECT_TRUE(take<ResultAck>("w1"));
    EXPECT_TRUE(take<Dispatch>("w1")) << "decided before the disk was full, sent afterwards";
    EXPECT_EQ(status().state, "running");
    EXPECT_EQ(std::count(events_.begin(), events_.end(), "resumed"), 1);
}

TEST_F(StoreTrouble, a_result_that_came_meanwhile_is_taken_afterwards) {
    say(worker_peer(), hello());
    say(worker_peer("w2"), hello("w2"));
    say(client_peer(), submission(2));
    turn();
    const Dispatch first = take<Dispatch>("w1").value();
    const Dispatch second = take<Dispatch>("w2").value();
    store_.fault = [] { return make_error(ErrorCode::io, "locked"); };
    say(worker_peer(), result_of(first));
    turn();
    say(worker_peer("w2"), result_of(second, "w2-1"));
    turn_after(50);
    EXPECT_FALSE(take<ResultAck>("w2"));
    store_.fault = nullptr;
    turn_after(10'000);
    EXPECT_TRUE(take<ResultAck>("w2"));
    EXPECT_EQ(store_.job(second.key)->state, "done");
}

TEST_F(ServerLoop, what_a_turn_has_for_one_peer_leaves_together_and_in_its_order) {
    say(worker_peer(), hello());
    say(worker_peer("w2"), hello("w2"));
    say(client_peer(), submission(4));
    turn();
    const Dispatch first = take<Dispatch>("w1").value();
    const Dispatch second = take<Dispatch>("w2").value();
    router_.sent.clear();
    router_.together.clear();
    say(worker_peer(), result_of(first));
    say(worker_peer("w2"), result_of(second, "w2-1"));
    say(worker_peer(), Heartbeat{SessionId{"w1-1"}, {}});
    turn_after(5'000);
    const std::vector<std::pair<std::string, std::size_t>> expected = {{"w1", 3}, {"w2", 2}};
    EXPECT_EQ(router_.together, expected);
    ASSERT_EQ(router_.sent.size(), 5u);
    EXPECT_TRUE(std::holds_alternative<ResultAck>(router_.sent[0].second));
    EXPECT_TRUE(std::holds_alternative<Dispatch>(router_.sent[1].second));
    EXPECT_TRUE(std::holds_alternative<Welcome>(router_.sent[2].second));
}

TEST_F(ServerLoop, a_worker_that_cannot_be_reached_gets_nothing_more_and_the_job_goes_elsewhere) {
    say(worker_peer(), hello());
    turn();
    router_.gone.insert("w1");
    say(client_peer(), submission(1));
    turn();
    say(worker_peer("w2"), hello("w2"));
    turn_after(1'000);
    const auto dispatch = take<Dispatch>("w2");
    ASSERT_TRUE(dispatch);
    EXPECT_EQ(dispatch->attempt.value, 2u);
    EXPECT_EQ(status().experiments.at(0).retries.at("worker w1 cannot be reached"), 1);
}

TEST_F(ServerLoop, a_peer_that_connects_again_is_answered_at_its_new_address) {
    say(worker_peer(), hello());
    turn();
    Peer moved = worker_peer();
    moved.routing_id = "w1-new-address";
    say(moved, Heartbeat{SessionId{"w1-1"}, {}});
    say(client_peer(), submission(1));
    turn();
    EXPECT_TRUE(take<Dispatch>("w1-new-address"));
}

// ---- who may say what

// Seed 1803 of the simulator: the hello of the older process waited with its answer while the
// database was away.
TEST_F(ServerLoop, a_repeated_dispatch_does_not_go_to_a_process_that_lost_its_job_meanwhile) {
    say(worker_peer(), hello());
    say(client_peer(), submission(1));
    turn();
    const auto dispatch = take<Dispatch>("w1");
    ASSERT_TRUE(dispatch);
    say(worker_peer(), hello());  // nothing runs there: it will be told again
    Hello newer = hello();
    newer.session = SessionId{"w1-2"};
    newer.running = {{dispatch->key, dispatch->attempt}};
    say({"new address", "w1", Role::work, ""}, newer);
    turn();
    EXPECT_FALSE(take<Dispatch>("w1")) << "two processes would run one attempt";
    EXPECT_FALSE(take<Dispatch>("new address"));
    EXPECT_TRUE(take<Welcome>("new address"));
}

TEST_F(ServerLoop, a_role_may_say_what_is_its_business_and_nothing_else) {
    const Peer reader{"reader", "reader", Role::read};
    const std::vector<std::pair<Peer, Message>> forbidden = {
        {reader, submission(1)},
        {reader, Shutdown{}},
        {reader, hello()},
        {worker_peer(), submission(1)},
        {worker_peer(), Shutdown{}},
        {client_peer(), hello()},
        {client_peer(), Goodbye{SessionId{"w1-1"}}},
    };
    for (const auto& [peer, message] : forbidden) {
        say(peer, message);
        turn();
        const auto refusal = take<Refusal>(peer.routing_id);
        ASSERT_TRUE(refusal) << message.index();
        EXPECT_EQ(refusal->code, ErrorCode::refused);
        EXPECT_TRUE(router_.sent.empty());
    }
    EXPECT_TRUE(store_.contents().jobs.empty());
    EXPECT_TRUE(loop_->scheduler().state().workers().empty());
    EXPECT_FALSE(loop_->shutdown_asked());
    say(reader, StatusRequest{});
    turn();
    EXPECT_TRUE(take<StatusReply>("reader"));
    say(client_peer(), Shutdown{});
    turn();
    EXPECT_TRUE(loop_->shutdown_asked());
}

TEST_F(ServerLoop, without_keys_everybody_on_this_machine_may_do_everything) {
    start(RoleCheck::open);
    const Peer local{"a", "local", Role::submit};
    say(local, hello());
    turn();
    EXPECT_TRUE(take<Welcome>("a"));
}

TEST_F(ServerLoop, a_message_that_could_not_be_read_is_refused_with_the_version_wanted) {
    router_.inbox.push_back(
        {worker_peer(), make_error(ErrorCode::unsupported, "protocol 99; this is 1")});
    turn();
    const auto refusal = take<Refusal>("w1");
    ASSERT_TRUE(refusal);
    EXPECT_EQ(refusal->code, ErrorCode::unsupported);
    EXPECT_EQ(refusal->protocol_wanted, protocol_version);
}

TEST_F(ServerLoop, a_refusal_is_never_answered) {
    say(worker_peer(), Refusal{ErrorCode::refused, "no"});
    turn();
    EXPECT_TRUE(router_.sent.empty());
}

TEST_F(ServerLoop, a_message_for_somebody_else_is_refused) {
    start(RoleCheck::open);
    say(client_peer(), Welcome{});
    turn();
    EXPECT_EQ(take<Refusal>("client").value().code, ErrorCode::invalid_input);
}

TEST_F(ServerLoop, nobody_speaks_for_the_session_or_takes_the_name_of_another_access_file) {
    say(worker_peer(), hello());
    turn();
    router_.sent.clear();
    const Peer thief = worker_peer("thief");
    say(thief, Goodbye{SessionId{"w1-1"}});
    turn();
    EXPECT_EQ(take<Refusal>("thief").value().reason, "this session belongs to the access file w1");
    Hello same_name = hello();
    same_name.session = SessionId{"another"};
    say(thief, same_name);
    turn();
    EXPECT_EQ(take<Refusal>("thief").value().reason, "the name w1 belongs to the access file w1");
    EXPECT_TRUE(loop_->scheduler().state().find_worker(SessionId{"w1-1"}) != nullptr);
}

// ---- submissions

TEST_F(ServerLoop, what_a_client_says_about_identity_is_computed_again) {
    Submit submit = submission(1);
    submit.cells[0].identity.spec_key = std::string(64, 'f');
    submit.cells[0].identity.numerics_revision = 77;
    say(client_peer(), submit);
    turn();
    const StoredJob& job = store_.contents().jobs.begin()->second;
    EXPECT_NE(job.cell.identity.spec_key, std::string(64, 'f'));
    EXPECT_EQ(job.cell.identity.spec_key.size(), 64u);
    EXPECT_NE(job.cell.identity.numerics_revision, 77);
}

TEST_F(ServerLoop, submitting_again_finds_the_stored_jobs) {
    say(client_peer(), submission(3));
    turn();
    take<Submitted>("client");
    say(client_peer(), submission(3));
    turn();
    const auto again = take<Submitted>("client");
    ASSERT_TRUE(again);
    EXPECT_EQ(again->new_cells, 0);
    EXPECT_EQ(again->running, 3);
    EXPECT_EQ(store_.contents().jobs.size(), 3u);
}

TEST_F(ServerLoop, templates_become_jobs_for_the_kinds_that_attach_and_are_counted) {
    say(worker_peer(), hello());
    turn();
    Submit submit = submission(1);
    submit.cells.push_back(cell(9, "*"));
    say(client_peer(), submit);
    turn();
    const auto submitted = take<Submitted>("client");
    ASSERT_TRUE(submitted);
    EXPECT_EQ(submitted->cells, 2);
    EXPECT_EQ(store_.contents().jobs.size(), 2u);
    EXPECT_EQ(store_.contents().experiments.at(0).templates.size(), 1u);
    EXPECT_EQ(store_.contents().experiments.at(0).templates[0].identity.spec_key,
              spec_key(submit.cells[1].spec));
    for (const auto& [key, job] : store_.contents().jobs) {
        EXPECT_EQ(job.cell.spec.gpu, "cpu");
        EXPECT_FALSE(job.cell.identity.spec_key.empty());
    }
}

TEST_F(ServerLoop, a_card_that_attaches_gets_the_cells_that_where_admits) {
    Submit submit = submission(0);
    submit.cells = {cell(1, "*"), cell(2, "*"), cell(3, "*")};
    submit.cells[1].card_condition = "15.5 < (vram_gib * 0.9)";
    submit.cells[2].card_condition = "sm >= 75";
    say(client_peer(), submit);
    turn();
    EXPECT_EQ(store_.contents().experiments.at(0).templates.at(1).card_condition,
              "15.5 < (vram_gib * 0.9)");
    const auto join = [&](const std::string& worker, const std::string& kind, double gib) {
        Hello card = hello(worker);
        card.devices[0].id = "cuda:0";
        card.devices[0].kind = kind;
        card.devices[0].memory_bytes = static_cast<std::uint64_t>(gib * (1ull << 30));
        say(worker_peer(worker), card);
        turn();
    };
    const auto seeds_of = [&](const std::string& kind) {
        std::set<std::uint64_t> seeds;
        for (const auto& [key, job] : store_.contents().jobs) {
            if (job.cell.spec.gpu == kind) {
                seeds.insert(job.cell.spec.seed);
                EXPECT_FALSE(job.cell.card_condition);
            }
        }
        return seeds;
    };
    join("w1", "Tesla-T4-15GB", 14.6);
    EXPECT_EQ(seeds_of("Tesla-T4-15GB"), (std::set<std::uint64_t>{1, 3}));
    const auto told = std::ranges::find_if(store_.contents().events, [](const auto& event) {
        return event.second.find("1 cells, `where` leaves them out on Tesla-T4-15GB") !=
               std::string::npos;
    });
    EXPECT_NE(told, store_.contents().events.end());
    join("w2", "NVIDIA-H200-141GB", 140.4);
    EXPECT_EQ(seeds_of("NVIDIA-H200-141GB"), (std::set<std::uint64_t>{1, 2, 3}));
}

TEST_F(ServerLoop, a_submission_with_a_mistake_is_refused_whole_and_names_the_cell) {
    const auto refused = [&](const Submit& submit) {
        say(client_peer(), submit);
        turn();
        EXPECT_TRUE(store_.contents().jobs.empty());
        EXPECT_TRUE(store_.contents().experiments.empty());
        return take<Refusal>("client").value_or(Refusal{}).reason;
    };
    Submit wrong = submission(2);
    wrong.cells[1].spec.method = "int9000";
    wrong.cells[1].yaml_line = 7;
    EXPECT_NE(refused(wrong).find("cell m int9000 (line 7): "), std::string::npos);
    wrong = submission(1);
    wrong.cells[0].identity.weights_digest = "not hex";
    EXPECT_NE(refused(wrong).find("64 hex digits, not `not hex`"), std::string::npos);
    wrong = submission(1);
    wrong.cells[0].policy.timeout = Duration{-1};
    EXPECT_NE(refused(wrong).find("timeout"), std::string::npos);
    EXPECT_NE(refused(submission(0)).find("no cells"), std::string::npos);
    EXPECT_NE(refused(submission(1, "")).find("name"), std::string::npos);
    wrong = submission(1);
    wrong.yaml = std::string((1u << 20) + 1, 'x');
    EXPECT_NE(refused(wrong).find("1 MiB"), std::string::npos);
}

// ---- restart

TEST_F(ServerLoop, after_a_restart_the_running_job_is_adopted_and_the_done_one_stays) {
    say(worker_peer(), hello());
    say(client_peer(), submission(2));
    turn();
    say(worker_peer(), result_of(take<Dispatch>("w1").value()));
    turn();
    const Dispatch second = take<Dispatch>("w1").value();
    router_.sent.clear();
    start(RoleCheck::by_role);
    say(worker_peer(), Heartbeat{SessionId{"w1-1"}, {{second.key, second.attempt}}});
    turn();
    EXPECT_EQ(take<Refusal>("w1").value().code, ErrorCode::not_found);
    Hello again = hello();
    again.running = {{second.key, second.attempt}};
    say(worker_peer(), again);
    turn();
    EXPECT_TRUE(take<Welcome>("w1"));
    EXPECT_TRUE(router_.sent.empty());
    say(worker_peer(), result_of(second));
    turn();
    EXPECT_TRUE(take<ResultAck>("w1"));
    EXPECT_EQ(status("sweep").experiments.at(0).jobs.at("done"), 2);
}

TEST_F(ServerLoop, why_jobs_were_done_again_survives_a_restart) {
    say(worker_peer(), hello());
    say(client_peer(), submission(1));
    turn();
    turn_after(10'000);
    EXPECT_EQ(status().experiments.at(0).retries.at("worker w1 lost"), 1);
    start(RoleCheck::by_role);
    EXPECT_EQ(status().experiments.at(0).retries.at("worker w1 lost"), 1);
}

TEST_F(ServerLoop, a_stored_state_of_a_later_release_is_an_error_not_a_guess) {
    StoredJob strange;
    strange.key = JobKey{"k"};
    strange.state = "hibernating";
    const Status written = store_.transact(
        [&](StoreWriter& writer) { return writer.put_job(ExperimentName{"sweep"}, strange); });
    ASSERT_TRUE(written.ok());
    Loop loop(router_, store_, [this] { return now_; }, {});
    const Status recovered = loop.recover();
    ASSERT_FALSE(recovered.ok());
    EXPECT_EQ(recovered.error().code, ErrorCode::corrupt);
    EXPECT_NE(recovered.error().message.find("`hibernating`"), std::string::npos);
}

}  // namespace
}  // namespace bitsweep
