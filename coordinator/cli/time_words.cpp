#include "coordinator/cli/time_words.h"

#include <cstdio>
#include <ctime>
#include <optional>

namespace bitsweep {

namespace {

constexpr std::int64_t day_ms = 24ll * 3'600'000;
constexpr std::int64_t most_ms = 366 * day_ms;

// "90s", "30m", "12h", "2d" or seconds.
std::optional<std::int64_t> span_ms(const std::string& text) {
    std::int64_t value = 0;
    std::size_t digits = 0;
    while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9' && digits < 9) {
        value = value * 10 + (text[digits++] - '0');
    }
    const std::string unit = text.substr(digits);
    if (digits == 0 || unit.size() > 1) {
        return std::nullopt;
    }
    switch (unit.empty() ? 's' : unit[0]) {
        case 's':
            return value * 1'000;
        case 'm':
            return value * 60'000;
        case 'h':
            return value * 3'600'000;
        case 'd':
            return value * day_ms;
        default:
            return std::nullopt;
    }
}

// Unix milliseconds of a clock time, as the time zone of this machine has it.
std::optional<std::int64_t> clock_ms(const std::string& text, TimePoint now) {
    const std::time_t seconds = now.unix_ms / 1'000;
    std::tm fields{};
    localtime_r(&seconds, &fields);
    int used = 0;
    const int size = static_cast<int>(text.size());
    std::tm day = fields;
    const bool date = std::sscanf(text.c_str(), "%4d-%2d-%2dT%2d:%2d%n", &day.tm_year, &day.tm_mon,
                                  &day.tm_mday, &day.tm_hour, &day.tm_min, &used) == 5 &&
                      used == size;
    if (date) {
        fields = day;
        fields.tm_year -= 1900;
        fields.tm_mon -= 1;
    } else if (std::sscanf(text.c_str(), "%2d:%2d%n", &fields.tm_hour, &fields.tm_min, &used) !=
                   2 ||
               used != size) {
        return std::nullopt;
    }
    if (fields.tm_mon < 0 || fields.tm_mon > 11 || fields.tm_mday < 1 || fields.tm_mday > 31 ||
        fields.tm_hour < 0 || fields.tm_hour > 23 || fields.tm_min < 0 || fields.tm_min > 59) {
        return std::nullopt;
    }
    fields.tm_sec = 0;
    fields.tm_isdst = -1;
    std::int64_t at = std::int64_t{std::mktime(&fields)} * 1'000;
    if (!date && at <= now.unix_ms) {
        ++fields.tm_mday;  // mktime carries the end of a month, and knows the day's own clock
        fields.tm_isdst = -1;
        at = std::int64_t{std::mktime(&fields)} * 1'000;
    }
    return at;
}

}  // namespace

Result<Duration> parse_until(const std::string& text, TimePoint now) {
    std::optional<std::int64_t> left = span_ms(text);
    if (!left) {
        if (const auto at = clock_ms(text, now)) {
            left = *at - now.unix_ms;
        }
    }
    if (!left) {
        return make_error(ErrorCode::invalid_input,
                          "--until " + text +
                              ": a span such as 90s, 30m, 12h or 2d, a time of day such as 18:30, "
                              "or a date such as 2026-11-24T18:30");
    }
    if (*left <= 0 || *left > most_ms) {
        return make_error(ErrorCode::invalid_input,
                          "--until " + text + ": a time in the next 366 days");
    }
    return Duration{*left};
}

}  // namespace bitsweep
