// What a job asks of a device, with the real catalog, and what measured peaks change.
#include <gtest/gtest.h>

#include <set>

#include "coordinator/scheduler/explain.h"
#include "coordinator/scheduler/placement.h"
#include "schemas/policy.h"
#include "tests/scheduler/builders.h"

namespace bitsweep::scheduler {
namespace {

constexpr std::uint64_t mib = 1ull << 20;
constexpr std::uint64_t gib = 1ull << 30;

JobSpec llama(const std::string& method) {
    JobSpec spec;
    spec.model.name = "llama-3.2-1b";
    spec.model.weights = WeightsSource::random;
    spec.method = method;
    spec.quality.mode = QualityMode::off;
    return spec;
}

TEST(Needs, of_a_1b_model_are_its_weights_and_little_more) {
    // 1.236e9 parameters; at 16 bits 2.3 GiB, at 4 bits with a 16-bit head about 1 GiB.
    const std::uint64_t fp16 = needs_of(llama("fp16")).bytes;
    const std::uint64_t nf4 = needs_of(llama("nf4")).bytes;
    EXPECT_GT(fp16, 2'300 * mib);
    EXPECT_LT(fp16, 2'800 * mib);
    EXPECT_GT(nf4, 950 * mib);
    EXPECT_LT(nf4, 1'500 * mib);
}

TEST(Needs, of_a_policy_are_those_of_its_layers) {
    LayerPolicy policy;
    for (int layer = 0; layer < 16; ++layer) {
        for (const char* name :
             {"self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj"}) {
            policy.layers["model.layers." + std::to_string(layer) + "." + name] = "int8";
        }
    }
    JobSpec spec = llama("mixed");
    const auto with = [&](const std::string& method) {
        for (auto& [name, own] : policy.layers) {
            own = method;
        }
        spec.policy = to_json(policy);
        return needs_of(spec).bytes;
    };
    EXPECT_EQ(with("int8"), needs_of(llama("int8")).bytes);
    EXPECT_EQ(with("int4-g64"), needs_of(llama("int4-g64")).bytes);
    // 973 million weights in linear layers: a byte for the codes, two for the originals.
    JobSpec paper = llama("llmint8-paper");
    paper.threshold = 6;
    EXPECT_EQ(with("llmint8-paper@6"), needs_of(paper).bytes);
    EXPECT_GT(with("llmint8-paper@6"), with("fp16") + 900 * mib);
    EXPECT_GT(with("fp32"), with("fp16") + 1'800 * mib);
    spec.policy = "not a policy";
    EXPECT_EQ(needs_of(spec).bytes, with("fp16")) << "the job says what is wrong with it";
}

TEST(Needs, grow_with_context_and_batch) {
    JobSpec spec = llama("int8");
    const std::uint64_t small = needs_of(spec).bytes;
    spec.prompt_tokens = 8'192;
    const std::uint64_t deep = needs_of(spec).bytes;
    EXPECT_GT(deep, small + 200 * mib);  // 16 layers x 2 x 512 x 2 bytes are 32 KiB a token
    spec.batch = 8;
    EXPECT_GT(needs_of(spec).bytes, deep + 1'500 * mib);
}

TEST(Needs, that_differ_by_less_than_the_estimate_is_good_for_are_the_same) {
    std::set<std::uint64_t> different;
    for (std::int64_t tokens = 1; tokens <= 1'000; ++tokens) {
        JobSpec spec = llama("fp16");
        spec.new_tokens = tokens;
        different.insert(needs_of(spec).bytes);
    }
    EXPECT_LT(different.size(), 40u) << "a thousand lengths, of 2.4 GiB in steps of 8 MiB";
    EXPECT_GT(different.size(), 2u);
}

TEST(Needs, of_a_quality_job_include_the_fp32_reference_on_the_host_only) {
    JobSpec spec = llama("int8");
    EXPECT_EQ(needs_of(spec).reference_bytes, 0u);
    spec.quality.mode = QualityMode::once;
    const Needs needs = needs_of(spec);
    EXPECT_GT(needs.reference_bytes, 4'600 * mib);
    spec.repeat = 1;  // scored in the first repeat only
    EXPECT_EQ(needs_of(spec).reference_bytes, 0u);

    CellTable cells;
    const Job job(PackedKey("a"), cells.pack(Cell{spec, {}, {}, 0}), needs, 0);
    State state;
    state.cuda_context_bytes = 600 * mib;
    EXPECT_EQ(bytes_needed(state, job, device("cpu")), needs.bytes + needs.reference_bytes);
    EXPECT_EQ(bytes_needed(state, job, device("cuda:0=T4")), needs.bytes + 600 * mib);
}

TEST(Needs, of_an_unknown_model_are_unknown_and_of_an_unknown_method_impossible) {
    JobSpec spec = llama("int8");
    spec.model.name = "nobody-knows";
    EXPECT_EQ(needs_of(spec).bytes, 0u);
    spec.method = "int99";
    EXPECT_FALSE(needs_of(spec).runs_on_cpu || needs_of(spec).runs_on_cuda);
}

TEST(Needs, are_corrected_by_what_an_earlier_job_of_the_same_kind_held_at_most) {
    Scheduler scheduler(test_options());
    const TimePoint now{1'000};
    (void)scheduler.step(now, hello("w1-1", {"cuda:0=T4=24"}, {"big"}));
    Submission two = submission("sweep", {"a=big/fp16/T4", "b=big/fp16/T4"});
    edit(two.cells[1]).spec.repeat = 1;
    (void)scheduler.step(now, two);
    const Job& b = scheduler.state().job(*scheduler.state().find(JobKey{"b"}));
    EXPECT_EQ(bytes_needed(scheduler.state(), b, device("cuda:0=T4")), 21 * gib);

    ResultArrived arrived = result("w1-1", "a#1");
    RunResult measured = *arrived.result;
    measured.measurements.push_back(
        {std::string(peak_metric), "B", 0, static_cast<double>(17 * gib)});
    arrived.result = std::make_shared<const RunResult>(measured);
    (void)scheduler.step(now, arrived);
    EXPECT_EQ(bytes_needed(scheduler.state(), b, device("cuda:0=T4")), 17 * gib);
}

TEST(Needs, weights_that_a_runner_holds_are_counted_as_loads_saved) {
    Scheduler scheduler(test_options());
    const TimePoint now{1'000};
    (void)scheduler.step(now, hello("w1-1"));
    (void)scheduler.step(now, submission("sweep", {"a=m/fp16", "b=n/fp16", "c=m/int8"}));
    (void)scheduler.step(now, result("w1-1", "a#1"));
    const Worker& worker = scheduler.state().workers().begin()->second;
    EXPECT_TRUE(std::holds_alternative<Running>(
        scheduler.state().job(*scheduler.state().find(JobKey{"c"})).state()))
        << "the job of the same weights goes first";
    (void)scheduler.step(now, result("w1-1", "c#1"));
    EXPECT_EQ(worker.loads, 2);
    EXPECT_EQ(worker.loads_saved, 1);
    // A runner that died has lost them.
    (void)scheduler.step(now, result("w1-1", "b#1", OutcomeClass::crash));
    (void)scheduler.step({2'000}, Tick{});
    EXPECT_EQ(worker.loads, 3);
}

TEST(Needs, without_affinity_jobs_go_out_in_their_order) {
    Options options = test_options();
    options.affinity = Affinity::none;
    Scheduler scheduler(options);
    const TimePoint now{1'000};
    (void)scheduler.step(now, hello("w1-1"));
    (void)scheduler.step(now, submission("sweep", {"a=m/fp16", "b=n/fp16", "c=m/int8"}));
    (void)scheduler.step(now, result("w1-1", "a#1"));
    EXPECT_TRUE(std::holds_alternative<Running>(
        scheduler.state().job(*scheduler.state().find(JobKey{"b"})).state()));
    (void)scheduler.step(now, result("w1-1", "b#1"));
    EXPECT_EQ(scheduler.state().workers().begin()->second.loads, 3);
}

}  // namespace
}  // namespace bitsweep::scheduler
