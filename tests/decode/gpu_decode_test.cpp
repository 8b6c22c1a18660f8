// The streaming kernel inside the engine against the same engine going step by step: every family
// and method, contexts on both sides of the splits of the attention. Skips without a card.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <numeric>
#include <string>
#include <vector>

#include "tests/decode/gpu_support.h"

namespace bitsweep::decode::test {
namespace {

struct Case {
    const char* method;
    double threshold;
    int head_bits;
};

const Case cases[] = {
    {"fp16", 0, 16},    {"bf16", 0, 16},         {"int8", 0, 8},
    {"w8a8", 0, 16},    {"llmint8-fused", 0, 8}, {"llmint8-fused", 6, 8},
    {"int4-g64", 0, 8}, {"nf4", 0, 8},           {"fp4", 0, 16},
};

// The new token after 127, 128 and 129 positions is the last of one split or the first of two.
constexpr std::int64_t prompts[] = {1, 5, 125, 255, 300};
constexpr std::int64_t new_tokens = 8;

#define SKIP_WITHOUT_CARD()             \
    if (!has_card()) {                  \
        GTEST_SKIP() << "no card here"; \
    }

SequencePlan plan_of(const ModelFiles& files, std::int64_t prompt, std::int64_t count) {
    return {.prompt = some_ids(files, prompt),
            .batch = 1,
            .new_tokens = count,
            .stop_id = -1,
            .vocabulary = files.config.vocabulary};
}

TEST(StreamingDecode, ChoosesTokensThatStepsFindBestOrEqual) {
    SKIP_WITHOUT_CARD();
    int streamed = 0;
    for (const Subject& subject : subjects()) {
        for (const Case& one : cases) {
            const std::string what =
                subject.name + " " + one.method + " threshold " + std::to_string(one.threshold);
            SCOPED_TRACE(what);
            // Beside an outlier, 8-bit activations are mostly rounding: which way a half falls
            // decides, and the two ways round from half and from float32.
            if (subject.planted > 0 && std::string(one.method) == "w8a8") {
                continue;
            }
            Wish wish{one.method, one.threshold, one.head_bits, 320};
            wish.context = std::min<std::int64_t>(320, subject.files.config.positions);
            const auto free_running = engine_on_card(subject.files, wish);
            wish.path = DecodePath::steps;
            const auto steps = engine_on_card(subject.files, wish);
            ASSERT_TRUE(free_running && steps);
            for (const std::int64_t prompt : prompts) {
                if (prompt + new_tokens > wish.context) {
                    continue;
                }
                const SequencePlan plan = plan_of(subject.files, prompt, new_tokens);
                const auto sequence = generate_sequence(*free_running, plan, {});
                ASSERT_TRUE(sequence.ok()) << sequence.error().message;
                ASSERT_EQ(static_cast<std::size_t>(new_tokens), sequence->new_ids.size());
                streamed += sequence->trace.decoded_by == "stream" ? 1 : 0;
                const double regret = worst_regret(*steps, plan, sequence->new_ids);
                // Activations of w8a8 are rounded from half here, from float32 step by step: of 30
                // seeds of the shape like Mistral, five prompts each, 44 found another token, the
                // worst by 0.080; fp16 and llmint8-fused none.
                const double most = std::string(one.method) == "w8a8" ? 0.15 : 0.05;
                EXPECT_LE(regret, most) << "prompt of " << prompt;
            }
        }
    }
    EXPECT_GT(streamed, 0) << "nothing ran on the streaming kernel";
}

TEST(StreamingDecode, RunsFreeForEveryTrainedFamilyAndMethodOfTheKernel) {
    SKIP_WITHOUT_CARD();
    for (const Subject& subject : subjects()) {
        for (const Case& one : cases) {
            const auto engine =
                engine_on_card(subject.files, {one.method, one.threshold, one.head_bits, 32});
            ASSERT_TRUE(engine);
            const auto sequence = generate_sequence(*engine, plan_of(subject.files, 4, 3), {});
            ASSERT_TRUE(sequence.ok()) << sequence.error().message;
            std::printf("%-14s %-14s %s\n", subject.name.c_str(), one.method,
                        sequence->trace.decoded_by.c_str());
        }
    }
}

TEST(StreamingDecode, IsRepeatableAndStopsAfterTheStopToken) {
    SKIP_WITHOUT_CARD();
    const auto all = subjects();
    const Subject& subject = all.front();
    const auto engine = engine_on_card(subject.files, {.method = "int8", .context = 200});
    ASSERT_TRUE(engine);
    SequencePlan plan = plan_of(subject.files, 7, 150);
    const auto first = generate_sequence(*engine, plan, {});
    const auto again = generate_sequence(*engine, plan, {});
    ASSERT_TRUE(first.ok() && again.ok());
    EXPECT_EQ(first->new_ids, again->new_ids);

    plan.stop_id = first->new_ids[70];
    const auto stop = std::find(first->new_ids.begin(), first->new_ids.end(), plan.stop_id);
    const auto cut = generate_sequence(*engine, plan, {});
    ASSERT_TRUE(cut.ok()) << cut.error().message;
    EXPECT_EQ(std::vector(first->new_ids.begin(), stop + 1), cut->new_ids);
    EXPECT_EQ(cut->new_ids.size() - 1, cut->trace.token_ns.size());
}

TEST(StreamingDecode, TwoClocksAgreeOnTheTimeOfARun) {
    SKIP_WITHOUT_CARD();
    const auto all = subjects();
    const Subject& subject = all.front();
    const auto engine = engine_on_card(subject.files, {.method = "fp16", .context = 300});
    ASSERT_TRUE(engine);
    const SequencePlan plan = plan_of(subject.files, 8, 257);
    ASSERT_TRUE(generate_sequence(*engine, plan, {}).ok());
    const auto sequence = generate_sequence(*engine, plan, {});
    ASSERT_TRUE(sequence.ok());
    const SequenceTrace& trace = sequence->trace;
    ASSERT_EQ(256U, trace.token_ns.size());
    const auto device =
        std::accumulate(trace.token_ns.begin(), trace.token_ns.end(), std::int64_t{0});
    EXPECT_GT(device, 0);
    EXPECT_GE(trace.decode_ns, device);  // the host's clock sees the launch, too
    EXPECT_LE(trace.decode_ns - device, 2'000'000);
}

TEST(StreamingDecode, ATokenBeyondTheCacheIsRefused) {
    SKIP_WITHOUT_CARD();
    const auto all = subjects();
    const auto engine = engine_on_card(all[0].files, {.method = "fp16", .context = 16});
    ASSERT_TRUE(engine);
    const auto sequence = generate_sequence(*engine, plan_of(all[0].files, 8, 20), {});
    ASSERT_FALSE(sequence.ok());
    EXPECT_EQ(ErrorCode::invalid_input, sequence.error().code);
}

}  // namespace
}  // namespace bitsweep::decode::test
