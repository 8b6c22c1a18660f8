// How attempts end and what becomes of their jobs.
#include "tests/scheduler/scheduler_fixture.h"

namespace bitsweep::scheduler {
namespace {

class Endings : public SchedulerTest {
 protected:
    // Job "a" runs as attempt 1 on w1's only device.
    void run_a(std::vector<std::string> devices = {"cpu"}, const std::string& words = "a=m/fp16") {
        join("w1-1", devices);
        submit_new("sweep", {words});
        claim_dispatch("w1-1", "a#1", device(devices[0]).id);
    }
    std::map<std::string, std::int64_t> retries() const {
        return state().find_experiment(ExperimentName{"sweep"})->retries;
    }
};

TEST_F(Endings, a_duplicate_of_an_accepted_result_is_acknowledged_and_changes_nothing) {
    run_a();
    finish("w1-1", "a#1");
    step(result("w1-1", "a#1"));
    claim_all({"w1-1 <- ack a#1"});
}

TEST_F(Endings, a_late_result_of_an_older_attempt_is_acknowledged_and_changes_nothing) {
    run_a();
    join("w2-1");
    pass_with_heartbeats(10'000, {"w2-1"});
    claim_all({"log lost: worker w1 is silent", "run a#1 lost_worker on w1/cpu",
               "job a backoff #1 until 1011000 crashes 1", "log retry a#1: worker w1 lost"});
    pass_with_heartbeats(1'000, {"w2-1"});
    claim_dispatch("w2-1", "a#2", "cpu", " crashes 1");
    step(result("w1-1", "a#1"));
    claim_all({"log late a#2: a result of attempt 1 came too late", "w1-1 <- ack a#1"});
    EXPECT_TRUE(std::holds_alternative<Running>(job("a").state()));
    EXPECT_EQ(retries().at("worker w1 lost"), 1);
    step(result("w2-1", "a#2"));
    claim_all({"run a#2 done on w2/cpu", "job a done #2 crashes 1", "w2-1 <- ack a#2"});
}

TEST_F(Endings, a_result_of_the_current_attempt_counts_though_its_session_changed) {
    run_a();
    restart();
    step(result("w1-2", "a#1"));
    claim_all({"run a#1 done on w1/cpu", "job a done #1", "w1-2 <- ack a#1"});
}

TEST_F(Endings, a_result_of_a_job_that_nobody_knows_is_acknowledged) {
    join("w1-1");
    step(result("w1-1", "z#1"));
    claim_all({"log late: a result of a job that is not known here: z", "w1-1 <- ack z#1"});
}

TEST_F(Endings, a_crash_is_tried_again_after_a_delay_until_its_budget_is_used_up) {
    run_a();
    for (int crash = 1; crash <= 3; ++crash) {
        const std::string number = std::to_string(crash);
        const std::string attempt_words = "a#" + number;
        step(result("w1-1", attempt_words, OutcomeClass::crash, "signal 11"));
        const std::int64_t delay = 1'000ll << (crash - 1);
        claim_all({"run " + attempt_words + " crash on w1/cpu",
                   "job a backoff #" + number + " until " + std::to_string(now_.unix_ms + delay) +
                       " crashes " + number,
                   "log retry " + attempt_words + ": crash on worker w1",
                   "w1-1 <- ack " + attempt_words});
        pass_with_heartbeats(delay, {"w1-1"});
        claim_dispatch("w1-1", "a#" + std::to_string(crash + 1), "cpu", " crashes " + number);
    }
    step(result("w1-1", "a#4", OutcomeClass::crash, "signal 11"));
    claim_all({"run a#4 crash on w1/cpu", "job a failed #4 crash: signal 11 crashes 4",
               "log failed a#4: crash: signal 11", "w1-1 <- ack a#4"});
    EXPECT_EQ(retries().at("crash on worker w1"), 3);
    EXPECT_TRUE(is_done(state(), *state().find_experiment(ExperimentName{"sweep"})));
}

TEST_F(Endings, a_failure_is_final_without_a_budget_for_failures) {
    run_a();
    step(result("w1-1", "a#1", OutcomeClass::failure, "no such tensor"));
    claim_all({"run a#1 failure on w1/cpu", "job a failed #1 failure: no such tensor failures 1",
               "log failed a#1: failure: no such tensor", "w1-1 <- ack a#1"});
}

TEST_F(Endings, a_timeout_counts_as_a_failure) {
    join("w1-1");
    Submission patient = submission("sweep", {"a=m/fp16"});
    edit(patient.cells[0]).policy.retries_fail = 1;
    step(patient);
    claim_dispatch("w1-1", "a#1");
    claim_all({"link sweep a waiting #0",
               "answer sweep: 1 cells, 1 new, 0 done, 0 running, 0 failed before, 0 impossible"});
    step(result("w1-1", "a#1", OutcomeClass::timeout, "600 s"));
    claim_all({"run a#1 timeout on w1/cpu", "job a backoff #1 until 1001000 failures 1",
               "log retry a#1: timeout on worker w1", "w1-1 <- ack a#1"});
    pass(1'000);
    claim_dispatch("w1-1", "a#2", "cpu", " failures 1");
}

TEST_F(Endings, out_of_memory_is_not_tried_again_on_the_same_kind) {
    run_a({"cuda:0=A100-40G", "cuda:1=A100-40G"}, "a=m/fp16/A100");
    step(result("w1-1", "a#1", OutcomeClass::out_of_gpu_memory, "out of memory"));
    claim_all({"run a#1 out_of_gpu_memory on w1/cuda:0",
               "job a failed #1 out_of_gpu_memory: out of memory",
               "log failed a#1: out_of_gpu_memory: out of memory", "w1-1 <- ack a#1"});
}

TEST_F(Endings, out_of_memory_goes_on_on_a_larger_kind_that_the_job_accepts) {
    run_a({"cuda:0=A100-40G=40", "cuda:1=A100-80G=80"}, "a=m/fp16/A100");
    step(result("w1-1", "a#1", OutcomeClass::out_of_gpu_memory, "out of memory"));
    claim_all({"run a#1 out_of_gpu_memory on w1/cuda:0", "job a waiting #1",
               "log retry a#1: out_of_gpu_memory on worker w1", "w1-1 <- ack a#1",
               "job a running #2 w1-1/cuda:1", "w1-1 <- dispatch a#2 on cuda:1"});
}

TEST_F(Endings, a_gpu_fault_sets_the_device_aside_until_a_person_says_that_it_is_sound) {
    run_a({"cuda:0=T4"}, "a=m/fp16/T4");
    step(result("w1-1", "a#1", OutcomeClass::gpu_fault, "illegal address"));
    claim_all({"log quarantine a#1: cuda:0 of worker w1: illegal address",
               "run a#1 gpu_fault on w1/cuda:0", "job a backoff #1 until 1001000 crashes 1",
               "log retry a#1: gpu_fault on worker w1", "w1-1 <- ack a#1"});
    pass(1'000);
    expect_silence();
    EXPECT_EQ(reason("a"),
              "cuda:0 of worker w1 is set aside: illegal address (when it is sound again: bitsweep "
              "clear w1)");
    join("w1-2", {"cuda:0=T4"});  // a new process does not mend a card
    restart();
    join("w1-3", {"cuda:0=T4"});  // nor does a new coordinator
    expect_silence();
    step(Control{ControlAction::clear, "w1", {}, {}});
    claim_all({"log cleared: cuda:0 of worker w1: illegal address",
               "obeyed: 1 device of worker w1 may run jobs again",
               "job a running #2 w1-3/cuda:0 crashes 1", "w1-3 <- dispatch a#2 on cuda:0"});
}

TEST_F(Endings, host_memory_that_runs_out_on_a_card_is_looked_for_on_another_host) {
    run_a({"cuda:0=T4", "cuda:1=T4"}, "a=m/fp16/T4");
    join("w2-1", {"cuda:0=T4"});
    step(result("w1-1", "a#1", OutcomeClass::out_of_memory, "no host memory"));
    claim_all({"run a#1 out_of_memory on w1/cuda:0", "job a waiting #1",
               "log retry a#1: out_of_memory on worker w1", "w1-1 <- ack a#1",
               "job a running #2 w2-1/cuda:0", "w2-1 <- dispatch a#2 on cuda:0"});
}

TEST_F(Endings, memory_of_a_cpu_that_runs_out_is_looked_for_on_a_larger_one) {
    run_a({"cpu"}, "a=m/fp16");
    join("w2-1", {"cpu=cpu=16"});
    join("w3-1", {"cpu=cpu=64"});
    step(result("w1-1", "a#1", OutcomeClass::out_of_memory, "no memory"));
    claim_all({"run a#1 out_of_memory on w1/cpu", "job a waiting #1",
               "log retry a#1: out_of_memory on worker w1", "w1-1 <- ack a#1",
               "job a running #2 w3-1/cpu", "w3-1 <- dispatch a#2 on cpu"});
}

TEST_F(Endings, a_refused_job_waits_for_another_worker_and_says_why) {
    run_a();
    step(result("w1-1", "a#1", OutcomeClass::refused, "weights aa here, bound bb"));
    claim_all({"run a#1 refused on w1/cpu", "job a waiting #1",
               "log retry a#1: refused on worker w1", "w1-1 <- ack a#1"});
    EXPECT_EQ(reason("a"), "refused: weights aa here, bound bb; waits for another worker");
    join("w2-1");
    claim_dispatch("w2-1", "a#2");
}

TEST_F(Endings, the_first_result_binds_the_digest_and_later_jobs_carry_it) {
    join("w1-1");
    submit_new("sweep", {"a=m/fp16", "b=m/int8"});
    claim_dispatch("w1-1", "a#1");
    step(result("w1-1", "a#1", OutcomeClass::done, "", "d1"));
    claim_all({"run a#1 done on w1/cpu", "job a done #1", "w1-1 <- ack a#1",
               "job b running #1 w1-1/cpu", "w1-1 <- dispatch b#1 on cpu weights d1"});
}

TEST_F(Endings, of_two_workers_with_different_files_only_the_first_one_counts) {
    join("w1-1");
    join("w2-1");
    submit_new("sweep", {"a=m/fp16", "b=m/int8"});
    claim_dispatch("w1-1", "a#1");
    claim_dispatch("w2-1", "b#1");
    step(result("w1-1", "a#1", OutcomeClass::done, "", "d1"));
    claim_all({"run a#1 done on w1/cpu", "job a done #1", "w1-1 <- ack a#1"});
    step(result("w2-1", "b#1", OutcomeClass::done, "", "d2"));
    claim_all({"run b#1 refused on w2/cpu", "job b waiting #1",
               "log retry b#1: refused on worker w2", "w2-1 <- ack b#1",
               "job b running #2 w1-1/cpu", "w1-1 <- dispatch b#2 on cpu weights d1"});
}

TEST_F(Endings, a_job_that_a_worker_gives_back_is_not_charged) {
    run_a();
    step(result("w1-1", "a#1", OutcomeClass::cancelled, "interrupted"));
    claim_all({"run a#1 cancelled on w1/cpu", "job a backoff #1 until 1001000",
               "log retry a#1: interrupted", "w1-1 <- ack a#1"});
}

TEST_F(Endings, a_cancelled_experiment_stops_its_jobs_but_not_those_of_others) {
    join("w1-1");
    submit_new("sweep", {"a=m/fp16", "b=m/fp16", "c=m/fp16"});
    claim_dispatch("w1-1", "a#1");
    step(submission("other", {"c=m/fp16"}));
    claim_all({"link other c waiting #0",
               "answer other: 1 cells, 0 new, 0 done, 1 running, 0 failed before, 0 impossible"});
    step(Control{ControlAction::cancel, "sweep", {}, "typo"});
    claim_all({"log stopped sweep: typo",
               "obeyed: cancelled sweep: 2 jobs ended, 1 of them told to stop while running",
               "w1-1 <- cancel a#1: typo", "job a cancelled #1: typo", "job b cancelled #0: typo",
               "job c running #1 w1-1/cpu", "w1-1 <- dispatch c#1 on cpu"});
}

}  // namespace
}  // namespace bitsweep::scheduler
