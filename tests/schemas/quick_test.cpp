// The reader that goes from text straight to a noun, against the one that asks the library: it must
// never accept what the library refuses, it must read the same, and it must accept what bitsweep
// writes.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "schemas/codec_read.h"

namespace bitsweep::codec {
namespace {

namespace fs = std::filesystem;

// As bitsweep writes it: every valid example of a message, read and written once.
std::vector<std::string> written_messages() {
    std::vector<std::string> out;
    for (const auto& entry :
         fs::directory_iterator(fs::path(BITSWEEP_SOURCE_DIR) / "schemas/examples/valid")) {
        if (entry.path().filename().string().starts_with("message.")) {
            std::ifstream in(entry.path());
            const std::string text{std::istreambuf_iterator<char>(in), {}};
            out.push_back(to_json(message_from_json(text).value()));
        }
    }
    return out;
}

// What the library makes of a text, written again; "" where it refuses.
std::string by_library(const std::string& text) {
    const Json json = Json::parse(text, nullptr, false);
    if (!json.is_object() || !json.contains("type") || !json["type"].is_string() ||
        json.value("protocol", Json()) != protocol_version ||
        !judge_by_library("/message/definitions/" + json["type"].get<std::string>(), json)) {
        return {};
    }
    try {
        return to_json(decode_message(json));
    } catch (const std::exception&) {
        return {};
    }
}

TEST(Quick, whatBitsweepWritesIsReadWithoutTheLibrary) {
    const std::vector<std::string> texts = written_messages();
    EXPECT_GE(texts.size(), std::variant_size_v<Message>);
    for (const std::string& text : texts) {
        const std::optional<Message> message = read_message(text);
        ASSERT_TRUE(message.has_value()) << text;
        EXPECT_EQ(to_json(*message), text);
        EXPECT_EQ(by_library(text), text);
    }
}

TEST(Quick, blanksBetweenTheMarksAreNoObstacle) {
    const std::string text =
        " { \"protocol\" : 4 , \"type\" : \"result_ack\" ,\n\t\"key\" : \"a\" , \"attempt\" : 3 } ";
    const std::optional<Message> message = read_message(text);
    ASSERT_TRUE(message.has_value());
    EXPECT_EQ(std::get<ResultAck>(*message).attempt.value, 3u);
}

// One random damage to the text: a byte, a piece twice, a piece less, a foreign word.
std::string damaged(std::string text, std::mt19937_64& random) {
    static const std::vector<std::string> words = {"null",
                                                   "true",
                                                   "-1",
                                                   "1.5",
                                                   "1e3",
                                                   "0",
                                                   "00",
                                                   "-0",
                                                   "\"\"",
                                                   "{}",
                                                   "[]",
                                                   ",",
                                                   "}",
                                                   "]",
                                                   "\"../up\"",
                                                   "1e999",
                                                   "\\",
                                                   "\"",
                                                   "\\u0041",
                                                   "\xff",
                                                   "\xc3\xa4",
                                                   "\xed\xa0\x80",
                                                   "9223372036854775808",
                                                   "\"stranger\":1,"};
    const auto place = [&] { return static_cast<std::size_t>(random() % text.size()); };
    const std::size_t at = place();
    const std::size_t length = 1 + random() % 12;
    switch (random() % 5) {
        case 0:
            text[at] = static_cast<char>(random() % 256);
            break;
        case 1:
            text.insert(at, text.substr(place(), length));
            break;
        case 2:
            text.erase(at, length);
            break;
        case 3:
            text.insert(at, words[random() % words.size()]);
            break;
        default: {  // a whole value becomes another
            const std::size_t colon = text.find(':', at);
            if (colon != std::string::npos) {
                const std::size_t end = text.find_first_of(",}]", colon);
                text.replace(colon + 1, end - colon - 1, words[random() % words.size()]);
            }
        }
    }
    return text;
}

TEST(Quick, afterAnyDamageItReadsWhatTheLibraryReadsOrNothing) {
    std::mt19937_64 random(20'261'130);
    int still_read = 0;
    int refused = 0;
    for (const std::string& text : written_messages()) {
        for (int round = 0; round < 1'500; ++round) {
            std::string wrong = damaged(text, random);
            for (std::uint64_t more = random() % 3; more > 0 && !wrong.empty(); --more) {
                wrong = damaged(wrong, random);
            }
            const std::optional<Message> quick = read_message(wrong);
            if (!quick) {
                ++refused;
                continue;
            }
            ++still_read;
            ASSERT_EQ(to_json(*quick), by_library(wrong)) << wrong;
        }
    }
    EXPECT_GT(still_read, 500);
    EXPECT_GT(refused, 5'000);
}

TEST(Quick, aMemberThatComesTwiceIsLeftToTheLibrary) {
    const std::string text =
        "{\"protocol\":4,\"type\":\"result_ack\",\"key\":\"a\",\"key\":\"b\",\"attempt\":3}";
    EXPECT_FALSE(read_message(text));
    EXPECT_EQ(std::get<ResultAck>(message_from_json(text).value()).key.value, "b");
}

TEST(Quick, moreValuesThanThePermittedNumberAreRefused) {
    std::string text =
        "{\"protocol\":4,\"type\":\"result\",\"session\":\"s\",\"result\":{\"key\":\"k\","
        "\"attempt\":1,\"outcome\":{\"class\":\"done\",\"message\":\"\","
        "\"evidence\":\"\"},\"started_unix_ms\":0,\"finished_unix_ms\":0,"
        "\"measurements\":[],\"samples\":[";
    std::string series = "{\"metric\":\"m\",\"unit\":\"u\",\"values\":[0";
    for (int i = 1; i < 1'000'000; ++i) {
        series += ",0";
    }
    series += "]}";
    for (int i = 0; i < 9; ++i) {
        text += (i == 0 ? "" : ",") + series;
    }
    text += "]}}";
    ASSERT_LT(text.size(), max_json_bytes);
    EXPECT_FALSE(read_message(text));
    EXPECT_FALSE(message_from_json(text));
}

// ---- texts

TEST(Quick, textsOfEveryKindGoThereAndBack) {
    for (const std::string text : {"", "plain", "quotes \" and \\ and /", "\b\f\n\r\t\x01\x1f\x7f",
                                   "\xC3\xBC \xE2\x82\xAC", "\xF0\x9F\x98\x80", "null"}) {
        const Message sent = Refusal{ErrorCode::io, text};
        const std::optional<Message> back = read_message(to_json(sent));
        ASSERT_TRUE(back.has_value()) << text;
        EXPECT_EQ(std::get<Refusal>(*back).reason, text);
        EXPECT_EQ(by_library(to_json(sent)), to_json(sent));
    }
}

TEST(Quick, badUtf8IsReplacedWhenItIsWrittenAndRefusedWhenItIsRead) {
    const std::string text = to_json(Message(Refusal{ErrorCode::io, "a\xff\x80z"}));
    EXPECT_EQ(std::get<Refusal>(*read_message(text)).reason, "a\xEF\xBF\xBD\xEF\xBF\xBDz");
    for (const char* bad : {"\xff", "\xC0\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE2\x82"}) {
        const std::string raw =
            std::string("{\"protocol\":4,\"type\":\"explain_request\",\"job\":\"") + bad + "\"}";
        EXPECT_FALSE(read_message(raw));
        EXPECT_FALSE(message_from_json(raw));
    }
}

TEST(Quick, numbersComeBackAsTheyWere) {
    std::mt19937_64 random(7);
    for (int i = 0; i < 20'000; ++i) {
        const double value = std::bit_cast<double>(random());
        std::string text;
        write(text, value);
        if (!std::isfinite(value)) {
            EXPECT_EQ(text, "null");
            continue;
        }
        Scanner in(text);
        double back = 0;
        bool as_integer = true;
        ASSERT_TRUE(in.number(back, as_integer)) << text;
        EXPECT_EQ(back, value);
        EXPECT_FALSE(as_integer) << text << ": a fraction stays one";
        EXPECT_EQ(Json::parse(text).get<double>(), value);
    }
}

}  // namespace
}  // namespace bitsweep::codec
