#include "worker/runner/text_tokens.h"

#include <gtest/gtest.h>

#include <fstream>
#include <numeric>
#include <sstream>

#include "tests/runner/support.h"

namespace bitsweep::test {
namespace {

std::string read_all(const std::filesystem::path& file) {
    std::ostringstream text;
    text << std::ifstream(file, std::ios::binary).rdbuf();
    return text.str();
}

const std::filesystem::path fiction = source_dir() / "experiments/data/heldout-fiction.txt";

std::unique_ptr<Tokenizer> tokenizer() {
    auto result = tokenizer_from_json(source_dir() / "experiments/models/tokenizer.json");
    EXPECT_TRUE(result.ok());
    return result ? std::move(*result) : nullptr;
}

TEST(FirstTokens, OfAPrefixAreThoseOfTheWholeText) {
    const auto bpe = tokenizer();
    const auto whole = bpe->encode(read_all(fiction));
    ASSERT_EQ(259025U, whole.size());  // reference.json
    for (const std::int64_t count : {1, 16, 2048, 32768}) {
        const auto text = first_tokens(*bpe, fiction, count);
        ASSERT_TRUE(text.ok());
        ASSERT_EQ(static_cast<std::size_t>(count), text->ids.size());
        EXPECT_TRUE(std::equal(text->ids.begin(), text->ids.end(), whole.begin())) << count;
    }
}

TEST(FirstTokens, OfMoreThanTheTextHasAreAllOfThem) {
    const auto text = first_tokens(*tokenizer(), fiction, 10'000'000);
    ASSERT_TRUE(text.ok());
    EXPECT_EQ(259025U, text->ids.size());
    const auto bytes = std::accumulate(text->bytes.begin(), text->bytes.end(), std::int64_t{0});
    EXPECT_EQ(static_cast<std::int64_t>(read_all(fiction).size()), bytes);
}

TEST(TokenBytes, SplitACharacterOverItsTokensAndAddUpToTheText) {
    const auto bpe = tokenizer();
    const std::string text =
        "caf\u00e9 \u4e2d\u6587 \U0001F600 end";  // unlikely to be one token each
    const auto ids = bpe->encode(text);
    const auto bytes = token_bytes(*bpe, text, ids);
    ASSERT_EQ(ids.size(), bytes.size());
    EXPECT_EQ(static_cast<std::int64_t>(text.size()),
              std::accumulate(bytes.begin(), bytes.end(), std::int64_t{0}));
    EXPECT_GT(ids.size(), 8U);
}

TEST(TokenBytes, OfIdsThatDoNotSpellTheTextAreEmpty) {
    const auto bpe = tokenizer();
    const auto ids = bpe->encode("another text altogether, longer than a character may be split");
    EXPECT_TRUE(token_bytes(*bpe, "one text", ids).empty());
}

TEST(FirstTokens, OfAFileThatIsNotThereNameIt) {
    const auto text = first_tokens(*tokenizer(), "/no/such/text.txt", 10);
    ASSERT_FALSE(text.ok());
    EXPECT_EQ(ErrorCode::not_found, text.error().code);
    EXPECT_NE(std::string::npos, text.error().message.find("/no/such/text.txt"));
}

}  // namespace
}  // namespace bitsweep::test
