// tokenizer.json files that contradict themselves or describe something else.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/files/support.h"
#include "worker/inference/tokenizer.h"

namespace bitsweep {
namespace {

using nlohmann::json;
using namespace testing_files;

class TokenizerFile : public testing::Test {
 protected:
    json document_ = json::parse(read_file(vectors_dir / "tokenizer.json"));
    TempFolder folder_;

    std::string open(ErrorCode code) { return open(document_.dump(), code); }
    std::string open(const std::string& text, ErrorCode code) {
        write_file(folder_.path() / "t.json", text);
        const auto tokenizer = tokenizer_from_json(folder_.path() / "t.json");
        EXPECT_TRUE(!tokenizer.ok() && tokenizer.error().code == code);
        return message_of(tokenizer, folder_.path());
    }
};

TEST_F(TokenizerFile, of_another_type_is_unsupported) {
    for (const char* type : {"Unigram", "WordPiece"}) {
        document_["model"]["type"] = type;
        EXPECT_EQ(open(ErrorCode::unsupported), "t.json: tokenizer type '" + std::string(type) +
                                                    "'; only byte-level BPE ('BPE') can be read");
    }
    document_["model"]["type"] = "BPE";
    document_["model"]["byte_fallback"] = true;
    EXPECT_EQ(open(ErrorCode::unsupported),
              "t.json: BPE with 'byte_fallback' (SentencePiece); only byte-level BPE can be read");
    document_["model"]["byte_fallback"] = false;
    document_["model"]["end_of_word_suffix"] = "</w>";
    EXPECT_EQ(open(ErrorCode::unsupported),
              "t.json: BPE with 'end_of_word_suffix'; only byte-level BPE can be read");
    document_["model"]["end_of_word_suffix"] = nullptr;
    document_["model"]["dropout"] = 0.1;
    EXPECT_EQ(open(ErrorCode::unsupported), "t.json: BPE with 'dropout'; encoding would be random");
}

TEST_F(TokenizerFile, with_an_unknown_pattern_shows_it) {
    document_["pre_tokenizer"] = json::parse(R"({"type":"Sequence","pretokenizers":[
      {"type":"Split","pattern":{"Regex":"[0-9]+|\\s+"},"behavior":"Isolated","invert":false},
      {"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]})");
    EXPECT_EQ(open(ErrorCode::unsupported),
              "t.json: unknown pre-tokenizer pattern \"[0-9]+|\\s+\"; those of GPT-2, Llama 3 and "
              "Qwen2 are known");
}

TEST_F(TokenizerFile, with_an_unknown_step_is_unsupported) {
    document_["pre_tokenizer"] = {{"type", "Metaspace"}};
    EXPECT_EQ(open(ErrorCode::unsupported),
              "t.json: pre-tokenizer 'Metaspace'; ByteLevel, Split and Digits are known");
    document_["pre_tokenizer"] = nullptr;
    EXPECT_EQ(open(ErrorCode::unsupported),
              "t.json: has no ByteLevel pre-tokenizer; only byte-level BPE can be read");
    document_["normalizer"] = {{"type", "Lowercase"}};
    EXPECT_EQ(open(ErrorCode::unsupported),
              "t.json: normalizer 'Lowercase'; none and NFC are known");
}

TEST_F(TokenizerFile, with_ids_out_of_range_or_twice_is_refused) {
    document_["model"]["vocab"]["zzz"] = 1'000'000'000;
    EXPECT_EQ(open(ErrorCode::corrupt), "t.json: token 'zzz' has id 1000000000; wanted 0 to 2087");
    document_["model"]["vocab"]["zzz"] = -1;
    EXPECT_EQ(open(ErrorCode::corrupt), "t.json: token 'zzz' has an id that is not a whole number");
    document_["model"]["vocab"]["zzz"] = 5;
    EXPECT_EQ(open(ErrorCode::corrupt), "t.json: id 5 belongs to both 'zzz' and '\\xc4\\x84'");
}

TEST_F(TokenizerFile, with_a_token_twice_is_refused) {
    std::string text = document_.dump();
    const std::size_t at = text.find("\"vocab\":{") + 9;
    EXPECT_EQ(open(text.insert(at, "\"th\":9,"), ErrorCode::corrupt),
              "t.json: the key 'th' appears twice");
}

TEST_F(TokenizerFile, without_a_token_for_a_printable_byte_is_refused) {
    document_["model"]["vocab"].erase("q");
    EXPECT_EQ(open(ErrorCode::corrupt),
              "t.json: no token for the byte 113; a byte-level vocabulary has all printable ASCII");
}

TEST_F(TokenizerFile, with_a_merge_of_unknown_tokens_is_refused) {
    document_["model"]["merges"][2] = "q q";
    EXPECT_EQ(open(ErrorCode::corrupt),
              "t.json: merge 2, 'q' 'q', names a token that is not in the vocabulary");
    document_["model"]["merges"][2] = "t h";
    EXPECT_EQ(open(ErrorCode::corrupt), "t.json: merge 2, 't' 'h', appears twice");
    document_["model"]["merges"][2] = "th";
    EXPECT_EQ(open(ErrorCode::corrupt),
              "t.json: merge 2, 'th', is not two tokens with a space between");
    document_["model"]["merges"][2] = 5;
    EXPECT_EQ(open(ErrorCode::corrupt), "t.json: merge 2 is neither \"a b\" nor [\"a\", \"b\"]");
}

TEST_F(TokenizerFile, whose_added_token_contradicts_the_vocabulary_is_refused) {
    document_["added_tokens"][0]["id"] = 3;
    EXPECT_EQ(open(ErrorCode::corrupt),
              "t.json: the added token '<|endoftext|>' has id 3 but is also listed with id 0");
    document_["added_tokens"][0]["content"] = "";
    EXPECT_EQ(open(ErrorCode::corrupt),
              "t.json: an entry of 'added_tokens' lacks 'content' or a whole 'id'");
}

TEST_F(TokenizerFile, that_is_another_json_says_so) {
    EXPECT_EQ(open("{}", ErrorCode::corrupt),
              "t.json: has no 'model' object; this is not a tokenizer.json");
    EXPECT_EQ(open("[]", ErrorCode::corrupt),
              "t.json: has no 'model' object; this is not a tokenizer.json");
    EXPECT_EQ(message_of(tokenizer_from_json(folder_.path() / "absent.json"), folder_.path()),
              "absent.json: no such file");
}

}  // namespace
}  // namespace bitsweep
