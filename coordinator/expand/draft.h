// One cell on its way: which value each field has, before it becomes a JobSpec.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/expand/expand.h"
#include "coordinator/expand/fields.h"
#include "coordinator/expand/matrix.h"
#include "schemas/job.h"
#include "schemas/status.h"

namespace bitsweep {

// Points into the Matrix (or into Defaults), which outlive it. nullptr: not said.
struct Draft {
    std::array<const Value*, field_count> values{};
    int repeat = 0;
    At from;  // what made it: the method, or the inclusion

    const Value* operator[](Field field) const { return values[static_cast<std::size_t>(field)]; }
    const Value*& operator[](Field field) { return values[static_cast<std::size_t>(field)]; }
};

// What a field has where neither defaults nor matrix say anything.
const std::vector<FieldValue>& built_in_values();

// Counts what happened to cells on the way, in the order of first appearance.
class Notes {
 public:
    void count(const std::string& what, std::int64_t cells = 1);
    std::vector<ExpansionNote> take() { return std::move(notes_); }

 private:
    std::vector<ExpansionNote> notes_;
    std::map<std::string, std::size_t> index_;
};

// ---- product.cpp

// Processes of one cell: `repeat:` of the file, else what its protocol wants.
std::int64_t repeats_of(const Matrix& matrix, const Draft& draft);

// Calls `visit` for every combination of `groups` on top of `base`, first group slowest, repeats
// fastest. invalid_input: a dependent axis without a case; whatever `visit` says.
Status for_each_combination(const Matrix& matrix, const std::vector<const AxisGroup*>& groups,
                            const Draft& base, const std::function<Status(Draft&)>& visit);

// Every axis of the matrix.
std::vector<const AxisGroup*> all_groups(const Matrix& matrix);

// The groups that a cell added by `include` still needs: axes that it leaves to others.
std::vector<const AxisGroup*> groups_left_by(const Matrix& matrix, const Include& include);

// Exclusions and inclusions. `used[i]` is set where rule i matched something.
Result<bool> is_excluded(const Matrix& matrix, const Draft& draft, std::vector<bool>& used);
void extend_by_includes(const Matrix& matrix, Draft& draft, std::vector<bool>& used);

// ---- cell.cpp

// Sets aside what the cell does not read (a threshold of fp16) and counts it.
void drop_unread(Draft& draft, Notes& notes);

// The JobSpec of a complete draft, with the defaults that depend on protocol and model.
// invalid_input with the place of the value that does not fit the others.
Result<JobSpec> spec_of(const Matrix& matrix, const Draft& draft, Notes& notes);

// ---- order.cpp

// Models in the order of their first cell, so that one process can serve all cells of a model;
// inside a model as `order` says, reproducibly by `seed`. `keys[i]` is the value of the interleaved
// axis of cell i.
void order_cells(const Matrix& matrix, std::uint64_t seed, const std::vector<std::string>& keys,
                 std::vector<Cell>& cells);

}  // namespace bitsweep
