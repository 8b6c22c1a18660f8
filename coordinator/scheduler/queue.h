// Waiting jobs in run order. A tree with a node for each takes 64 bytes a job; this takes 16, in
// blocks of at most 8 KiB, so that inserting and erasing anywhere moves no more than that.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace bitsweep::scheduler {

class Queue {
 public:
    using Entry = std::pair<std::uint64_t, std::uint32_t>;  // order, position of the job

    void insert(Entry entry);                                       // must not be there
    void erase(Entry entry);                                        // must be there
    const Entry& front() const { return blocks_.front().front(); }  // must not be empty
    bool empty() const { return blocks_.empty(); }
    std::size_t size() const { return size_; }
    std::size_t count_before(Entry entry) const;
    std::vector<Entry> entries() const;

 private:
    std::size_t block_of(Entry entry) const;

    std::vector<std::vector<Entry>> blocks_;  // each sorted, one after the other, none empty
    std::size_t size_ = 0;
};

}  // namespace bitsweep::scheduler
