// The question of an experiment file, for the head of its summary.
#pragma once

#include <string>
#include <string_view>

namespace bitsweep {

// The value of the top-level key `question`: plain, quoted, or folded over indented lines. Only for
// showing: whether the file is right was checked where it was submitted. Empty when there is none.
std::string question_of(std::string_view yaml);

}  // namespace bitsweep
