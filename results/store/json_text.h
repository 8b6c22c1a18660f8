// The few JSON texts that the store itself writes: flat lists and string maps. Nouns go through
// schemas/codec.h.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>

namespace bitsweep {

std::string json_quote(std::string_view text);  // valid UTF-8 in, or each bad byte becomes U+FFFD
std::string json_number(double value);          // shortest that reads back equal; NaN, inf: null
std::string json_array(std::span<const double> values);
std::string json_array(std::span<const std::int32_t> values);
std::string json_object(const std::map<std::string, std::string>& map);

}  // namespace bitsweep
