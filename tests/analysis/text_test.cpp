#include <gtest/gtest.h>

#include <cmath>

#include "results/analysis/number_text.h"
#include "results/analysis/question.h"
#include "results/analysis/text_width.h"

namespace bitsweep {
namespace {

TEST(Numbers, keepTheirSignificantDigits) {
    EXPECT_EQ(significant(1234.56, 4), "1235");
    EXPECT_EQ(significant(99.96, 3), "100");
    EXPECT_EQ(significant(0.00123456, 3), "0.00123");
    EXPECT_EQ(significant(33.17701, 5), "33.177");
    EXPECT_EQ(significant(0, 3), "0");
    EXPECT_EQ(significant(-1.5, 2), "-1.5");
    EXPECT_EQ(significant(std::nan(""), 3), "-");
    EXPECT_EQ(significant(1.5e12, 3), "1.5e+12");
    EXPECT_EQ(plain_text(268953600.0), "268953600");
    EXPECT_EQ(plain_text(0.1), "0.1");
    EXPECT_EQ(plain_text(3.14159265), "3.14159");
    EXPECT_EQ(plain_text(std::nan("")), "-");
    EXPECT_EQ(ratio_text(1.6249), "1.62");
    EXPECT_EQ(ratio_text(12.3456), "12.3");
    EXPECT_EQ(small_text(0.0000123), "1.2e-05");
    EXPECT_EQ(small_text(std::nan("")), "-");
    EXPECT_EQ(fixed_text(-0.0001, 0), "0");
    EXPECT_EQ(fixed_text(-0.4, 1), "-0.4");
    EXPECT_EQ(size_text(1'235'814'400), "1.24B");
    EXPECT_EQ(size_text(410'000), "410k");
}

TEST(Width, countsColumnsAndNotBytes) {
    EXPECT_EQ(display_width("abc"), 3);
    EXPECT_EQ(display_width("\xC3\xBC\xC3\xA4"), 2);          // u and a with dots
    EXPECT_EQ(display_width("e\xCC\x81"), 1);                 // e and a combining accent
    EXPECT_EQ(display_width("\xE6\xBC\xA2\xE5\xAD\x97"), 4);  // two Chinese characters
    EXPECT_EQ(display_width("\xF0\x9F\x98\x80"), 2);          // an emoji
}

TEST(Printable, keepsTextAndDisarmsWhatSteersATerminal) {
    EXPECT_EQ(printable("a\xC3\xBC \xE6\xBC\xA2"), "a\xC3\xBC \xE6\xBC\xA2");
    EXPECT_EQ(printable("two\nlines\tand\x1b[31m red"), "two\\nlines\\tand\\x1b[31m red");
    EXPECT_EQ(printable("\x7f\xC2\x9B"), "\\x7f\\x9b");
    for (const char* bad : {"\xFF", "\xC3", "\xC0", "\xF8"}) {
        EXPECT_EQ(printable(bad), "\xEF\xBF\xBD") << bad;
    }
    EXPECT_EQ(printable("\xED\xA0\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");  // a surrogate
}

TEST(Shortened, endsInAnEllipsisWithinTheWidth) {
    EXPECT_EQ(shortened("abcdef", 6), "abcdef");
    EXPECT_EQ(shortened("abcdefg", 6), "abcde\xE2\x80\xA6");
    EXPECT_EQ(display_width(shortened("\xE6\xBC\xA2\xE6\xBC\xA2\xE6\xBC\xA2", 4)), 3);
}

TEST(Wrapped, breaksAtBlanksAndKeepsEveryWord) {
    EXPECT_EQ(wrapped("one two three", 7), (std::vector<std::string>{"one two", "three"}));
    EXPECT_EQ(wrapped("incomprehensibilities a", 5),
              (std::vector<std::string>{"incomprehensibilities", "a"}));
    EXPECT_TRUE(wrapped("", 5).empty());
}

TEST(Question, isFoundInEveryWayThatYamlWritesIt) {
    EXPECT_EQ(question_of("experiment: e\nquestion: Which width wins?\nmatrix:\n"),
              "Which width wins?");
    EXPECT_EQ(question_of("question: Which width?   # a comment\n"), "Which width?");
    EXPECT_EQ(question_of("question: \"Is \\\"fast\\\" # true?\"\n"), "Is \"fast\" # true?");
    EXPECT_EQ(question_of("question: 'It''s fast?'\n"), "It's fast?");
    EXPECT_EQ(question_of("question: >\n  Which width\n  wins?\nmatrix: 1\n"), "Which width wins?");
    EXPECT_EQ(question_of("question: Which width\n  wins?\nmatrix: 1\n"), "Which width wins?");
    EXPECT_EQ(question_of("question:\r\n  Which?\r\n"), "Which?");
    EXPECT_EQ(question_of("defaults:\n  question: not this\n"), "");
    EXPECT_EQ(question_of("question: \"never closed\n"), "never closed");
    EXPECT_EQ(question_of("question: '\n"), "");
}

}  // namespace
}  // namespace bitsweep
