// Byte-level BPE against Hugging Face tokenizers (vectors: make_tokenizer_vectors.py).
#include "worker/inference/tokenizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "tests/files/support.h"
#include "worker/inference/pretokenizer.h"
#include "worker/inference/unicode.h"

namespace bitsweep {
namespace {

using nlohmann::json;
using namespace testing_files;

const json& cases() {
    static const json loaded = json::parse(read_file(vectors_dir / "tokenizer_cases.json"));
    return loaded;
}

std::size_t character_count(std::string_view text) {
    std::size_t count = 0;
    for (std::size_t i = 0; i < text.size(); i += character_at(text, i).bytes) {
        ++count;
    }
    return count;
}

std::string hex(std::uint64_t value) {
    char text[17];
    std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(value));
    return text;
}

std::uint64_t fnv(std::string_view bytes) {
    std::uint64_t value = 0xCBF29CE484222325;
    for (const char c : bytes) {
        value = (value ^ static_cast<unsigned char>(c)) * 0x100000001B3;
    }
    return value;
}

struct Cutter {
    const char* name;
    PretokenizerOptions options;
};

class Pretokenizer : public testing::TestWithParam<Cutter> {};

TEST_P(Pretokenizer, cuts_every_text_into_the_words_of_hugging_face) {
    const json& expected = cases()["cuts"][GetParam().name];
    ASSERT_GT(expected.size(), 250u);
    for (std::size_t i = 0; i < expected.size(); ++i) {
        const auto text = cases()["texts"][i].get<std::string>();
        std::vector<std::size_t> lengths;
        std::string joined;
        pretokenize(GetParam().options, text, [&](std::string_view word) {
            lengths.push_back(character_count(word));
            joined += word;
        });
        EXPECT_EQ(lengths, expected[i].get<std::vector<std::size_t>>())
            << json(text).dump(-1, ' ', true);
        EXPECT_EQ(joined, text);
    }
}

INSTANTIATE_TEST_SUITE_P(
    patterns, Pretokenizer,
    testing::Values(Cutter{"gpt2", {SplitPattern::gpt2, false, false, false}},
                    Cutter{"llama3", {SplitPattern::llama3, false, false, false}},
                    Cutter{"qwen2", {SplitPattern::qwen2, false, false, false}},
                    Cutter{"smollm2", {SplitPattern::gpt2, true, true, false}}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(Unicode, classes_of_all_code_points_are_those_of_the_regular_expressions) {
    std::string classes;
    for (char32_t code = 0; code < 0x110000; ++code) {
        switch (char_class(code)) {
            case CharClass::letter:
                classes += '\1';
                break;
            case CharClass::number:
            case CharClass::number_other:
                classes += '\2';
                break;
            case CharClass::space:
                classes += '\3';
                break;
            case CharClass::other:
            case CharClass::word:
                classes += '\0';
                break;
        }
    }
    EXPECT_EQ(hex(fnv(classes)), cases()["all"]["classes"]);
}

TEST(Unicode, normal_form_c_of_all_code_points_with_two_marks_is_that_of_hugging_face) {
    const auto newer = cases()["all"]["newer"].get<std::vector<std::array<char32_t, 2>>>();
    std::string normal;
    std::size_t skipped = 0;
    for (char32_t code = 0; code < 0x110000; ++code) {
        const bool is_surrogate = code >= 0xD800 && code < 0xE000;
        const bool is_newer = std::any_of(newer.begin(), newer.end(), [&](const auto& range) {
            return code >= range[0] && code <= range[1];
        });
        skipped += is_newer ? 1 : 0;
        if (!is_surrogate && !is_newer) {
            std::string text;
            append_utf8(code, &text);
            normal += to_nfc(text + "\u0327\u0301\n");
        }
    }
    EXPECT_LT(skipped, 100u);  // marks newer than its tables
    EXPECT_EQ(hex(fnv(normal)), cases()["all"]["nfc"]);
}

TEST(Unicode, normal_form_c_of_the_texts_is_that_of_hugging_face) {
    for (std::size_t i = 0; i < cases()["texts"].size(); ++i) {
        const auto text = cases()["texts"][i].get<std::string>();
        const json& expected = cases()["nfc"][i];
        EXPECT_EQ(to_nfc(text), expected.is_null() ? text : expected.get<std::string>());
    }
}

TEST(Unicode, broken_utf8_becomes_one_replacement_for_each_maximal_part) {
    // Unicode 16, table 3-8 and the examples above it; Python's bytes.decode('utf-8', 'replace').
    EXPECT_EQ(with_valid_utf8("a\xF1\x80\x80\xE1\x80\xC2"
                              "b\x80"
                              "c\x80\xBF"
                              "d"),
              "a\uFFFD\uFFFD\uFFFD"
              "b\uFFFD"
              "c\uFFFD\uFFFD"
              "d");
    EXPECT_EQ(with_valid_utf8("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82"
                              "A"),
              "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD"
              "A");
    EXPECT_EQ(with_valid_utf8("\xED\xA0\x80\xF4\x91\x92\x93\xFF"
                              "A"),
              "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD"
              "A");
    EXPECT_EQ(with_valid_utf8("\xE2\x82"), "\uFFFD");
    EXPECT_EQ(with_valid_utf8("\u20AC \U0001F600"), "\u20AC \U0001F600");
}

// experiments/models/tokenizer.json with the changes of a variant, as the script made them.
json changed_tokenizer(const json& change) {
    json document = json::parse(read_file(models_dir / "tokenizer.json"));
    for (const json& token : change.value("added_tokens", json::array())) {
        document["added_tokens"].push_back(token);
    }
    for (const char* key : {"pre_tokenizer", "normalizer"}) {
        document[key] = change.value(key, document[key]);
    }
    if (change.value("ignore_merges", false)) {
        document["model"]["ignore_merges"] = true;
        document["model"]["vocab"]["\u0120xyzzy"] = 4096;
        document["model"]["vocab"]["123"] = 4097;
    }
    return document;
}

Result<std::unique_ptr<Tokenizer>> tokenizer_of(const json& document, const TempFolder& folder) {
    write_file(folder.path() / "tokenizer.json", document.dump());
    return tokenizer_from_json(folder.path() / "tokenizer.json");
}

TEST(Tokenizer, gives_the_ids_of_hugging_face_in_every_variant) {
    const TempFolder folder;
    ASSERT_GE(cases()["variants"].size(), 8u);
    for (const json& variant : cases()["variants"]) {
        const auto tokenizer = tokenizer_of(changed_tokenizer(variant["change"]), folder);
        ASSERT_TRUE(tokenizer.ok()) << variant["name"] << ": " << tokenizer.error().message;
        for (std::size_t i = 0; i < cases()["texts"].size(); ++i) {
            const auto text = cases()["texts"][i].get<std::string>();
            EXPECT_EQ((*tokenizer)->encode(text),
                      variant["ids"][i].get<std::vector<std::int32_t>>())
                << variant["name"] << ": " << json(text).dump(-1, ' ', true);
        }
    }
}

TEST(Tokenizer, decodes_what_it_encoded) {
    const auto tokenizer = tokenizer_from_json(models_dir / "tokenizer.json");
    ASSERT_TRUE(tokenizer.ok());
    for (const json& entry : cases()["texts"]) {
        const auto text = entry.get<std::string>();
        EXPECT_EQ((*tokenizer)->decode((*tokenizer)->encode(text)), text);
    }
}

TEST(Tokenizer, encodes_bytes_that_are_not_utf8_one_by_one) {
    const auto tokenizer = tokenizer_from_json(models_dir / "tokenizer.json");
    ASSERT_TRUE(tokenizer.ok());
    const auto ids = (*tokenizer)->encode("a\xFF\xC3 \xE2\x82");
    EXPECT_EQ(ids.size(), 6u);
    EXPECT_EQ((*tokenizer)->decode(ids), "a\uFFFD\uFFFD \uFFFD");
    EXPECT_EQ((*tokenizer)->decode(std::vector<std::int32_t>{-1, 4096}), "\uFFFD\uFFFD");
}

TEST(Tokenizer, merges_a_word_of_a_million_letters_in_reasonable_time) {
    const TempFolder folder;
    json document = json::parse(read_file(models_dir / "tokenizer.json"));
    document["pre_tokenizer"]["use_regex"] = false;
    const auto tokenizer = tokenizer_of(document, folder);
    ASSERT_TRUE(tokenizer.ok());
    std::string text;
    while (text.size() < 1'000'000) {
        text += "thequickbrownfox";
    }
    const auto ids = (*tokenizer)->encode(text);  // quadratic merging would need hours
    EXPECT_EQ((*tokenizer)->decode(ids), text);
}

TEST(Tokenizer, reads_merges_written_as_strings_or_as_pairs) {
    const TempFolder folder;
    json document = json::parse(read_file(models_dir / "tokenizer.json"));
    for (json& merge : document["model"]["merges"]) {
        ASSERT_TRUE(merge.is_array());
        merge = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
    }
    const auto strings = tokenizer_of(document, folder);
    ASSERT_TRUE(strings.ok()) << strings.error().message;
    const auto pairs = tokenizer_from_json(models_dir / "tokenizer.json");
    const std::string text = "It was a dark and stormy night";
    EXPECT_EQ((*strings)->encode(text), (*pairs)->encode(text));
}

}  // namespace
}  // namespace bitsweep
