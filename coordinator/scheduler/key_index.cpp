#include "coordinator/scheduler/key_index.h"

#include <algorithm>

namespace bitsweep::scheduler {

namespace {

constexpr std::size_t fewest_slots = 64;

}  // namespace

// Where the key is, or the free slot where it belongs.
std::size_t KeyIndex::slot_of(const PackedKey& key, const std::vector<Job>& jobs) const {
    const std::size_t mask = slots_.size() - 1;
    std::size_t at = key.hash() & mask;
    while (slots_[at] != 0 && jobs[slots_[at] - 1].packed_key() != key) {
        at = (at + 1) & mask;
    }
    return at;
}

void KeyIndex::grow(const std::vector<Job>& jobs) {
    const std::vector<std::uint32_t> before = std::move(slots_);
    slots_.assign(std::max(fewest_slots, 2 * before.size()), 0);
    for (const std::uint32_t entry : before) {
        if (entry != 0) {
            slots_[slot_of(jobs[entry - 1].packed_key(), jobs)] = entry;
        }
    }
}

std::optional<std::uint32_t> KeyIndex::find(const PackedKey& key,
                                            const std::vector<Job>& jobs) const {
    const std::uint32_t entry = slots_.empty() ? 0 : slots_[slot_of(key, jobs)];
    return entry == 0 ? std::nullopt : std::optional(entry - 1);
}

bool KeyIndex::add(std::uint32_t position, const std::vector<Job>& jobs) {
    if (2 * (used_ + 1) > slots_.size()) {
        grow(jobs);
    }
    std::uint32_t& entry = slots_[slot_of(jobs[position].packed_key(), jobs)];
    if (entry != 0) {
        return false;
    }
    entry = position + 1;
    ++used_;
    return true;
}

}  // namespace bitsweep::scheduler
