// Words for messages about files that nobody vouches for: a name is shown printable and short, and
// a misspelt one gets the nearest known name.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/status.h"

namespace bitsweep {

// 'name' in single quotes: control and non-ASCII bytes as \xNN, at most 80 bytes kept, so that one
// line stays one line whatever the file holds.
std::string show_name(std::string_view untrusted);

// "[4, 128]".
std::string shape_text(std::span<const std::int64_t> shape);

// The candidate with the smallest edit distance, or "" when there is none.
std::string nearest_name(std::string_view name, std::span<const std::string> candidates);

// a * b, or false when it does not fit in 64 bits.
[[nodiscard]] inline bool multiply(std::uint64_t a, std::uint64_t b, std::uint64_t* product) {
    return !__builtin_mul_overflow(a, b, product);
}

// Product of the dimensions; false on a negative one or on overflow. A scalar has one element.
[[nodiscard]] bool element_count(std::span<const std::int64_t> shape, std::uint64_t* count);

}  // namespace bitsweep
