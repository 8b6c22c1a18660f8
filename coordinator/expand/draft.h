// One cell on its way: which value each field has, before it becomes a JobSpec.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/expand/expand.h"
#include "coordinator/expand/fields.h"
#include "coordinator/expand/matrix.h"
#include "schemas/catalog/shapes.h"
#include "schemas/job.h"
#include "schemas/status.h"

namespace bitsweep {

// What only some methods read.
inline constexpr std::array optional_fields = {Field::threshold, Field::calibration, Field::alpha,
                                               Field::policy};

// Points into the Matrix, the defaults and DerivedValues, which outlive it. nullptr: not said.
struct Draft {
    std::array<const Value*, field_count> values{};
    // What drop_unread() took out of `values`, in the order of optional_fields.
    std::array<const Value*, optional_fields.size()> unread{};
    int repeat = 0;
    At from;             // what made it: the method, or the inclusion
    bool added = false;  // by an inclusion that fits no cell of the matrix
    std::shared_ptr<const std::vector<ExprValue>> derived;  // by Derive::index; nullptr: none

    const Value* operator[](Field field) const { return values[static_cast<std::size_t>(field)]; }
    const Value*& operator[](Field field) { return values[static_cast<std::size_t>(field)]; }
};

// What a field has where neither defaults nor matrix say anything.
const std::vector<FieldValue>& built_in_values();

// Counts what happened to cells on the way, in the order of first appearance.
class Notes {
 public:
    // The note's position.
    std::size_t count(const std::string& what, std::int64_t cells = 1);
    void count(std::size_t position) { ++notes_[position].cells; }
    std::vector<ExpansionNote> take() { return std::move(notes_); }

 private:
    std::vector<ExpansionNote> notes_;
    std::map<std::string, std::size_t> index_;
};

// ---- derive.cpp

// Computes `derive` for one draft after another; owns the values that drafts then point to.
class DerivedValues {
 public:
    explicit DerivedValues(const Matrix& matrix) : matrix_(matrix) {}

    // `keep`: fields that an inclusion said itself. invalid_input with the place: what evaluate()
    // and the field refuse, and a field that cannot be derived for want of a fact.
    Status apply(Draft& draft, std::span<const FieldValue> keep = {});

 private:
    Result<const Value*> value_of(const Derive& derive, const ExprValue& result);

    const Matrix& matrix_;
    std::map<std::pair<Field, std::string>, std::unique_ptr<Value>> values_;
};

// ---- product.cpp

// Processes of one cell: `repeat:` of the file, else what its protocol wants.
std::int64_t repeats_of(const Matrix& matrix, const Draft& draft);

using Visit = std::function<Status(Draft&)>;

// Calls `visit` for every combination of `groups` on top of `base`, first group slowest, repeats
// fastest. `complete` sees each combination before its repeats. invalid_input: a dependent axis
// without a case, a branch that cannot be decided; whatever the two say.
Status for_each_combination(const Matrix& matrix, const std::vector<const AxisGroup*>& groups,
                            const Draft& base, const Visit& complete, const Visit& visit);

// How many combinations that would be, without making them: axes that nothing below depends on are
// multiplied. Stops counting soon after `enough`. A derived protocol counts as one repeat.
Result<double> count_combinations(const Matrix& matrix, const std::vector<const AxisGroup*>& groups,
                                  const Draft& base, double enough);

// Every axis of the matrix.
std::vector<const AxisGroup*> all_groups(const Matrix& matrix);

// The groups that a cell added by `include` still needs: axes that it leaves to others.
std::vector<const AxisGroup*> groups_left_by(const Matrix& matrix, const Include& include);

// ---- rules.cpp

// The first exclusion that matches, or nullptr. `used[i]` is set where rule i matched something.
Result<const Exclude*> exclusion_of(const Matrix& matrix, const Draft& draft,
                                    std::vector<bool>& used);

// The first condition of `where` that fails, or nullptr. What it cannot tell is kept and counted;
// of a template it is added to `left`, for the card to decide (card_condition.h).
Result<const Where*> condition_failed_by(const Matrix& matrix, const Draft& draft, Notes& notes,
                                         std::string& left);

// Whether one `field: pattern` fits.
bool holds(const Condition& condition, const Draft& draft);
void extend_by_includes(const Matrix& matrix, Draft& draft, std::vector<bool>& used);

// ---- cell.cpp

// Sets aside what the cell does not read (a threshold of fp16) and counts it.
void drop_unread(Draft& draft, Notes& notes);

// "fp16 does not read it"
std::string unread_because(const Draft& draft, Field field);

// The JobSpecs of complete drafts, with the defaults that depend on protocol and model. Neighbours
// of a matrix mostly differ in numbers: what else they have is made and checked once.
class Specs {
 public:
    Specs(const Matrix& matrix, Notes& notes) : matrix_(matrix), notes_(notes) {}

    // Until the next call. invalid_input with the place of the value that does not fit the others.
    Result<const JobSpec*> of(const Draft& draft);

 private:
    Result<JobSpec> make(const Draft& draft);

    const Matrix& matrix_;
    Notes& notes_;
    std::optional<JobSpec> spec_;  // of the draft before
    std::array<const Value*, field_count> others_{};
    const ModelShape* shape_ = nullptr;
    std::vector<std::size_t> spec_notes_;  // what each such cell counts
};

// ---- expand.cpp

// What became of one combination, for `explain`. It lives as long as the call.
struct CellFate {
    enum class Kind { kept, excluded, filtered, merged };
    Kind kind = Kind::kept;
    const Draft& draft;
    At at;             // of the rule, or of what made the cell
    std::string rule;  // the condition that failed, or of a template what the card decides
    std::string why;   // the values that it read
};
using FateObserver = std::function<void(const CellFate&)>;

// expand() that also tells every combination's fate, those of inclusions last, and may end without
// a cell.
Result<Expansion> expand_and_tell(const Matrix& matrix, const FateObserver& observer);

// ---- order.cpp

// "listed", "shuffled by seed 0 within each model", "interleaved by method, seed 0"
std::string order_in_words(const Matrix& matrix, std::uint64_t seed);

// Models in the order of their first cell, so that one process can serve all cells of a model;
// inside a model as `order` says, reproducibly by `seed`. `keys[i]` is the value of the interleaved
// axis of cell i.
void order_cells(const Matrix& matrix, std::uint64_t seed, const std::vector<std::string>& keys,
                 std::vector<Cell>& cells);

}  // namespace bitsweep
