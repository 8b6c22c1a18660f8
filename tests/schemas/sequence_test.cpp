#include "schemas/sequence.h"

#include <gtest/gtest.h>

#include "schemas/codec.h"

namespace bitsweep {

namespace {

std::vector<Message> refusals(std::size_t count, std::size_t length = 3) {
    std::vector<Message> messages;
    for (std::size_t i = 0; i < count; ++i) {
        messages.emplace_back(
            Refusal{ErrorCode::refused, std::to_string(i) + std::string(length, 'x')});
    }
    return messages;
}

std::vector<std::string> reasons_in(const std::vector<std::string>& frames) {
    std::vector<std::string> reasons;
    for (const std::string& frame : frames) {
        const auto texts = texts_of(frame);
        EXPECT_TRUE(texts);
        for (const std::string_view text : *texts) {
            const Result<Message> message = message_from_json(text);
            EXPECT_TRUE(message) << message.error().message;
            reasons.push_back(std::get<Refusal>(*message).reason);
        }
    }
    return reasons;
}

std::vector<std::string> reasons_of(const std::vector<Message>& messages) {
    std::vector<std::string> reasons;
    for (const Message& message : messages) {
        reasons.push_back(std::get<Refusal>(message).reason);
    }
    return reasons;
}

TEST(Sequence, OneMessageIsAPlainFrame) {
    const Message drain = Drain{};
    EXPECT_EQ(frames_of({&drain, 1}), std::vector<std::string>{to_json(drain)});
    EXPECT_TRUE(frames_of({}).empty());
}

TEST(Sequence, SeveralMessagesComeBackInOrderFromOneFrame) {
    const std::vector<Message> messages = refusals(3);
    const std::vector<std::string> frames = frames_of(messages);
    ASSERT_EQ(frames.size(), 1u);
    EXPECT_EQ(frames[0].front(), '\x1e');
    EXPECT_EQ(frames[0].back(), '\n');
    EXPECT_EQ(reasons_in(frames), reasons_of(messages));
}

TEST(Sequence, AMarkInsideATextSeparatesNothing) {
    std::vector<Message> messages = refusals(2);
    std::get<Refusal>(messages[0]).reason = "a\x1e{}\nb";
    EXPECT_EQ(reasons_in(frames_of(messages)), reasons_of(messages));
}

TEST(Sequence, MoreThanAFrameHoldsTakesSeveral) {
    const std::vector<Message> many = refusals(2 * most_messages_in_frame + 1);
    EXPECT_EQ(frames_of(many).size(), 3u);
    EXPECT_EQ(reasons_in(frames_of(many)), reasons_of(many));
    const std::vector<Message> full = refusals(most_messages_in_frame);
    EXPECT_EQ(frames_of(full).size(), 1u);
}

TEST(Sequence, LongMessagesDoNotWaitForOneAnother) {
    const std::vector<Message> messages = refusals(100, 8'000);
    const std::vector<std::string> frames = frames_of(messages);
    EXPECT_EQ(frames.size(), 4u);
    for (const std::string& frame : frames) {
        EXPECT_LT(frame.size(), usual_frame_bytes + 9'000);
    }
    EXPECT_EQ(reasons_in(frames), reasons_of(messages));
}

TEST(Sequence, AFrameOfTooManyMessagesIsRefused) {
    const auto texts = texts_of(std::string(most_messages_in_frame + 1, '\x1e'));
    ASSERT_FALSE(texts);
    EXPECT_EQ(texts.error().code, ErrorCode::invalid_input);
    EXPECT_EQ(texts.error().message, "a frame of 257 messages; the limit is 256");
}

TEST(Sequence, EveryFrameHasATextThatIsJudged) {
    using Texts = std::vector<std::string_view>;
    EXPECT_EQ(*texts_of(""), Texts{""});
    EXPECT_EQ(*texts_of("{}"), Texts{"{}"});
    EXPECT_EQ(*texts_of("{}\x1e{}"), Texts{"{}\x1e{}"});
    EXPECT_EQ(*texts_of("\x1e"), Texts{""});
    EXPECT_EQ(*texts_of("\x1e{}\n\x1e\x1e[]\n"), (Texts{"{}\n", "", "[]\n"}));
}

}  // namespace
}  // namespace bitsweep
