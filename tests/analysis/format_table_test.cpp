#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "results/analysis/summary.h"

namespace bitsweep {
namespace {

Table::Value text(std::string value) {
    return {Table::Kind::text, 0, 0, std::move(value)};
}
Table::Value integer(std::int64_t value) {
    return {Table::Kind::integer, value, 0, ""};
}
Table::Value real(double value) {
    return {Table::Kind::real, 0, value, ""};
}

Table awkward() {
    Table table;
    table.columns = {"name", "n", "x"};
    table.rows = {{text("plain"), integer(9007199254740993), real(0.1)},
                  {text("say \"hi\", twice\nthen go"), integer(-1), real(std::nan(""))},
                  {text("\xE6\xBC\xA2|\\"), {}, real(std::numeric_limits<double>::infinity())},
                  {text(""), integer(0), real(1e300)}};
    return table;
}

std::string formatted(const Table& table, std::string_view format, int width = 0) {
    const Result<std::string> out = format_table(table, format, width);
    EXPECT_TRUE(out.ok());
    return out.ok() ? *out : "";
}

TEST(Csv, quotesWhatNeedsItAndTellsNothingFromAnEmptyText) {
    EXPECT_EQ(formatted(awkward(), "csv"),
              "name,n,x\n"
              "plain,9007199254740993,0.1\n"
              "\"say \"\"hi\"\", twice\nthen go\",-1,nan\n"
              "\xE6\xBC\xA2|\\,,inf\n"
              "\"\",0,1e+300\n");
}

TEST(Json, givesEveryDigitAndNullForWhatJsonCannotSay) {
    EXPECT_EQ(formatted(awkward(), "json"),
              "[\n"
              "  {\"name\": \"plain\", \"n\": 9007199254740993, \"x\": 0.1},\n"
              "  {\"name\": \"say \\\"hi\\\", twice\\nthen go\", \"n\": -1, \"x\": null},\n"
              "  {\"name\": \"\xE6\xBC\xA2|\\\\\", \"n\": null, \"x\": null},\n"
              "  {\"name\": \"\", \"n\": 0, \"x\": 1e+300}\n"
              "]\n");
    Table empty;
    empty.columns = {"a"};
    EXPECT_EQ(formatted(empty, "json"), "[]\n");
}

TEST(Json, aColumnNameThatComesTwiceIsNumbered) {
    Table table;
    table.columns = {"a", "a", "a"};
    table.rows = {{integer(1), integer(2), integer(3)}};
    EXPECT_EQ(formatted(table, "jsonl"), "{\"a\": 1, \"a_2\": 2, \"a_3\": 3}\n");
}

TEST(JsonLines, holdOneObjectPerLine) {
    const std::string out = formatted(awkward(), "jsonl");
    EXPECT_EQ(std::count(out.begin(), out.end(), '\n'), 4);
}

TEST(Markdown, escapesItsOwnMarks) {
    EXPECT_EQ(formatted(awkward(), "markdown"),
              "| name | n | x |\n"
              "|---|---:|---:|\n"
              "| plain | 9007199254740993 | 0.1 |\n"
              "| say \"hi\", twice\\\\nthen go | -1 | - |\n"
              "| \xE6\xBC\xA2\\|\\\\ |  | inf |\n"
              "|  | 0 | 1e+300 |\n");
}

TEST(Aligned, countsWideCharactersAndPutsNumbersRight) {
    EXPECT_EQ(formatted(awkward(), "table"),
              "name                                     n       x\n"
              "------------------------  ----------------  ------\n"
              "plain                     9007199254740993     0.1\n"
              "say \"hi\", twice\\nthen go                -1       -\n"
              "\xE6\xBC\xA2|\\                                           inf\n"
              "                                         0  1e+300\n");
}

TEST(Aligned, wrapsTheWidestTextAndNeverCutsANumberWhereAPersonHasLittleRoom) {
    EXPECT_EQ(formatted(awkward(), "table", 44),
              "name                               n       x\n"
              "------------------  ----------------  ------\n"
              "plain               9007199254740993     0.1\n"
              "say \"hi\",                         -1       -\n"
              "twice\\nthen go\n"
              "\xE6\xBC\xA2|\\                                     inf\n"
              "                                   0  1e+300\n");
}

TEST(Aligned, putsASentenceBelowItsRowWhereNoRoomIsBesideIt) {
    Table table;
    table.columns = {"n", "key", "why"};
    table.rows = {{integer(1), text("0123456789abcdef0123"), text("the model was never measured")},
                  {integer(2), text("short"), text("")}};
    EXPECT_EQ(formatted(table, "table", 30),
              "n  key\n"
              "-  --------------------\n"
              "1  0123456789abcdef0123\n"
              "    why: the model was never\n"
              "    measured\n"
              "2  short\n");
}

TEST(Aligned, cutsASingleWordOnly) {
    Table table;
    table.columns = {"key", "path"};
    table.rows = {{text("0123456789abcdef0123"), text("no /a/path/that/is/long/enough here")}};
    EXPECT_EQ(formatted(table, "table", 34),
              "key               path\n"
              "----------------  ----------------\n"
              "0123456789abcde\xE2\x80\xA6  no\n"
              "                  /a/path/that/is/\n"
              "                  long/enough\n"
              "                  here\n");
}

TEST(Format, thatDoesNotExistIsNamedWithThoseThatDo) {
    const Result<std::string> out = format_table(awkward(), "xml", 0);
    ASSERT_FALSE(out.ok());
    EXPECT_EQ(out.error().code, ErrorCode::invalid_input);
    EXPECT_NE(out.error().message.find("`xml`"), std::string::npos);
    EXPECT_NE(out.error().message.find("jsonl"), std::string::npos);
}

}  // namespace
}  // namespace bitsweep
