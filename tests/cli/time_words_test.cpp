#include "coordinator/cli/time_words.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <time.h>

namespace bitsweep {

namespace {

constexpr TimePoint noon{1'795'521'600'000};  // 2026-11-24T12:00:00Z, a Tuesday

class Until : public testing::Test {
 protected:
    void SetUp() override {
        setenv("TZ", "UTC", 1);
        tzset();
    }
    void TearDown() override {
        unsetenv("TZ");
        tzset();
    }
    static std::int64_t seconds(const std::string& text) {
        const auto until = parse_until(text, noon);
        EXPECT_TRUE(until) << text;
        return until ? until->ms / 1'000 : -1;
    }
};

TEST_F(Until, SpansAreReadInTheirUnits) {
    EXPECT_EQ(seconds("45"), 45);
    EXPECT_EQ(seconds("90s"), 90);
    EXPECT_EQ(seconds("30m"), 1'800);
    EXPECT_EQ(seconds("12h"), 43'200);
    EXPECT_EQ(seconds("2d"), 172'800);
}

TEST_F(Until, ATimeOfDayIsTheNextOne) {
    EXPECT_EQ(seconds("18:30"), 6 * 3'600 + 1'800);
    EXPECT_EQ(seconds("12:00"), 86'400);
    EXPECT_EQ(seconds("08:15"), 20 * 3'600 + 900);
}

TEST_F(Until, ADateIsThatMoment) {
    EXPECT_EQ(seconds("2026-11-25T12:30"), 86'400 + 1'800);
    EXPECT_EQ(seconds("2027-01-01T00:00"), 37 * 86'400 + 43'200);
}

TEST_F(Until, WhatIsNoTimeInTheNextYearIsRefused) {
    for (const char* text :
         {"", "soon", "0", "0s", "12x", "25:00", "12:60", "18:30h", "-5m", "2026-11-23T12:00",
          "2026-13-01T00:00", "2028-01-01T00:00", "99999999999h", "400d", "18:30 "}) {
        const auto until = parse_until(text, noon);
        ASSERT_FALSE(until) << text;
        EXPECT_EQ(until.error().code, ErrorCode::invalid_input) << text;
        EXPECT_NE(until.error().message.find("--until"), std::string::npos) << text;
    }
}

}  // namespace
}  // namespace bitsweep
