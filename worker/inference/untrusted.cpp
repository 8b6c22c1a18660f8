#include "worker/inference/untrusted.h"

#include <algorithm>
#include <limits>

#include "schemas/catalog/edit_distance.h"

namespace bitsweep {
namespace {

constexpr std::size_t shown_bytes = 80;
constexpr std::size_t compared_bytes = 96;  // longer names are compared by their first bytes

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

// One digit for another costs double: it is another layer, not a misspelling.
std::size_t replacement_cost(char a, char b) {
    return a == b ? 0 : is_digit(a) && is_digit(b) ? 2 : 1;
}

}  // namespace

std::string show_name(std::string_view untrusted) {
    static constexpr char hex[] = "0123456789abcdef";
    std::string out = "'";
    for (const char c : untrusted.substr(0, shown_bytes)) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte >= 0x20 && byte < 0x7F) {
            out += c;
        } else {
            out += {'\\', 'x', hex[byte >> 4], hex[byte & 15]};
        }
    }
    return out + (untrusted.size() > shown_bytes ? "...'" : "'");
}

std::string shape_text(std::span<const std::int64_t> shape) {
    std::string out = "[";
    for (std::size_t i = 0; i < shape.size(); ++i) {
        out += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
    }
    return out + "]";
}

std::string nearest_name(std::string_view name, std::span<const std::string> candidates) {
    std::size_t best = std::numeric_limits<std::size_t>::max();
    std::string_view nearest;
    for (const std::string& candidate : candidates) {
        const std::size_t distance =
            edit_distance(name.substr(0, compared_bytes),
                          std::string_view(candidate).substr(0, compared_bytes), replacement_cost);
        if (distance < best) {
            best = distance;
            nearest = candidate;
        }
    }
    return std::string(nearest);
}

bool element_count(std::span<const std::int64_t> shape, std::uint64_t* count) {
    std::uint64_t product = 1;
    for (const std::int64_t dimension : shape) {
        if (dimension < 0 || !multiply(product, static_cast<std::uint64_t>(dimension), &product)) {
            return false;
        }
    }
    *count = product;
    return true;
}

}  // namespace bitsweep
