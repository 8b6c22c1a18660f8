#include "coordinator/scheduler/queue.h"

#include <algorithm>
#include <iterator>

#include "schemas/status.h"

namespace bitsweep::scheduler {

namespace {

constexpr std::size_t most_of_a_block = 512;

auto at(std::vector<std::vector<Queue::Entry>>& blocks, std::size_t block) {
    return blocks.begin() + static_cast<std::ptrdiff_t>(block);
}

}  // namespace

// Where the entry is or belongs: the last block that does not begin behind it, else the first.
std::size_t Queue::block_of(Entry entry) const {
    const auto behind =
        std::upper_bound(blocks_.begin(), blocks_.end(), entry,
                         [](const Entry& e, const auto& block) { return e < block.front(); });
    return behind == blocks_.begin() ? 0 : static_cast<std::size_t>(behind - blocks_.begin()) - 1;
}

void Queue::insert(Entry entry) {
    ++size_;
    if (blocks_.empty()) {
        blocks_.push_back({entry});
        return;
    }
    const std::size_t place = block_of(entry);
    std::vector<Entry>& block = blocks_[place];
    if (block.size() < most_of_a_block) {
        block.insert(std::lower_bound(block.begin(), block.end(), entry), entry);
        return;
    }
    // Jobs mostly come in run order: then full blocks stay full.
    if (block.back() < entry) {
        blocks_.insert(at(blocks_, place + 1), {entry});
        return;
    }
    const auto half = block.begin() + most_of_a_block / 2;
    std::vector<Entry> upper(half, block.end());
    block.erase(half, block.end());
    std::vector<Entry>& right = upper.front() < entry ? upper : block;
    right.insert(std::lower_bound(right.begin(), right.end(), entry), entry);
    blocks_.insert(at(blocks_, place + 1), std::move(upper));
}

void Queue::erase(Entry entry) {
    ASSERT(!blocks_.empty());
    const std::size_t place = block_of(entry);
    std::vector<Entry>& block = blocks_[place];
    const auto found = std::lower_bound(block.begin(), block.end(), entry);
    ASSERT(found != block.end() && *found == entry);
    block.erase(found);
    if (block.empty()) {
        blocks_.erase(at(blocks_, place));
    }
    --size_;
}

std::size_t Queue::count_before(Entry entry) const {
    std::size_t before = 0;
    for (const std::vector<Entry>& block : blocks_) {
        if (entry <= block.front()) {
            break;
        }
        const auto end = std::lower_bound(block.begin(), block.end(), entry);
        before += static_cast<std::size_t>(end - block.begin());
    }
    return before;
}

std::vector<Queue::Entry> Queue::entries() const {
    std::vector<Entry> all;
    all.reserve(size_);
    for (const std::vector<Entry>& block : blocks_) {
        all.insert(all.end(), block.begin(), block.end());
    }
    return all;
}

}  // namespace bitsweep::scheduler
