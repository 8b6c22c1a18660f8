// What `status` tells.
#include "tests/server/loop_fixture.h"

namespace bitsweep {
namespace {

class StatusView : public LoopTest {};

TEST_F(StatusView, counts_states_and_failures_by_class) {
    say(worker_peer(), hello());
    say(client_peer(), submission(3));
    turn();
    say(worker_peer(), result_of(take<Dispatch>("w1").value(), "w1-1", OutcomeClass::failure));
    turn();
    say(worker_peer(), result_of(take<Dispatch>("w1").value()));
    turn();
    const ExperimentStatus sweep = status("sweep").experiments.at(0);
    EXPECT_EQ(sweep.jobs,
              (std::map<std::string, std::int64_t>{{"done", 1}, {"failed", 1}, {"running", 1}}));
    EXPECT_EQ(sweep.failures, (std::map<std::string, std::int64_t>{{"failure", 1}}));
}

TEST_F(StatusView, waiting_jobs_say_why_and_impossible_ones_are_told_apart) {
    Submit submit = submission(2);
    submit.cells.push_back(cell(1, "H100"));
    submit.cells.push_back(cell(2, "H100"));
    say(client_peer(), submit);
    turn();
    ExperimentStatus sweep = status().experiments.at(0);
    EXPECT_EQ(sweep.jobs.at("waiting"), 4);
    EXPECT_EQ(sweep.reasons, (std::vector<std::string>{"4 jobs: no worker is attached"}));
    EXPECT_EQ(sweep.eta_ms, -1);
    say(worker_peer(), hello());
    turn();
    sweep = status().experiments.at(0);
    EXPECT_EQ(sweep.jobs.at("waiting"), 1);
    EXPECT_EQ(sweep.jobs.at("impossible"), 2);
    EXPECT_EQ(sweep.reasons, (std::vector<std::string>{
                                 "2 jobs: no attached device is of kind H100 (attached: cpu)",
                                 "1 job: waits for a free device"}));
}

TEST_F(StatusView, templates_that_met_no_device_are_waiting) {
    Submit submit;
    submit.experiment = ExperimentName{"sweep"};
    submit.cells = {cell(1, "*"), cell(2, "*")};
    say(client_peer(), submit);
    turn();
    const ExperimentStatus sweep = status().experiments.at(0);
    EXPECT_EQ(sweep.jobs.at("waiting"), 2);
    EXPECT_EQ(sweep.reasons.at(0), "2 jobs: no worker is attached");
}

TEST_F(StatusView, templates_that_where_leaves_out_on_every_device_are_impossible) {
    Submit submit;
    submit.experiment = ExperimentName{"sweep"};
    submit.cells = {cell(1, "*"), cell(2, "*")};
    submit.cells[0].card_condition = submit.cells[1].card_condition = "gpu != 'cpu'";
    say(worker_peer(), hello());
    say(client_peer(), submit);
    turn();
    for (const char* name : {"attached", "submitted again"}) {
        const ExperimentStatus sweep = status().experiments.at(0);
        EXPECT_EQ(sweep.jobs, (std::map<std::string, std::int64_t>{{"impossible", 2}})) << name;
        EXPECT_TRUE(sweep.reasons.at(0).starts_with("2 jobs: `where` leaves them out on cpu: "))
            << sweep.reasons.at(0);
        say(client_peer(), submit);
        turn();
    }
}

TEST_F(StatusView, the_eta_comes_from_finished_jobs_and_the_number_of_devices) {
    say(worker_peer(), hello());
    say(worker_peer("w2"), hello("w2"));
    say(client_peer(), submission(5));
    turn();
    EXPECT_EQ(status().experiments.at(0).eta_ms, -1);
    const Dispatch dispatch = take<Dispatch>("w1").value();
    now_ = now_ + Duration{4'000};
    say(worker_peer(), result_of(dispatch));
    turn();
    // 2 wait, 1 starts now, 1 is nearly over: 3 x 4 s of work on 2 devices.
    EXPECT_EQ(status().experiments.at(0).eta_ms, 6'000);
}

TEST_F(StatusView, what_no_device_can_run_takes_no_time) {
    say(worker_peer(), hello());
    Submit submit = submission(1);
    submit.cells.push_back(cell(1, "H100"));
    say(client_peer(), submit);
    turn();
    const Dispatch dispatch = take<Dispatch>("w1").value();
    now_ = now_ + Duration{4'000};
    say(worker_peer(), result_of(dispatch));
    turn();
    const ExperimentStatus sweep = status().experiments.at(0);
    EXPECT_EQ(sweep.jobs, (std::map<std::string, std::int64_t>{{"done", 1}, {"impossible", 1}}));
    EXPECT_EQ(sweep.eta_ms, -1);
}

TEST_F(StatusView, workers_are_idle_busy_or_lost) {
    say(worker_peer(), hello());
    say(worker_peer("w2"), hello("w2"));
    say(client_peer(), submission(1));
    turn();
    StatusReply reply = status();
    ASSERT_EQ(reply.workers.size(), 2u);
    EXPECT_EQ(reply.workers[0].state, "busy");
    EXPECT_EQ(reply.workers[0].running.size(), 1u);
    EXPECT_EQ(reply.workers[1].state, "idle");
    turn_after(10'000);
    reply = status();
    EXPECT_EQ(reply.workers[0].state, "lost");
    EXPECT_EQ(reply.workers[0].silent_ms, 10'000);
}

TEST_F(StatusView, an_experiment_that_does_not_exist_is_an_empty_list) {
    say(client_peer(), submission(1));
    turn();
    EXPECT_TRUE(status("other").experiments.empty());
    EXPECT_EQ(status("sweep").experiments.size(), 1u);
}

}  // namespace
}  // namespace bitsweep
