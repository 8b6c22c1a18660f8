// Words of the messages of this room.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "coordinator/expand/matrix.h"
#include "schemas/status.h"

namespace bitsweep::expand_text {

// "file:line:column: message"; "--set: message" where the value came from the command line.
Error error_at(const std::string& file, At at, const std::string& message);

// `; did you mean `x`?` where one of `known` is near, else the whole list.
std::string suggestion(std::string_view word, std::span<const std::string_view> known);

// "`a`, `b` or `c`"
std::string one_of(std::span<const std::string_view> known);

// At most 60 bytes, without control characters: text of a file goes into one line of a message.
std::string shown(std::string_view text);

// `*` any run, `?` any one; without case.
bool glob_matches(std::string_view pattern, std::string_view text);

// Shortest digits that read back: 6, 0.5
std::string number_text(double value);

std::string lower_case(std::string_view text);

}  // namespace bitsweep::expand_text
