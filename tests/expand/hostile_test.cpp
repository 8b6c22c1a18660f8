// Files that nobody meant to write, and files that somebody did.
#include <gtest/gtest.h>

#include <chrono>
#include <random>

#include "coordinator/expand/yaml_node.h"
#include "tests/expand/files.h"

namespace bitsweep::testing {
namespace {

const std::string tail = "\nmatrix: {model: llama-nano, method: fp16}\n";

TEST(HostileYaml, MoreThanAMebibyteIsRefused) {
    const std::string yaml = "experiment: a" + tail + "#" + std::string(1 << 20, 'x');
    EXPECT_EQ(refusal(yaml), "test.yaml: " + std::to_string(yaml.size()) +
                                 " bytes; an experiment has at most 1 MiB: use ranges");
}

TEST(HostileYaml, BytesThatAreNotUtf8AreRefusedWithTheirPlace) {
    for (const char* bytes : {"\xff", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82"}) {
        EXPECT_EQ(refusal("experiment: a\nquestion: x" + std::string(bytes) + tail),
                  "test.yaml:2:12: these bytes are not UTF-8: save the file as UTF-8");
    }
    EXPECT_EQ(refusal("experiment: a\nquestion: x\xe2\x82\xac" + tail), "accepted");
}

TEST(HostileYaml, ControlCharactersAreRefusedWithTheirPlace) {
    EXPECT_EQ(refusal(std::string("exper\0iment: a", 14) + tail),
              "test.yaml:1:6: a control character (byte 0) stands here: is this a text file?");
    EXPECT_EQ(refusal("experiment: \x1b[31m" + tail),
              "test.yaml:1:13: a control character (byte 27) stands here: is this a text file?");
}

TEST(HostileYaml, ATextWithoutItsEndIsRefusedWhereverTheZeroStands) {
    for (const char* prompt : {"\\0x", "ok\\0ok"}) {
        EXPECT_EQ(refusal("experiment: a\nquestion: \"" + std::string(prompt) + "\"" + tail),
                  "test.yaml:2:11: a text cannot hold the character of number 0 (`\\0`): leave it "
                  "out");
    }
}

TEST(HostileYaml, NestingIsBoundedHoweverItIsWritten) {
    const auto deep = [](const std::string& open, std::size_t times) {
        std::string text = "experiment: a\ntags: ";
        for (std::size_t i = 0; i < times; ++i) {
            text += open;
        }
        return refusal(text + tail);
    };
    EXPECT_NE(deep("[", 200'000).find("nested deeper"), std::string::npos);
    EXPECT_NE(deep("{a: ", 200'000).find("nested deeper"), std::string::npos);
    std::string block = "experiment: a\ntags:\n";
    for (int i = 1; i < 200; ++i) {
        block += std::string(static_cast<std::size_t>(i), ' ') + "a:\n";
    }
    EXPECT_NE(refusal(block + tail).find("nested deeper"), std::string::npos);
    // Depth through aliases: each anchor is one deeper than the last.
    std::string chain = "experiment: a\ntags:\n  a0: &a0 [x]\n";
    for (int i = 1; i < 40; ++i) {
        const std::string n = std::to_string(i);
        chain += "  a" + n + ": &a" + n + " [*a" + std::to_string(i - 1) + "]\n";
    }
    EXPECT_NE(refusal(chain + tail).find("nested deeper"), std::string::npos);
}

TEST(Overrides, ATextThatReadsAsAMapIsToBeQuoted) {
    const Result<Expansion> expansion =
        expand_yaml("experiment: a" + tail, "test.yaml", {{"prompt", "x: y"}});
    ASSERT_FALSE(expansion.ok());
    EXPECT_TRUE(expansion.error().message.ends_with(
        "; quote a text that has `: ` in it, such as --set 'prompt=\"x: ...\"'"))
        << expansion.error().message;
}

TEST(HostileYaml, AnAliasInsideItsOwnAnchorIsRefused) {
    EXPECT_EQ(refusal("experiment: a\ntags: &t [*t]" + tail),
              "test.yaml:2:11: this alias stands inside its own anchor");
}

TEST(HostileYaml, AMapOfThousandsOfKeysIsRefusedSoon) {
    std::string yaml = "experiment: a\ntags:\n";
    for (int i = 0; i < 100'000; ++i) {
        yaml += " k" + std::to_string(i) + ":\n";
    }
    EXPECT_EQ(refusal(yaml + tail), "test.yaml:4099:2: more than 4096 keys in one map");
}

TEST(HostileYaml, AListOfAMebibyteIsRefusedOrRead) {
    std::string yaml = "experiment: a\nmatrix: {model: llama-nano, method: fp16, seed: [";
    for (int i = 0; i < 500'000; ++i) {
        yaml += "1,";
    }
    const Expansion expansion = expanded(yaml + "1], gpu: cpu, repeat: 1}\n");
    EXPECT_EQ(expansion.cells.size(), 1u);
}

TEST(HostileYaml, AScalarOfAHundredMegabytesIsRefusedBeforeItIsParsed) {
    const std::string yaml = "experiment: " + std::string(100'000'000, 'x') + tail;
    const auto start = std::chrono::steady_clock::now();
    EXPECT_NE(refusal(yaml).find("an experiment has at most 1 MiB"), std::string::npos);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    EXPECT_LT(took.count(), 1);
}

TEST(HostileYaml, AnAxisOfNaNOrInfinityIsRefused) {
    for (const char* value : {".nan", ".inf", "nan", "inf", "1e999", "-.inf"}) {
        const std::string message = refusal(
            "experiment: a\nmatrix: {model: llama-nano, method: "
            "llmint8-bnb, threshold: " +
            std::string(value) + "}\n");
        EXPECT_NE(message.find("`threshold` must be a number from 0 to 1000000"), std::string::npos)
            << message;
    }
}

TEST(HostileYaml, LongWordsAreCutInMessages) {
    const std::string message = refusal("experiment: " + std::string(100'000, 'x') + tail);
    EXPECT_LT(message.size(), 300u);
    EXPECT_LT(refusal("experiment: a\n" + std::string(1000, 'k') + ": 1" + tail).size(), 500u);
    EXPECT_LT(refusal("experiment: a\nmatrix: {model: llama-nano, method: " +
                      std::string(90'000, 'm') + "}\n")
                  .size(),
              500u);
}

TEST(HostileYaml, MessagesAreOneLineWithoutControlCharacters) {
    const std::string message = refusal("experiment: \"a\\nb\\u0007\"" + tail);
    for (const char c : message) {
        EXPECT_GE(static_cast<unsigned char>(c), 0x20) << message;
    }
    EXPECT_NE(message, "accepted");
}

TEST(HostileYaml, MutatedFilesAreReadOrRefusedWithAPlaceAndNeverCrash) {
    std::mt19937_64 random(11);
    const std::vector<std::filesystem::path> files = yaml_files("valid");
    static const std::string pieces[] = {"[",
                                         "]",
                                         "{",
                                         "}",
                                         ":",
                                         "- ",
                                         "\n",
                                         "  ",
                                         "&a ",
                                         "*a",
                                         "\"",
                                         "'",
                                         "9999999999999999999",
                                         "-1",
                                         "~",
                                         "!!x ",
                                         "|",
                                         "#",
                                         "<<"};
    int refused = 0;
    for (int round = 0; round < 3000; ++round) {
        std::string text = read_text_file(files[random() % files.size()]);
        const int edits = 1 + static_cast<int>(random() % 3);
        for (int edit = 0; edit < edits; ++edit) {
            const std::size_t at = random() % text.size();
            switch (random() % 3) {
                case 0:
                    text.erase(at, 1 + random() % 8);
                    break;
                case 1:
                    text.insert(at, pieces[random() % std::size(pieces)]);
                    break;
                default:
                    text[at] = static_cast<char>(random() % 256);
            }
            text += text.empty() ? " " : "";
        }
        const Result<Expansion> result = expand_yaml(text, "test.yaml", {});
        if (result.ok()) {
            EXPECT_FALSE(result->cells.empty()) << text;
            continue;
        }
        ++refused;
        EXPECT_EQ(result.error().code, ErrorCode::invalid_input) << text;
        EXPECT_TRUE(result.error().message.starts_with("test.yaml:")) << result.error().message;
        EXPECT_EQ(result.error().message.find('\n'), std::string::npos);
    }
    EXPECT_GT(refused, 1000);
}

}  // namespace
}  // namespace bitsweep::testing
