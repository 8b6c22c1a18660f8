// What the cells of one experiment share is kept once, and of each job the numbers of its row
// (schemas/cell_rows.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_set>

#include "schemas/cell_rows.h"
#include "schemas/job.h"

namespace bitsweep::scheduler {

struct CellNumbers {
    std::uint64_t seed = 0;
    std::int64_t prompt_tokens = 0;
    std::int64_t new_tokens = 0;
    double threshold = 0;
    int batch = 0;
    int repeat = 0;
    int threads = 0;
    int yaml_line : 31 = 0;  // at most 2^20
    bool has_threshold : 1 = false;
};

// A cell in 56 bytes and a share of another one. Without its spec key, which follows from the spec.
class PackedCell {
 public:
    PackedCell() = default;

    // These are never numbers above, so that they are read without unpacking.
    const ModelRef& model() const { return shared_->spec.model; }
    const std::string& method() const { return shared_->spec.method; }
    const std::string& gpu() const { return shared_->spec.gpu; }
    const std::string& text() const { return shared_->spec.quality.text; }
    Protocol protocol() const { return shared_->spec.protocol; }
    const JobPolicy& policy() const { return shared_->policy; }
    const std::string& weights_digest() const { return shared_->identity.weights_digest; }
    const std::string& dataset_digest() const { return shared_->identity.dataset_digest; }

    JobSpec spec() const;
    Cell unpack() const;

 private:
    friend class CellTable;
    const Cell* shared_ = nullptr;  // of the table
    CellNumbers numbers_;
};

class CellTable {
 public:
    // What it gives is good as long as the table. Nothing is ever dropped: jobs are not either.
    PackedCell pack(const Cell& cell);
    std::size_t size() const { return shared_.size(); }

 private:
    std::unordered_set<Cell, HashButNumbers, SameButNumbers> shared_;  // their addresses stay
    const Cell* latest_ = nullptr;  // the next cell is often like the one before
};

}  // namespace bitsweep::scheduler
