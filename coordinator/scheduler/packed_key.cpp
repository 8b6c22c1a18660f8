#include "coordinator/scheduler/packed_key.h"

#include <algorithm>
#include <functional>
#include <string>

#include "schemas/status.h"

namespace bitsweep::scheduler {

namespace {

constexpr std::size_t digits_of_a_key = 64;

// Below 0: no digit.
int value_of(char digit) {
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

bool is_hex(std::string_view key) {
    return key.size() == digits_of_a_key &&
           std::all_of(key.begin(), key.end(), [](char c) { return value_of(c) >= 0; });
}

}  // namespace

bool PackedKey::holds(std::string_view key) {
    return key.size() <= std::tuple_size_v<decltype(bytes_)> || is_hex(key);
}

PackedKey::PackedKey(std::string_view key) {
    ASSERT(holds(key));
    if (key.size() <= bytes_.size()) {
        std::copy(key.begin(), key.end(), bytes_.begin());
        length_ = static_cast<std::uint8_t>(key.size());
        return;
    }
    length_ = hex;
    for (std::size_t i = 0; i < bytes_.size(); ++i) {
        bytes_[i] = static_cast<std::uint8_t>(16 * value_of(key[2 * i]) + value_of(key[2 * i + 1]));
    }
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
