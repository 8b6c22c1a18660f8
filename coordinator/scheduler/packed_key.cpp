#include "coordinator/scheduler/packed_key.h"

#include <algorithm>
#include <functional>
#include <string>

#include "schemas/status.h"

namespace bitsweep::scheduler {

namespace {

constexpr std::size_t digits_of_a_key = 64;

// By character; 0xff: no digit.
constexpr std::array<std::uint8_t, 256> digit_values = [] {
    std::array<std::uint8_t, 256> values{};
    values.fill(0xff);
    for (std::uint8_t i = 0; i < 16; ++i) {
        values[static_cast<std::uint8_t>("0123456789abcdef"[i])] = i;
    }
    return values;
}();

std::uint8_t value_of(char digit) {
    return digit_values[static_cast<std::uint8_t>(digit)];
}

}  // namespace

std::optional<PackedKey> PackedKey::of(std::string_view key) {
    PackedKey packed;
    if (key.size() <= packed.bytes_.size()) {
        std::copy(key.begin(), key.end(), packed.bytes_.begin());
        packed.length_ = static_cast<std::uint8_t>(key.size());
        return packed;
    }
    if (key.size() != digits_of_a_key) {
        return std::nullopt;
    }
    packed.length_ = hex;
    std::uint8_t strange = 0;
    for (std::size_t i = 0; i < packed.bytes_.size(); ++i) {
        const std::uint8_t high = value_of(key[2 * i]);
        const std::uint8_t low = value_of(key[2 * i + 1]);
        strange |= (high | low) & 0xf0;
        packed.bytes_[i] = static_cast<std::uint8_t>(high << 4 | low);
    }
    return strange == 0 ? std::optional(packed) : std::nullopt;
}

PackedKey::PackedKey(std::string_view key) {
    const std::optional<PackedKey> packed = of(key);
    ASSERT(packed);
    *this = *packed;
}

JobKey PackedKey::key() const {
    JobKey out;
    if (length_ != hex) {
        out.value.assign(bytes_.begin(), bytes_.begin() + length_);
        return out;
    }
    constexpr std::string_view digits = "0123456789abcdef";
    out.value.resize(digits_of_a_key);
    for (std::size_t i = 0; i < bytes_.size(); ++i) {
        out.value[2 * i] = digits[bytes_[i] >> 4];
        out.value[2 * i + 1] = digits[bytes_[i] & 15];
    }
    return out;
}

std::uint64_t PackedKey::hash() const {
    const std::string_view bytes(reinterpret_cast<const char*>(bytes_.data()), bytes_.size());
    return std::hash<std::string_view>{}(bytes);
}

}  // namespace bitsweep::scheduler
