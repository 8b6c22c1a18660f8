// Which device computes: names, refusals, and who chooses the tokens.
#include "worker/runner/devices.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <span>

#include "tests/runner/support.h"
#include "worker/inference/ceilings/ceilings.h"
#include "worker/inference/generate.h"
#include "worker/inference/model_files.h"
#include "worker/runner/bench.h"

namespace bitsweep::test {
namespace {

constexpr std::uint64_t gib = std::uint64_t{1} << 30;

TEST(DeviceNames, AWordThatNamesNoDeviceIsRefusedWithTheWordsThatDo) {
    for (const char* word : {"", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:0 ", "CPU"}) {
        const auto device = find_device(word);
        ASSERT_FALSE(device.ok()) << word;
        EXPECT_EQ(ErrorCode::invalid_input, device.error().code) << word;
        EXPECT_NE(std::string::npos, device.error().message.find("cuda:N")) << word;
    }
}

TEST(DeviceNames, ACardThatIsNotThereIsRefusedWithWhatIs) {
    const auto device = find_device("cuda:4096");
    ASSERT_FALSE(device.ok());
    EXPECT_EQ(device_count() > 0 ? ErrorCode::not_found : ErrorCode::unsupported,
              device.error().code);
    EXPECT_NE(std::string::npos, device.error().message.find("this machine has: cpu"))
        << device.error().message;
}

TEST(DeviceNames, TheCpuIsAlwaysThereAndListedFirst) {
    EXPECT_TRUE(find_device("cpu")->is_cpu());
    const auto devices = list_devices(nullptr);
    ASSERT_FALSE(devices.empty());
    EXPECT_EQ("cpu", devices.front().id);
    EXPECT_EQ(static_cast<std::size_t>(device_count()) + 1, devices.size());
}

TEST(DeviceNames, EqualCardsHaveOneKindAndOthersAnother) {
    const std::string name = "NVIDIA H100 80GB HBM3";
    EXPECT_EQ("nvidia-h100-80gb-hbm3-80gib-700w", kind_of_card(name, 79 * gib + 5, 699.7, ""));
    // Drivers keep some memory for themselves, a little more or less with each version.
    EXPECT_EQ(kind_of_card(name, 80 * gib - gib / 2, 700, ""),
              kind_of_card(name, 80 * gib - gib / 3, 700, ""));
    EXPECT_NE(kind_of_card(name, 80 * gib, 700, ""), kind_of_card(name, 80 * gib, 500, ""));
    EXPECT_NE(kind_of_card(name, 10 * gib, 700, "1g.10gb"), kind_of_card(name, 10 * gib, 700, ""));
    EXPECT_EQ("tesla-t4-15gib", kind_of_card("Tesla T4", 15 * gib - 1, 0, ""));
}

TEST(DeviceNames, AJobForAnotherDeviceThanTheRunnersIsAFailure) {
    Dispatch job = dispatch_of(job_of("llama-pico", "fp16"));
    job.device = "cuda:1";
    const Served served = serve(std::vector{job});
    ASSERT_EQ(1U, served.results.size());
    EXPECT_EQ(OutcomeClass::failure, served.results[0].outcome.outcome);
    EXPECT_NE(std::string::npos, served.results[0].outcome.message.find("cuda:1"));
    EXPECT_TRUE(served.results[0].measurements.empty());
}

// ---- who chooses the tokens

SequencePlan plan_of(const ModelFiles& files, std::int64_t batch) {
    return {.prompt = {5, 9, 2, 77, 31},
            .batch = batch,
            .new_tokens = 9,
            .stop_id = -1,
            .vocabulary = files.config.vocabulary};
}

TEST(Generate, OnTheCpuIsOneForwardAndOneArgmaxForEachToken) {
    const auto files = open_model(model_path("llama-pico"));
    ASSERT_TRUE(files.ok()) << files.error().message;
    for (const std::int64_t batch : {1, 3}) {
        EngineOptions options{.method = *parse_method("int8"), .batch = batch, .context = 32};
        const auto engine = load_engine(*files, options, nullptr);
        ASSERT_TRUE(engine.ok()) << engine.error().message;
        const SequencePlan plan = plan_of(*files, batch);
        std::vector<std::int64_t> seen;
        const auto sequence = generate_sequence(
            **engine, plan, [&seen](std::int64_t chosen) { seen.push_back(chosen); });
        ASSERT_TRUE(sequence.ok()) << sequence.error().message;

        std::vector<std::int32_t> wanted;
        std::vector<std::int32_t> ids;
        for (std::int64_t b = 0; b < batch; ++b) {
            ids.insert(ids.end(), plan.prompt.begin(), plan.prompt.end());
        }
        std::vector<float> logits(static_cast<std::size_t>(batch * plan.vocabulary));
        (*engine)->reset();
        std::int64_t tokens = static_cast<std::int64_t>(plan.prompt.size());
        while (wanted.size() < 9) {
            ASSERT_TRUE((*engine)->forward(ids, tokens, logits.data()).ok());
            wanted.push_back(
                argmax(std::span(logits).first(static_cast<std::size_t>(plan.vocabulary))));
            ids.assign(static_cast<std::size_t>(batch), wanted.back());
            tokens = 1;
        }
        EXPECT_EQ(wanted, sequence->new_ids);
        EXPECT_EQ(8U, sequence->trace.token_ns.size());
        EXPECT_EQ((std::vector<std::int64_t>{2, 3, 4, 5, 6, 7, 8, 9}), seen);
        std::int64_t sum = 0;
        for (const std::int64_t ns : sequence->trace.token_ns) {
            sum += ns;
        }
        EXPECT_EQ(sum, decode_time_ns(sequence->trace));
    }
}

TEST(Generate, StopsAfterTheStopTokenWhichItKeeps) {
    const auto files = open_model(model_path("llama-pico"));
    ASSERT_TRUE(files.ok()) << files.error().message;
    const auto engine =
        load_engine(*files, {.method = *parse_method("fp16"), .context = 32}, nullptr);
    ASSERT_TRUE(engine.ok()) << engine.error().message;
    SequencePlan plan = plan_of(*files, 1);
    const auto whole = generate_sequence(**engine, plan, {});
    ASSERT_TRUE(whole.ok());
    const std::size_t first = 4;
    plan.stop_id = whole->new_ids[first];
    const auto stop = std::find(whole->new_ids.begin(), whole->new_ids.end(), plan.stop_id);
    const auto cut = generate_sequence(**engine, plan, {});
    ASSERT_TRUE(cut.ok());
    EXPECT_EQ(std::vector(whole->new_ids.begin(), stop + 1), cut->new_ids);
}

// An engine that chooses tokens itself; asked for logits, it fails.
class OwnChoice : public Engine, public SequenceGenerator {
 public:
    void reset() override {}
    Status forward(std::span<const std::int32_t>, std::int64_t, float*) override {
        return make_error(ErrorCode::internal, "nobody asks for logits here");
    }
    Status score(std::span<const std::int32_t>, const LogitsSink&,
                 std::vector<LayerOutliers>*) override {
        return {};
    }
    MemoryBytes memory() const override { return {}; }
    std::uint64_t bytes_per_token(std::int64_t) const override { return 0; }
    Result<Sequence> generate(const SequencePlan& plan, const TokenSink&) override {
        Sequence sequence;
        sequence.new_ids.assign(static_cast<std::size_t>(plan.new_tokens), 7);
        sequence.trace.token_ns = {100, 300};
        sequence.trace.decode_ns = 1000;
        return sequence;
    }
};

TEST(Generate, LeavesTheChoiceToAnEngineThatMakesItItself) {
    OwnChoice engine;
    const auto sequence =
        generate_sequence(engine, {.prompt = {1}, .new_tokens = 3, .vocabulary = 8}, {});
    ASSERT_TRUE(sequence.ok()) << sequence.error().message;
    EXPECT_EQ((std::vector<std::int32_t>{7, 7, 7}), sequence->new_ids);
    // Rates are made of the host's clock, not of the device's tokens.
    EXPECT_EQ(1000, decode_time_ns(sequence->trace));
}

// ---- the bench's words

TEST(BenchMethods, TakeAThresholdOfTheirOwnAfterAnAt) {
    const auto method = parse_bench_method("llmint8-fused@2.5", Device{});
    ASSERT_TRUE(method.ok()) << method.error().message;
    EXPECT_EQ("llmint8-fused", method->method);
    EXPECT_EQ(2.5, method->threshold);
    for (const char* word : {"llmint8-fused@", "llmint8-fused@x", "llmint8-fused@6x", "int8@6",
                             "llmint8-fused@-1", "no-such-method"}) {
        const auto refused = parse_bench_method(word, Device{});
        ASSERT_FALSE(refused.ok()) << word;
        EXPECT_EQ(ErrorCode::invalid_input, refused.error().code) << word;
    }
}

TEST(BenchMethods, RunSideBySideWithBatchAndContext) {
    const Ended ended = runner({"bench",
                                "--model",
                                "gpt2",
                                "--weights",
                                "random",
                                "--planted",
                                "0",
                                "--methods",
                                "llmint8-fused@0,llmint8-fused@6",
                                "--threads",
                                "1",
                                "--rounds",
                                "1",
                                "--tokens",
                                "2",
                                "--prefill",
                                "4",
                                "--batch",
                                "2",
                                "--prompt-tokens",
                                "3",
                                "--json"});
    ASSERT_EQ(0, ended.exit_code) << ended.err;
    EXPECT_NE(std::string::npos, ended.out.find("llmint8-fused@0"));
    EXPECT_NE(std::string::npos,
              ended.out.find("\"gpt2/llmint8-fused@6/head8/t1/decode_tokens_per_s\""));
    for (const char* option : {"--batch", "--prompt-tokens", "--rounds"}) {
        const Ended refused =
            runner({"bench", "--model", "gpt2", "--weights", "random", option, "0"});
        EXPECT_EQ(2, refused.exit_code) << option;
        EXPECT_NE(std::string::npos, refused.err.find(option)) << refused.err;
    }
}

}  // namespace
}  // namespace bitsweep::test
