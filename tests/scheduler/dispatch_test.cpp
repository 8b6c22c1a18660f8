// Who gets which job, and why one waits.
#include "tests/scheduler/scheduler_fixture.h"

namespace bitsweep::scheduler {
namespace {

class Dispatching : public SchedulerTest {};

TEST_F(Dispatching, a_free_device_gets_jobs_in_the_order_of_submission_one_at_a_time) {
    join("w1-1");
    submit_new("sweep", {"a=m/fp16", "b=m/int8", "c=m/nf4"});
    claim_dispatch("w1-1", "a#1");
    expect_silence();
    finish("w1-1", "a#1");
    claim_dispatch("w1-1", "b#1");
    finish("w1-1", "b#1");
    claim_dispatch("w1-1", "c#1");
    finish("w1-1", "c#1");
    EXPECT_TRUE(is_done(state(), *state().find_experiment(ExperimentName{"sweep"})));
}

TEST_F(Dispatching, a_device_stays_with_the_model_whose_weights_it_holds) {
    join("w1-1");
    submit_new("sweep", {"a=m/fp16", "b=n/fp16", "c=m/int8"});
    claim_dispatch("w1-1", "a#1");
    finish("w1-1", "a#1");
    claim_dispatch("w1-1", "c#1");
    finish("w1-1", "c#1");
    claim_dispatch("w1-1", "b#1");
}

TEST_F(Dispatching, priority_goes_before_the_model_that_is_loaded) {
    join("w1-1");
    submit_new("sweep", {"a=m/fp16", "b=m/int8"});
    claim_dispatch("w1-1", "a#1");
    Submission urgent = submission("urgent", {"u=n/fp16"});
    edit(urgent.cells[0]).policy.priority = 5;
    step(urgent);
    claim_all({"link urgent u waiting #0",
               "answer urgent: 1 cells, 1 new, 0 done, 0 running, 0 failed before, 0 impossible"});
    finish("w1-1", "a#1");
    claim_dispatch("w1-1", "u#1");
}

TEST_F(Dispatching, two_devices_of_one_worker_run_two_jobs) {
    join("w1-1", {"cuda:0=T4", "cuda:1=T4"});
    submit_new("sweep", {"a=m/fp16/T4", "b=m/fp16/T4", "c=m/fp16/T4"});
    claim_dispatch("w1-1", "a#1", "cuda:0");
    claim_dispatch("w1-1", "b#1", "cuda:1");
    expect_silence();
    EXPECT_EQ(reason("c"), "waits for a free device");
}

TEST_F(Dispatching, without_a_worker_a_job_says_so) {
    submit_new("sweep", {"a=m/fp16"});
    EXPECT_EQ(reason("a"), "no worker is attached");
}

TEST_F(Dispatching, a_job_for_another_kind_of_device_names_what_is_attached) {
    join("w1-1", {"cpu", "cuda:0=T4-16G"});
    submit_new("sweep", {"a=m/fp16/H100"}, 1);
    EXPECT_EQ(reason("a"), "no attached device is of kind H100 (attached: T4-16G, cpu)");
}

TEST_F(Dispatching, a_worker_without_the_model_does_not_get_the_job_until_one_with_it_joins) {
    join("w1-1", {"cpu"}, {"n"});
    submit_new("sweep", {"a=m/fp16"}, 1);
    EXPECT_EQ(reason("a"), "no attached worker has the model m (start one with --models DIR)");
    join("w2-1", {"cpu"}, {"M"});
    claim_dispatch("w2-1", "a#1");
}

TEST_F(Dispatching, a_job_that_needs_more_memory_than_any_device_has_says_how_much) {
    join("w1-1", {"cuda:0=T4"}, {"big"});
    submit_new("sweep", {"a=big/fp32/T4"}, 1);
    EXPECT_EQ(reason("a"), "needs 21.0 GiB, the largest attached device of kind T4 has 16.0 GiB");
}

TEST_F(Dispatching, a_method_without_a_kernel_for_the_device_says_so) {
    join("w1-1", {"cpu", "cuda:0=T4"});
    submit_new("sweep", {"a=m/cuda-only", "b=m/cpu-only/T4"}, 2);
    EXPECT_EQ(reason("a"), "method cuda-only does not run on cpu");
    EXPECT_EQ(reason("b"), "method cpu-only does not run on T4");
}

TEST_F(Dispatching, the_catalog_says_what_a_job_needs) {
    JobSpec spec = cell("llama-3.1-8b/fp16").spec;
    spec.new_tokens = 128;
    const Needs fp16 = needs_of(spec);
    EXPECT_TRUE(fp16.runs_on_cpu);
    EXPECT_GT(fp16.bytes, 14ull << 30);
    EXPECT_LT(fp16.bytes, 20ull << 30);
    spec.method = "nf4";
    EXPECT_LT(needs_of(spec).bytes, fp16.bytes / 2);
    spec.model.name = "somebody's own";
    EXPECT_EQ(needs_of(spec).bytes, 0u);
    spec.method = "of a later release";
    EXPECT_FALSE(needs_of(spec).runs_on_cpu);
}

TEST_F(Dispatching, random_weights_need_a_shape_only) {
    join("w1-1", {"cpu"}, {});
    Submission sweep = submission("sweep", {"a=llama-3.2-1b/fp16"});
    edit(sweep.cells[0]).spec.model.weights = WeightsSource::random;
    step(sweep);
    claim_dispatch("w1-1", "a#1");
    claim_all({"link sweep a waiting #0",
               "answer sweep: 1 cells, 1 new, 0 done, 0 running, 0 failed before, 0 impossible"});
}

TEST_F(Dispatching, a_kind_is_matched_by_whole_words_without_case) {
    DeviceInfo card;
    card.kind = "a100-sxm4-40gb-400w";
    card.name = "NVIDIA A100-SXM4-40GB";
    EXPECT_TRUE(kind_matches("A100", card));
    EXPECT_TRUE(kind_matches("a100-sxm4", card));
    EXPECT_TRUE(kind_matches("a100-sxm4-40gb-400w", card));
    EXPECT_FALSE(kind_matches("A10", card));
    EXPECT_FALSE(kind_matches("sxm4 a100", card));
    EXPECT_FALSE(kind_matches("cpu", card));
    EXPECT_FALSE(kind_matches("", card));
    DeviceInfo cpu;
    cpu.kind = "cpu";
    cpu.name = "AMD EPYC A100";
    EXPECT_TRUE(kind_matches("CPU", cpu));
    EXPECT_FALSE(kind_matches("A100", cpu));
}

TEST_F(Dispatching, templates_become_jobs_for_each_kind_that_attaches) {
    join("w1-1");
    Submission sweep = submission("sweep", {});
    sweep.templates = {cell("m/fp16/*"), cell("m/int8/*"), cell("m/cuda-only/*")};
    step(sweep);
    claim_all({"answer sweep: 0 cells, 0 new, 0 done, 0 running, 0 failed before, 0 impossible",
               "instantiate sweep m/fp16/cpu m/int8/cpu"});
    EXPECT_FALSE(is_done(state(), *state().find_experiment(ExperimentName{"sweep"})));
    step(CellsResolved{ExperimentName{"sweep"}, {resolved("a=m/fp16"), resolved("b=m/int8")}});
    claim_all({"link sweep a waiting #0", "link sweep b waiting #0",
               "answer sweep: 2 cells, 2 new, 0 done, 0 running, 0 failed before, 0 impossible",
               "job a running #1 w1-1/cpu", "w1-1 <- dispatch a#1 on cpu"});
    join("w2-1", {"cpu", "cuda:0=T4"});
    claim("instantiate sweep m/fp16/T4 m/int8/T4 m/cuda-only/T4");
    claim_dispatch("w2-1", "b#1");
}

TEST_F(Dispatching, a_grown_experiment_means_the_kinds_it_ran_on_though_none_is_attached) {
    submit_new("sweep", {"a=m/fp16"});
    restart();
    Submission grown = submission("sweep", {});
    grown.templates = {cell("m/fp16/*"), cell("m/int8/*"), cell("m/cuda-only/*")};
    step(grown);
    claim_all({"answer sweep: 0 cells, 0 new, 0 done, 0 running, 0 failed before, 0 impossible",
               "instantiate sweep m/fp16/cpu m/int8/cpu"});
    step(CellsResolved{ExperimentName{"sweep"}, {resolved("a=m/fp16"), resolved("b=m/int8")}});
    claim_all({"link sweep b waiting #0",
               "answer sweep: 2 cells, 1 new, 0 done, 1 running, 0 failed before, 0 impossible"});
    join("w1-1");
    claim_dispatch("w1-1", "a#1");
}

TEST_F(Dispatching, a_heartbeat_that_says_nothing_new_costs_no_look_at_the_queue) {
    join("w1-1", {"cpu"}, {"n"});
    submit_new("sweep", {"a=m/fp16"}, 1);
    const std::uint64_t before = state().changes;
    step(Heartbeat{SessionId{"w1-1"}, {}, {}});
    EXPECT_EQ(state().changes, before);
    step(Heartbeat{SessionId{"w1-1"}, {}, {device_state("cpu=8")}});
    EXPECT_GT(state().changes, before);
}

TEST_F(Dispatching, a_draining_worker_finishes_and_gets_nothing_new) {
    join("w1-1");
    submit_new("sweep", {"a=m/fp16", "b=m/fp16"});
    claim_dispatch("w1-1", "a#1");
    step(Control{ControlAction::drain, "w1", {}, {}});
    claim_all({"w1-1 <- drain", "log draining: worker w1",
               "obeyed: worker w1 takes no further job; it leaves after the 1 job that it runs"});
    finish("w1-1", "a#1");
    expect_silence();
    EXPECT_EQ(reason("b"), "every worker that could run it is draining");
}

TEST_F(Dispatching, nothing_is_handed_out_while_the_store_is_away_and_no_lease_runs_out_for_it) {
    join("w1-1");
    submit_new("sweep", {"a=m/fp16", "b=n/fp16"});
    claim_dispatch("w1-1", "a#1");
    step(StoreFailed{});
    join("w2-1");
    expect_silence();
    now_ = now_ + Duration{60'000};
    step(Heartbeat{SessionId{"w2-1"}, {}});
    claim("w2-1 <- welcome");
    step(StoreMended{});
    claim_dispatch("w2-1", "b#1");
    pass(0);
    claim("log lost: worker w1 is silent");
    EXPECT_TRUE(std::holds_alternative<Running>(job("a").state()));
}

TEST_F(Dispatching, a_dispatch_that_cannot_be_sent_is_taken_back_without_a_charge) {
    join("w1-1");
    submit_new("sweep", {"a=m/fp16"});
    claim_dispatch("w1-1", "a#1");
    step(DispatchUnsent{SessionId{"w1-1"}, JobKey{"a"}, Attempt{1}});
    claim_all({"job a backoff #1 until 1001000", "log retry a#1: worker w1 cannot be reached"});
    pass(1'000);
    expect_silence();
    EXPECT_EQ(reason("a"), "every worker that could run it is silent");
    step(Heartbeat{SessionId{"w1-1"}, {}});
    claim_all({"log back: worker w1 speaks again", "w1-1 <- welcome", "job a running #2 w1-1/cpu",
               "w1-1 <- dispatch a#2 on cpu"});
    EXPECT_EQ(job("a").told().crashes, 0);
}

}  // namespace
}  // namespace bitsweep::scheduler
