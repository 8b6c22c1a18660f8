// How far a misspelt name is from a known one, for "did you mean": one piece of code for every
// room.
#pragma once

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <string_view>
#include <vector>

namespace bitsweep {

inline std::size_t unit_replacement(char a, char b) {
    return a == b ? 0 : 1;
}

// Levenshtein distance of bytes: an insertion or a removal costs 1, putting b for a costs
// `replacement(a, b)`. Time |a| x |b|: the caller bounds untrusted lengths.
template <class Replacement = std::size_t (*)(char, char)>
std::size_t edit_distance(std::string_view a, std::string_view b,
                          Replacement replacement = unit_replacement) {
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 0; i < a.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i + 1;
        for (std::size_t j = 0; j < b.size(); ++j) {
            const std::size_t replaced = diagonal + replacement(a[i], b[j]);
            diagonal = row[j + 1];
            row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
        }
    }
    return row.back();
}

}  // namespace bitsweep
