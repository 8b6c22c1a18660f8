// Text on a terminal: how many columns it takes, and what must not reach a terminal as it is.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace bitsweep {

// Columns that UTF-8 text takes: combining marks 0, East Asian wide characters and emoji 2.
int display_width(std::string_view text);

// Control characters as escapes ("\n", "\x1b") and bytes that are not UTF-8 as U+FFFD: stored text
// comes from models and files and must neither break a table nor steer a terminal.
std::string printable(std::string_view text);

enum class Align { left, right };
std::string padded(std::string_view text, int width, Align align);

// At most `width` columns; what is longer ends in "…". Only for text that is printable().
std::string shortened(std::string_view text, int width);

// Lines of at most `width` columns, broken at blanks; a longer word keeps its own line.
std::vector<std::string> wrapped(std::string_view text, int width);
// As wrapped, and a word longer than a line goes on in the next. Only for text that is printable().
std::vector<std::string> broken(std::string_view text, int width);

}  // namespace bitsweep
