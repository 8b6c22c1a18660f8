// Cells of one matrix have nearly everything in common: what they share is said or kept once, and
// of each cell the numbers that stand in its row. Cells that differ in something else share less;
// nothing is lost either way.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "schemas/job.h"

namespace bitsweep {

// What most axes of a matrix are made of, and the line of the file.
enum class RowNumber {
    batch,
    new_tokens,
    prompt_tokens,
    repeat,
    seed,
    threads,
    threshold,
    yaml_line
};

// As JSON calls them.
inline constexpr std::array<std::string_view, 8> row_number_names = {
    "batch", "new_tokens", "prompt_tokens", "repeat", "seed", "threads", "threshold", "yaml_line"};

// use(the number of each of these cells); `threshold` is an optional one.
template <class F, class... Cells>
decltype(auto) with_number(RowNumber number, F&& use, Cells&... cells) {
    switch (number) {
        case RowNumber::batch:
            return use(cells.spec.batch...);
        case RowNumber::new_tokens:
            return use(cells.spec.new_tokens...);
        case RowNumber::prompt_tokens:
            return use(cells.spec.prompt_tokens...);
        case RowNumber::repeat:
            return use(cells.spec.repeat...);
        case RowNumber::seed:
            return use(cells.spec.seed...);
        case RowNumber::threads:
            return use(cells.spec.threads...);
        case RowNumber::threshold:
            return use(cells.spec.threshold...);
        case RowNumber::yaml_line:
            break;
    }
    return use(cells.yaml_line...);
}

// All but the numbers of a row and the spec key, which follows from the spec.
bool same_but_numbers(const Cell& a, const Cell& b);
bool same_policy(const JobPolicy& a, const JobPolicy& b);

struct SameButNumbers {
    bool operator()(const Cell& a, const Cell& b) const { return same_but_numbers(a, b); }
};
struct HashButNumbers {
    std::size_t operator()(const Cell& cell) const;
};

// What cells share, found cell by cell. They outlive it, each where it is.
class SharedCells {
 public:
    // Position in all() of the first cell that this one differs from in its row alone; a cell with
    // nothing like it before becomes the first of its kind.
    std::size_t index_of(const Cell& cell);
    const std::vector<const Cell*>& all() const { return all_; }

 private:
    struct Hash {
        std::size_t operator()(const Cell* cell) const { return HashButNumbers{}(*cell); }
    };
    struct Same {
        bool operator()(const Cell* a, const Cell* b) const { return same_but_numbers(*a, *b); }
    };
    std::unordered_map<const Cell*, std::size_t, Hash, Same> known_;
    std::vector<const Cell*> all_;
    std::size_t latest_ = 0;  // the next cell is often like the one before
};

}  // namespace bitsweep
