// Time as an argument. Rooms that may not read a clock receive these.
#pragma once

#include <compare>
#include <cstdint>

namespace bitsweep {

struct Duration {
    std::int64_t ms = 0;
    auto operator<=>(const Duration&) const = default;
};

// Milliseconds since the Unix epoch as the caller's clock read it; the scheduler only compares.
struct TimePoint {
    std::int64_t unix_ms = 0;
    auto operator<=>(const TimePoint&) const = default;
};

inline TimePoint operator+(TimePoint t, Duration d) {
    return {t.unix_ms + d.ms};
}
inline Duration operator-(TimePoint a, TimePoint b) {
    return {a.unix_ms - b.unix_ms};
}

}  // namespace bitsweep
