// The expression language: what it computes, what it refuses, and that nothing breaks it.
#include "coordinator/expand/expression.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <map>
#include <random>

#include "coordinator/expand/expression_names.h"
#include "coordinator/expand/fields.h"
#include "tests/expand/files.h"

namespace bitsweep::testing {
namespace {

yaml::Node node_of(const std::string& text) {
    yaml::Node node;
    node.kind = yaml::Kind::scalar;
    node.quoted = true;
    node.verbatim = true;
    node.at = {1, 1};
    node.text = text;
    return node;
}

// batch 4, threshold unknown, model "Llama-Nano", everything else unknown.
ExprValue sample(const Name& name) {
    if (name.fact == Fact::field && name.field == Field::batch) {
        return 4.0;
    }
    if (name.fact == Fact::field && name.field == Field::model) {
        return std::string("Llama-Nano");
    }
    return Unknown{};
}

// "3", "true", "unknown", a text, or the message of the error.
std::string value_of(const std::string& text) {
    const Result<Expression> expression = read_expression(node_of(text), {}, "e");
    if (!expression) {
        return expression.error().message;
    }
    const Result<ExprValue> value = evaluate(*expression, sample, "e");
    if (!value) {
        return value.error().message;
    }
    if (const auto* number = std::get_if<double>(&*value)) {
        std::string out = std::to_string(*number);
        out.erase(out.find_last_not_of('0') + 1);
        return out.ends_with('.') ? out.substr(0, out.size() - 1) : out;
    }
    if (const auto* truth = std::get_if<bool>(&*value)) {
        return *truth ? "true" : "false";
    }
    if (const auto* word = std::get_if<std::string>(&*value)) {
        return *word;
    }
    return "unknown";
}

TEST(Expression, ArithmeticHasTheUsualPrecedence) {
    const std::map<std::string, std::string> want = {
        {"1 + 2 * 3", "7"},    {"(1 + 2) * 3", "9"},
        {"2 - 3 - 4", "-5"},   {"16 / 4 / 2", "2"},
        {"7 // 2", "3"},       {"-7 // 2", "-4"},
        {"7 % 4", "3"},        {"-7 % 4", "1"},
        {"--3", "3"},          {"-2 * -3", "6"},
        {"min(3, 1, 2)", "1"}, {"max(3, 1, 2)", "3"},
        {"log2(8)", "3"},      {"sqrt(16)", "4"},
        {"round(2.5)", "3"},   {"round(-2.5)", "-3"},
        {"floor(-0.5)", "-1"}, {"ceil(0.2)", "1"},
        {"abs(-3)", "3"},      {"batch * 1e3", "4000"},
        {".5 + 1.5e0", "2"},   {"if(batch > 3, 1, 2)", "1"}};
    for (const auto& [text, value] : want) {
        EXPECT_EQ(value_of(text), value) << text;
    }
}

TEST(Expression, ConditionsBindLooserThanComparisons) {
    const std::map<std::string, std::string> want = {{"1 < 2 and 2 < 3", "true"},
                                                     {"not 1 > 2 and 1 > 2", "false"},
                                                     {"not (1 > 2 and 1 > 2)", "true"},
                                                     {"1 > 2 or 2 > 1 and 1 > 1", "false"},
                                                     {"1 < 2 && !(1 < 2) || true", "true"},
                                                     {"batch in [1, 2, 4]", "true"},
                                                     {"batch not in [1, 2, 4]", "false"},
                                                     {"model == 'llama-nano'", "true"},
                                                     {"model != \"LLAMA-NANO\"", "false"},
                                                     {"model in ['x', 'llama-nano']", "true"},
                                                     {"matches(model, 'LLAMA-*')", "true"},
                                                     {"true == (1 < 2)", "true"},
                                                     {"if(true, 'a', 'b')", "a"}};
    for (const auto& [text, value] : want) {
        EXPECT_EQ(value_of(text), value) << text;
    }
}

TEST(Expression, WhatIsUnknownStaysUnknownUnlessTheOtherSideDecides) {
    const std::map<std::string, std::string> want = {
        {"threshold", "unknown"},
        {"threshold + 1", "unknown"},
        {"threshold > 1", "unknown"},
        {"not threshold > 1", "unknown"},
        {"threshold > 1 and false", "false"},
        {"false and threshold > 1", "false"},
        {"threshold > 1 and true", "unknown"},
        {"threshold > 1 or true", "true"},
        {"threshold > 1 or false", "unknown"},
        {"min(1, threshold)", "unknown"},
        {"if(threshold > 1, 1, 2)", "unknown"},
        {"if(batch > 1, 1, threshold)", "1"},
        {"batch in [threshold, 4]", "true"},
        {"batch in [threshold, 5]", "unknown"},
        {"known(threshold)", "false"},
        {"known(batch)", "true"},
        {"not known(threshold) or threshold > 1", "true"}};
    for (const auto& [text, value] : want) {
        EXPECT_EQ(value_of(text), value) << text;
    }
}

TEST(Expression, TheSideThatDecidesKeepsTheOtherFromFailing) {
    EXPECT_EQ(value_of("false and 1 / 0 > 1"), "false");
    EXPECT_EQ(value_of("true or 1 / 0 > 1"), "true");
    EXPECT_EQ(value_of("if(true, 1, 1 / 0)"), "1");
    EXPECT_EQ(value_of("1 / 0 > 1 and false"), "e:1:4: division by zero (it reads no name)");
}

TEST(Expression, SizeNestingAndLengthAreBounded) {
    const auto repeated = [](const std::string& part, std::size_t times) {
        std::string out;
        for (std::size_t i = 0; i < times; ++i) {
            out += part;
        }
        return out;
    };
    EXPECT_EQ(value_of("1" + repeated("+1", 255)), "256");
    EXPECT_NE(value_of("1" + repeated("+1", 256)).find("more than 512 parts"), std::string::npos);
    EXPECT_EQ(value_of(repeated("(", 31) + "1" + repeated(")", 31)), "1");
    EXPECT_NE(value_of(repeated("(", 32) + "1").find("nested deeper"), std::string::npos);
    EXPECT_NE(value_of(repeated("-", 4000) + "1").find("too many signs"), std::string::npos);
    EXPECT_NE(value_of(repeated("!", 4000) + "true").find("too many"), std::string::npos);
    EXPECT_NE(value_of(repeated("not ", 1000) + "true").find("too many"), std::string::npos);
    EXPECT_NE(value_of(repeated("min(", 1000)).find("nested deeper"), std::string::npos);
    EXPECT_NE(value_of(repeated("x", 5000)).find("the limit is 4096"), std::string::npos);
}

TEST(Expression, RandomWordsAreValuesOrMessagesWithAPlaceAndNeverMore) {
    std::mt19937_64 random(5);
    static const std::string words[] = {
        "1",     "0",      "2.5",  "1e308",    "batch", "model",   "threshold", "true",   "'a'",
        "+",     "-",      "*",    "/",        "//",    "%",       "<",         ">=",     "==",
        "!=",    "and",    "or",   "not",      "in",    "(",       ")",         "[",      "]",
        ",",     "min(",   "max(", "if(",      "log2(", "sqrt(",   "known(",    "round(", "!",
        "\"b\"", "params", "=",    "matches(", ".",     "vram_gib"};
    const auto start = std::chrono::steady_clock::now();
    int read = 0;
    for (int round = 0; round < 50'000; ++round) {
        std::string text;
        for (std::size_t i = 1 + random() % 12; i > 0; --i) {
            text += words[random() % std::size(words)] + (random() % 4 == 0 ? "" : " ");
        }
        const Result<Expression> expression = read_expression(node_of(text), {}, "e");
        if (!expression) {
            EXPECT_EQ(expression.error().code, ErrorCode::invalid_input) << text;
            EXPECT_TRUE(expression.error().message.starts_with("e:1:")) << text;
            continue;
        }
        ++read;
        const Result<ExprValue> value = evaluate(*expression, sample, "e");
        if (!value) {
            EXPECT_TRUE(value.error().message.starts_with("e:1:")) << text;
        } else if (const auto* number = std::get_if<double>(&*value)) {
            EXPECT_TRUE(std::isfinite(*number)) << text;
        }
    }
    EXPECT_GT(read, 1000);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    EXPECT_LT(took.count(), 60);
}

TEST(Expression, TheReadmeNamesEveryNameAndFunction) {
    const std::string readme = read_text_file(std::filesystem::path(BITSWEEP_SOURCE_DIR) /
                                              "coordinator" / "expand" / "README.md");
    for (const FactRow& row : fact_table()) {
        EXPECT_NE(readme.find("`" + std::string(row.name) + "`"), std::string::npos) << row.name;
    }
    for (const std::string_view name : expression_functions()) {
        EXPECT_NE(readme.find("`" + std::string(name) + "("), std::string::npos) << name;
    }
    for (const FieldRow& row : field_table()) {
        EXPECT_NE(readme.find("`" + std::string(row.name) + "`"), std::string::npos) << row.name;
    }
}

}  // namespace
}  // namespace bitsweep::testing
