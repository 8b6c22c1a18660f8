// Finds the place of a digest among many. The digests stand in the things themselves, so a thing
// costs 16 bytes here.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

namespace bitsweep {

class DigestIndex {
 public:
    // Room for so many things without growing.
    explicit DigestIndex(std::size_t things) { make_room(things); }

    // `digest_at(place)` is the digest of what was added with that place.
    template <class DigestAt>
    std::optional<std::uint32_t> find(std::string_view digest, const DigestAt& digest_at) const {
        const Slot& slot = slots_[slot_of(digest, digest_at)];
        return slot.place == 0 ? std::nullopt : std::optional(slot.place - 1);
    }

    // The place that has this digest already; nullopt: `place` has it from now on.
    template <class DigestAt>
    std::optional<std::uint32_t> add(std::string_view digest, std::uint32_t place,
                                     const DigestAt& digest_at) {
        if (2 * (used_ + 1) > slots_.size()) {
            grow(digest_at);
        }
        Slot& slot = slots_[slot_of(digest, digest_at)];
        if (slot.place != 0) {
            return slot.place - 1;
        }
        slot = {tag_of(digest), place + 1};
        ++used_;
        return std::nullopt;
    }

 private:
    struct Slot {
        std::uint32_t tag = 0;    // other bits of the digest: things are rarely looked at
        std::uint32_t place = 0;  // and 1; 0: free
    };
    static constexpr std::size_t fewest_slots = 64;

    // Of a SHA-256 in hex, any part is as good as a hash.
    static std::uint64_t part_of(std::string_view digest, std::size_t from) {
        std::uint64_t part = 0;
        if (digest.size() >= from + sizeof part) {
            std::memcpy(&part, digest.data() + from, sizeof part);
        } else {
            part = std::hash<std::string_view>{}(digest);
        }
        return (part * 0x9E3779B97F4A7C15u) >> 32;
    }
    static std::uint32_t tag_of(std::string_view digest) {
        return static_cast<std::uint32_t>(part_of(digest, sizeof(std::uint64_t)));
    }

    // Where the digest is, or the free slot where it belongs.
    template <class DigestAt>
    std::size_t slot_of(std::string_view digest, const DigestAt& digest_at) const {
        const std::size_t mask = slots_.size() - 1;
        const std::uint32_t tag = tag_of(digest);
        std::size_t at = part_of(digest, 0) & mask;
        while (slots_[at].place != 0 &&
               (slots_[at].tag != tag || digest_at(slots_[at].place - 1) != digest)) {
            at = (at + 1) & mask;
        }
        return at;
    }

    void make_room(std::size_t things) {
        slots_.assign(std::bit_ceil(std::max(fewest_slots, 2 * things + 2)), Slot{});
    }

    template <class DigestAt>
    void grow(const DigestAt& digest_at) {
        const std::vector<Slot> before = std::move(slots_);
        make_room(before.size());
        for (const Slot& slot : before) {
            if (slot.place != 0) {
                slots_[slot_of(digest_at(slot.place - 1), digest_at)] = slot;
            }
        }
    }

    std::vector<Slot> slots_;  // a power of two, half of it free
    std::size_t used_ = 0;
};

}  // namespace bitsweep
