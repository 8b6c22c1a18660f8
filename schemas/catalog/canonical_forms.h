// The canonical forms of one cell after another. Cells of a matrix mostly differ in a few numbers:
// the text around them is kept, so that a form costs little more than its digits. What comes out is
// what canonical_json() and its kin say of the cell alone (schemas/codec.h).
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/cell_numbers.h"
#include "schemas/job.h"

namespace bitsweep {

// The whole cell; without what differs between its repeats; without what a speed-up compares.
enum class CanonicalScope { cell, series, setting };

// Where its digits stand in a form.
struct CanonicalCut {
    CellNumber number = CellNumber::batch;
    std::size_t begin = 0;
    std::size_t end = 0;
};

class CanonicalForms {
 public:
    explicit CanonicalForms(CanonicalScope scope = CanonicalScope::cell) : scope_(scope) {}

    std::string_view of(const JobSpec& spec);  // until the next call
    std::string key(const JobSpec& spec);      // SHA-256 of it, 64 hex digits

    // Of the latest form. Specs of one serial differ in their numbers only; the other way round,
    // specs that differ in nothing else may still have two serials.
    std::size_t serial() const;
    std::string marked() const;  // with marks in place of its numbers

 private:
    struct Kept {
        std::size_t serial = 0;
        JobSpec spec;
        std::string text;
        std::vector<CanonicalCut> cuts;
    };
    // Models x methods x thresholds of an experiment: a few dozen. Two of them have one hash now
    // and then, and come by turns: each finds its place among four.
    static constexpr std::size_t sets = 64;
    using Set = std::array<std::unique_ptr<Kept>, 4>;

    CanonicalScope scope_;
    std::array<Set, sets> kept_;
    const Kept* latest_ = nullptr;
    std::size_t made_ = 0;
    std::string out_;
};

// cell_key() of one cell after another: mostly they have all but the spec key in common, which is
// hex digits.
class CellKeys {
 public:
    JobKey of(const CellIdentity& identity);

 private:
    CellIdentity like_;   // what the texts were made of
    std::string before_;  // the canonical form up to the spec key, "": not made yet
    std::string behind_;
    std::string text_;
};

}  // namespace bitsweep
