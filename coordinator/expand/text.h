// Words of the messages of this room.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "coordinator/expand/place.h"
#include "schemas/status.h"

namespace bitsweep::expand_text {

// "file:line:column: message"; "--set: message" where the value came from the command line.
Error error_at(const Files& file, At at, const std::string& message);

// "line 12", or "--set".
std::string line_of(At at);

// `; did you mean `x`?` where one of `known` is near, else nothing.
std::string near(std::string_view word, std::span<const std::string_view> known);

// `; did you mean `x`?` where one of `known` is near, else the whole list.
std::string suggestion(std::string_view word, std::span<const std::string_view> known);

// "`a`, `b` or `c`"
std::string one_of(std::span<const std::string_view> known);

// At most so many bytes, the rest as "...".
std::string shortened(std::string_view text, std::size_t most = 60);

// The same control characters (`\\n`, and `?` for the rare ones): text of a file goes into one line
// of a message.
std::string shown(std::string_view text);

// `*` any run, `?` any one; without case.
bool glob_matches(std::string_view pattern, std::string_view text);

// Shortest digits that read back: 6, 0.5
std::string number_text(double value);

// The pow and log2 of two C libraries may differ in the last of seventeen digits, and a value is
// part of a key. It also reads better: 0.7, not 0.7000000000000001.
double twelve_digits(double value);

std::string lower_case(std::string_view text);

}  // namespace bitsweep::expand_text
