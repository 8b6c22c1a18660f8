// The numbers in which cells of one matrix mostly differ. All else that such cells have in common
// can be written once, with a mark where each number stands.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

#include "schemas/job.h"

namespace bitsweep {

// In the order of their marks, which stand in databases: never change one.
enum class CellNumber { batch, new_tokens, prompt_tokens, repeat, seed, threads };

// As JSON and SQL call them.
inline constexpr std::array<std::string_view, 6> cell_number_names = {
    "batch", "new_tokens", "prompt_tokens", "repeat", "seed", "threads"};

// A control character, which no JSON holds as it is: 1 for the batch, and so on.
constexpr char mark_of(CellNumber number) {
    return static_cast<char>(1 + static_cast<int>(number));
}

using Digits = std::array<char, 24>;  // room for 64 bits and a sign
// The view is into `room`.
std::string_view digits_of(const JobSpec& spec, CellNumber number, Digits& room);

// The text with the numbers of `spec` in place of the marks.
std::string fill_marks(std::string_view marked, const JobSpec& spec);

// All six.
void copy_numbers(const JobSpec& from, JobSpec& to);

}  // namespace bitsweep
