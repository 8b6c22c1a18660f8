#include "results/store/json_text.h"

#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

namespace bitsweep {
namespace {

template <class Number>
std::string join(std::span<const Number> values) {
    std::string out = "[";
    for (const Number value : values) {
        if (out.size() > 1) {
            out += ',';
        }
        out += json_number(static_cast<double>(value));
    }
    return out + "]";
}

}  // namespace

std::string json_quote(std::string_view text) {
    return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string json_number(double value) {
    if (!std::isfinite(value)) {
        return "null";
    }
    char buffer[32];
    const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
    return std::string(buffer, end);
}

std::string json_array(std::span<const double> values) {
    return join(values);
}

std::string json_array(std::span<const std::int32_t> values) {
    return join(values);
}

std::string json_object(const std::map<std::string, std::string>& map) {
    std::string out = "{";
    for (const auto& [name, value] : map) {
        if (out.size() > 1) {
            out += ',';
        }
        out += json_quote(name) + ":" + json_quote(value);
    }
    return out + "}";
}

}  // namespace bitsweep
