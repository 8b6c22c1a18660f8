// What the scheduler keeps of one job. A million of them wait at once, so what they share stands in
// tables, and what only a job with a story has, in a place of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "coordinator/scheduler/cell_table.h"
#include "coordinator/scheduler/job_state.h"
#include "coordinator/scheduler/packed_key.h"

namespace bitsweep::scheduler {

using Owners = std::vector<std::uint32_t>;  // indexes into State::experiments

class Job {
 public:
    Job(PackedKey key, PackedCell cell, Needs needs, std::uint64_t order)
        : order_(order), cell_(cell), needs_(needs), key_(key) {}

    JobKey key() const { return key_.key(); }
    const PackedKey& packed_key() const { return key_; }
    const PackedCell& cell() const { return cell_; }
    const Needs& needs() const { return needs_; }
    std::uint64_t order() const { return order_; }  // run order among jobs of equal priority
    const Owners& experiments() const;

    const JobState& state() const;
    Attempt attempt() const { return story_ ? story_->attempt : attempt_; }
    Shown shown() const { return story_ ? story_->shown : shown_; }
    const std::vector<SessionId>& refused_by() const { return story().refused_by; }
    bool is_sentinel() const { return sentinel() != nullptr; }
    const SentinelOf* sentinel() const { return story().sentinel.get(); }
    JobLife life() const;
    // Crashes, failures, last words ... of a job without a story: none.
    const JobLife& told() const { return story(); }

    JobRecord record() const;     // without its cell
    JobRecord with_cell() const;  // the cell without its spec key

    // ---- only by State, which keeps its indexes right
    struct Story : JobLife {
        std::vector<SessionId> refused_by;  // worker processes that cannot run it
        std::shared_ptr<const SentinelOf> sentinel;
    };
    // Opens the story to be changed; close() drops it again when it tells nothing.
    Story& open();
    void close();
    void set_cell(PackedCell cell) { cell_ = cell; }
    void set_order(std::uint64_t order) { order_ = order; }
    void set_owners(const Owners* owners) { owners_ = owners; }  // lives as long as the job

 private:
    const Story& story() const;

    std::uint64_t order_;
    std::unique_ptr<Story> story_;  // null: it waits or is done, and there is no more to tell
    const Owners* owners_ = nullptr;
    PackedCell cell_;
    Needs needs_;
    Attempt attempt_;  // this and what follows: only without a story
    PackedKey key_;
    Shown shown_ = Shown::nothing;
    bool done_ = false;
};

}  // namespace bitsweep::scheduler
