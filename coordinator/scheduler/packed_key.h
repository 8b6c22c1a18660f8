// A job key in 33 bytes: the scheduler holds a million of them, and a string of 64 digits takes
// 112.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "schemas/ids.h"

namespace bitsweep::scheduler {

class PackedKey {
 public:
    PackedKey() = default;  // the empty key
    // 64 hex digits in lower case, as cell_key() makes them, or any text of at most 32 bytes; else
    // nullopt.
    static std::optional<PackedKey> of(std::string_view key);
    static bool holds(std::string_view key) { return of(key).has_value(); }
    explicit PackedKey(std::string_view key);  // that holds() says yes to

    JobKey key() const;
    bool empty() const { return length_ == 0; }
    std::uint64_t hash() const;
    bool operator==(const PackedKey&) const = default;

 private:
    static constexpr std::uint8_t hex = 0xff;  // the bytes that the digits say

    std::array<std::uint8_t, 32> bytes_{};
    std::uint8_t length_ = 0;  // of a text as it stands, or hex
};

}  // namespace bitsweep::scheduler
