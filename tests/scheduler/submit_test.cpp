// What a submission does to jobs that exist.
#include "tests/scheduler/scheduler_fixture.h"

namespace bitsweep::scheduler {
namespace {

class Submitting : public SchedulerTest {
 protected:
    // One job done, one failed, one running, one waiting.
    void mixed() {
        join("w1-1");
        submit_new("sweep", {"a=m/fp16", "b=m/int8", "c=m/nf4", "d=m/fp4"});
        claim_dispatch("w1-1", "a#1");
        finish("w1-1", "a#1");
        claim_dispatch("w1-1", "b#1");
        step(result("w1-1", "b#1", OutcomeClass::failure, "bad"));
        claim_all({"run b#1 failure on w1/cpu", "job b failed #1 failure: bad failures 1",
                   "log failed b#1: failure: bad", "w1-1 <- ack b#1", "job c running #1 w1-1/cpu",
                   "w1-1 <- dispatch c#1 on cpu"});
    }
    // After mixed(): the file has only the cell that is done.
    void keep_only_a() {
        step(submission("sweep", {"a=m/fp16"}));
        claim_all(
            {"answer sweep: 1 cells, 0 new, 1 done, 0 running, 0 failed before, 0 impossible, "
             "3 former",
             "job d cancelled #0: the file of sweep no longer has it", "former sweep b",
             "former sweep c", "former sweep d",
             "log withdrawn sweep: 3 jobs that its file no longer has, 1 of them cancelled"});
    }
    const std::vector<std::string> cells_ = {"a=m/fp16", "b=m/int8", "c=m/nf4", "d=m/fp4"};
};

TEST_F(Submitting, submitting_again_runs_nothing_again) {
    mixed();
    step(submission("sweep", cells_));
    claim_all({"answer sweep: 4 cells, 0 new, 1 done, 2 running, 1 failed before, 0 impossible"});
}

TEST_F(Submitting, retry_failed_runs_the_failed_ones_again_with_fresh_counters) {
    mixed();
    Submission again = submission("sweep", cells_);
    again.retry_failed = true;
    step(again);
    claim_all({"answer sweep: 4 cells, 1 new, 1 done, 2 running, 0 failed before, 0 impossible",
               "job b waiting #1"});
    finish("w1-1", "c#1");
    claim_dispatch("w1-1", "d#1");
    finish("w1-1", "d#1");
    claim_dispatch("w1-1", "b#2");
}

TEST_F(Submitting, force_runs_done_and_failed_ones_again_but_not_what_runs_now) {
    mixed();
    Submission again = submission("sweep", cells_);
    again.force = true;
    step(again);
    claim_all({"answer sweep: 4 cells, 2 new, 0 done, 2 running, 0 failed before, 0 impossible",
               "job a waiting #1", "job b waiting #1"});
}

TEST_F(Submitting, another_experiment_shares_the_jobs_of_equal_cells) {
    mixed();
    step(submission("other", {"a=m/fp16", "c=m/nf4"}));
    claim_all({"link other a done #1", "link other c running #1 w1-1/cpu",
               "answer other: 2 cells, 0 new, 1 done, 1 running, 0 failed before, 0 impossible"});
}

TEST_F(Submitting, two_equal_cells_of_one_submission_are_one_job) {
    step(submission("sweep", {"a=m/fp16", "a=m/fp16"}));
    claim_all({"link sweep a waiting #0",
               "answer sweep: 1 cells, 1 new, 0 done, 0 running, 0 failed before, 0 impossible"});
}

TEST_F(Submitting, a_later_submission_makes_a_waiting_job_more_urgent_but_never_less) {
    submit_new("sweep", {"a=m/fp16", "b=m/int8"});
    Submission urgent = submission("sweep", {"b=m/int8"});
    edit(urgent.cells[0]).policy.priority = 2;
    step(urgent);
    step(submission("sweep", {"b=m/int8"}));
    claim_all(
        {"answer sweep: 1 cells, 0 new, 0 done, 1 running, 0 failed before, 0 impossible, 1 "
         "former",
         "answer sweep: 1 cells, 0 new, 0 done, 1 running, 0 failed before, 0 impossible",
         "link sweep b waiting #0",  // a restart has to know the new urgency
         "job a cancelled #0: the file of sweep no longer has it", "former sweep a",
         "log withdrawn sweep: 1 job that its file no longer has, 1 of them cancelled"});
    join("w1-1");
    claim_dispatch("w1-1", "b#1");
}

// ---- an experiment is what its newest file says

TEST_F(Submitting, cells_that_the_file_no_longer_has_leave_and_keep_their_results) {
    mixed();  // a done, b failed, c runs, d waits
    step(submission("sweep", {"e=n/fp16"}));
    claim_all({"link sweep e waiting #0",
               "answer sweep: 1 cells, 1 new, 0 done, 0 running, 0 failed before, 0 impossible, 4 "
               "former",
               "job d cancelled #0: the file of sweep no longer has it", "former sweep a",
               "former sweep b", "former sweep c", "former sweep d",
               "log withdrawn sweep: 4 jobs that its file no longer has, 1 of them cancelled"});
    // What ran may finish: it is paid for.
    finish("w1-1", "c#1");
    claim_dispatch("w1-1", "e#1");
    finish("w1-1", "e#1");
    expect_silence();
    EXPECT_TRUE(is_done(state(), *state().find_experiment(ExperimentName{"sweep"})));
}

TEST_F(Submitting, a_former_cell_that_does_not_end_well_is_not_tried_again) {
    mixed();
    keep_only_a();
    step(result("w1-1", "c#1", OutcomeClass::crash, "killed"));
    claim_all({"run c#1 crash on w1/cpu", "job c backoff #1 until 1001000 crashes 1",
               "log retry c#1: crash on worker w1",
               "job c cancelled #1: no experiment asks for it any more crashes 1",
               "w1-1 <- ack c#1"});
}

TEST_F(Submitting, a_former_cell_comes_back_with_the_file_that_has_it) {
    mixed();
    keep_only_a();
    step(submission("sweep", cells_));
    claim_all({"link sweep b failed #1 failure: bad failures 1", "link sweep c running #1 w1-1/cpu",
               "link sweep d waiting #0", "job d waiting #0",
               "answer sweep: 4 cells, 1 new, 1 done, 1 running, 1 failed before, 0 impossible"});
}

TEST_F(Submitting, a_former_cell_that_another_experiment_wants_goes_on_waiting) {
    mixed();
    step(submission("other", {"d=m/fp4"}));
    claim_all({"link other d waiting #0",
               "answer other: 1 cells, 0 new, 0 done, 1 running, 0 failed before, 0 impossible"});
    step(submission("sweep", {"a=m/fp16"}));
    claim_all(
        {"answer sweep: 1 cells, 0 new, 1 done, 0 running, 0 failed before, 0 impossible, 3 "
         "former",
         "former sweep b", "former sweep c", "former sweep d",
         "log withdrawn sweep: 3 jobs that its file no longer has, 0 of them cancelled"});
    finish("w1-1", "c#1");
    claim_dispatch("w1-1", "d#1");
}

TEST_F(Submitting, a_restart_knows_who_left) {
    mixed();
    keep_only_a();
    restart();
    EXPECT_EQ(state().find_experiment(ExperimentName{"sweep"})->jobs.size(), 1u);
}

}  // namespace
}  // namespace bitsweep::scheduler
