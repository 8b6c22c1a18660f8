#include "worker/inference/quant/shared/block_scales.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "worker/inference/quant/shared/integers.h"

namespace bitsweep::quant {
namespace {

// torch.linspace(0.1, 1, parts + 1) in float32: from the nearer end, one rounding a value.
float edge(int i, int parts) {
    const float step = (1.0f - 0.1f) / static_cast<float>(parts);
    return i < (parts + 1) / 2 ? std::fma(step, static_cast<float>(i), 0.1f)
                               : std::fma(-step, static_cast<float>(parts - i), 1.0f);
}

std::array<float, 256> make_dynamic_map() {
    constexpr std::array<float, 7> tenths{1e-6f, 1e-5f, 1e-4f, 1e-3f, 1e-2f, 1e-1f, 1.0f};
    std::array<float, 256> map{0.0f, 1.0f};
    std::size_t at = 2;
    for (std::size_t power = 0; power < tenths.size(); ++power) {
        const int parts = 1 << power;
        for (int i = 0; i < parts; ++i) {
            const float middle = (edge(i, parts) + edge(i + 1, parts)) / 2 * tenths[power];
            map[at++] = middle;
            map[at++] = -middle;
        }
    }
    std::ranges::sort(map);
    return map;
}

// A value above the middle of two neighbours goes up.
std::uint8_t nearest_code(float value) {
    static const std::array<float, 255> middles = [] {
        const std::array<float, 256>& map = dynamic_map();
        std::array<float, 255> made{};
        for (std::size_t i = 0; i < made.size(); ++i) {
            made[i] = (map[i] + map[i + 1]) * 0.5f;
        }
        return made;
    }();
    return static_cast<std::uint8_t>(std::ranges::lower_bound(middles, value) - middles.begin());
}

}  // namespace

const std::array<float, 256>& dynamic_map() {
    static const std::array<float, 256> map = make_dynamic_map();
    return map;
}

std::vector<std::uint8_t> NestedScales::stored() const {
    const auto blocks = static_cast<std::int64_t>(codes.size());
    const auto codes_at = static_cast<std::size_t>(nested_codes_at(blocks));
    std::vector<std::uint8_t> bytes(codes_at + (codes.size() + 3) / 4 * 4);
    std::memcpy(bytes.data(), &offset, sizeof offset);
    std::memcpy(bytes.data() + sizeof offset, nested.data(), nested.size() * sizeof(float));
    std::ranges::copy(codes, bytes.begin() + static_cast<std::ptrdiff_t>(codes_at));
    return bytes;
}

NestedScales nest_scales(std::span<const float> absmax) {
    double sum = 0;
    for (const float value : absmax) {
        sum += value;
    }
    NestedScales made;
    made.offset = static_cast<float>(sum / static_cast<double>(absmax.size()));
    std::vector<float> above;
    for (std::size_t begin = 0; begin < absmax.size(); begin += nested_block) {
        const auto part =
            absmax.subspan(begin, std::min<std::size_t>(nested_block, absmax.size() - begin));
        above.assign(part.begin(), part.end());
        for (float& value : above) {
            value -= made.offset;
        }
        const float largest = quant::absmax(above.data(), static_cast<std::int64_t>(above.size()));
        made.nested.push_back(largest);
        const float inverse = 1.0f / largest;
        for (const float value : above) {
            // Below 2^-128 the inverse is infinite, and the difference nothing beside the offset.
            const bool nothing = !std::isfinite(inverse);
            made.codes.push_back(nothing ? 0 : nearest_code(value * inverse));
        }
    }
    return made;
}

}  // namespace bitsweep::quant
