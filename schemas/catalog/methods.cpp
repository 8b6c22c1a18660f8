#include "schemas/catalog/methods.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>

#include "schemas/catalog/edit_distance.h"

namespace bitsweep {
namespace {

constexpr int min_bits = 2;
constexpr int max_bits = 8;
constexpr int min_group = 16;
constexpr int max_group = 1024;

// clang-format off
constexpr std::array<MethodRow, 10> table{{
    // id, family, bits, reads threshold, rounds activations, cpu, cuda, numerics cpu, cuda, summary
    {"fp32", MethodFamily::fp32, 32, false, false, true, true, 2, 1,
     "float32 weights: the reference of every quality number"},
    {"fp16", MethodFamily::fp16, 16, false, false, true, true, 2, 1,
     "IEEE half weights: the baseline of every speed-up"},
    {"bf16", MethodFamily::bf16, 16, false, false, true, true, 2, 1, "bfloat16 weights"},
    {"int8", MethodFamily::int8, 8, false, false, true, true, 1, 1,
     "8-bit weights, absmax per output channel; activations stay in floating point"},
    {"w8a8", MethodFamily::w8a8, 8, false, true, true, true, 1, 1,
     "8-bit weights per channel x 8-bit activations per token, int32 sums"},
    {"llmint8-bnb", MethodFamily::llmint8, 8, true, true, true, true, 1, 1,
     "LLM.int8() with bitsandbytes' arithmetic: outlier columns leave the int8 product"},
    {"llmint8-fused", MethodFamily::llmint8, 8, true, true, true, true, 1, 1,
     "the sums of llmint8-bnb in one pass over the weights"},
    {"nf4", MethodFamily::nf4, 4, false, false, true, true, 1, 1,
     "bitsandbytes' 4-bit NormalFloat, blocks of 64"},
    {"fp4", MethodFamily::fp4, 4, false, false, true, true, 1, 1,
     "bitsandbytes' 4-bit float (not E2M1), blocks of 64"},
    {"intB-gN", MethodFamily::int_group, 0, false, false, true, true, 1, 1,
     "B-bit weights (2..8), symmetric round to nearest, one fp16 scale per N inputs (16..1024)"},
}};
// clang-format on

// Methods that cli.md promises and a later build brings.
constexpr std::array<std::string_view, 6> later{
    "llmint8-paper", "smoothquant-o1", "smoothquant-o2", "smoothquant-o3", "fp8", "mixed"};
constexpr std::array<std::string_view, 3> later_prefixes{"gptq-", "awq-", "hqq-"};

std::string nearest_method(std::string_view text) {
    std::string best;
    std::size_t best_distance = 0;
    const auto consider = [&](std::string_view name) {
        // A beginning of a name is nearer than any other slip: "llmint8", "int4".
        const bool begun = text.size() >= 3 && name.starts_with(text);
        const std::size_t distance = begun ? 0 : edit_distance(text, name);
        if (best.empty() || distance < best_distance) {
            best = name;
            best_distance = distance;
        }
    };
    for (const MethodRow& row : table) {
        if (row.family != MethodFamily::int_group) {
            consider(row.id);
        }
    }
    for (int bits = min_bits; bits <= max_bits; ++bits) {
        consider("int" + std::to_string(bits) + "-g64");
        consider("int" + std::to_string(bits) + "-g128");
    }
    return best;
}

std::string known_methods() {
    std::string text;
    for (const MethodRow& row : table) {
        text += (text.empty() ? "" : " ") + std::string(row.id);
    }
    return text;
}

// A whole non-negative number of at most six digits, or nothing.
std::optional<int> small_number(std::string_view digits) {
    int value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    const bool whole = error == std::errc{} && end == digits.data() + digits.size();
    if (digits.empty() || digits.size() > 6 || digits[0] == '-' || !whole) {
        return std::nullopt;
    }
    return value;
}

struct GroupId {
    int bits = 0;
    int group = 0;
};

// "intB-gN" with any numbers, limits not checked.
std::optional<GroupId> split_group_id(std::string_view text) {
    const std::size_t dash = text.find("-g");
    if (!text.starts_with("int") || dash == std::string_view::npos) {
        return std::nullopt;
    }
    const auto bits = small_number(text.substr(3, dash - 3));
    const auto group = small_number(text.substr(dash + 2));
    if (!bits || !group) {
        return std::nullopt;
    }
    return GroupId{*bits, *group};
}

int nearest_group(int group) {
    int best = min_group;
    for (int n = min_group; n <= max_group; n *= 2) {
        if (std::abs(n - group) < std::abs(best - group)) {
            best = n;
        }
    }
    return best;
}

Result<MethodId> parse_group_id(std::string_view text, const GroupId& id) {
    const int bits = std::clamp(id.bits, min_bits, max_bits);
    const int group = nearest_group(id.group);
    const std::string quoted = "method '" + std::string(text) + "': ";
    const std::string nearest =
        "; nearest: int" + std::to_string(bits) + "-g" + std::to_string(group);
    if (bits != id.bits) {
        return make_error(
            ErrorCode::invalid_input,
            quoted + std::to_string(id.bits) + " bits, but intB-gN takes B from 2 to 8" + nearest);
    }
    if (group != id.group) {
        return make_error(ErrorCode::invalid_input,
                          quoted + "group " + std::to_string(id.group) +
                              ", but intB-gN takes N as a power of two from 16 to 1024" + nearest);
    }
    const std::string canonical = "int" + std::to_string(bits) + "-g" + std::to_string(group);
    if (canonical != text) {
        return make_error(ErrorCode::invalid_input, quoted + "write it '" + canonical + "'");
    }
    return MethodId{MethodFamily::int_group, canonical, bits, group, false};
}

bool comes_later(std::string_view text) {
    const auto is_prefix = [&](std::string_view prefix) { return text.starts_with(prefix); };
    return std::ranges::find(later, text) != later.end() ||
           std::ranges::any_of(later_prefixes, is_prefix);
}

std::uint64_t round_up(std::int64_t value, std::int64_t multiple) {
    return static_cast<std::uint64_t>((value + multiple - 1) / multiple * multiple);
}

std::uint64_t ceil_div(std::uint64_t value, std::uint64_t by) {
    return (value + by - 1) / by;
}

}  // namespace

std::span<const MethodRow> method_table() {
    return table;
}

Result<MethodId> parse_method(std::string_view text) {
    for (const MethodRow& row : table) {
        if (row.id == text && row.family != MethodFamily::int_group) {
            const bool blocked = row.family == MethodFamily::nf4 || row.family == MethodFamily::fp4;
            return MethodId{row.family, std::string(text), row.weight_bits, blocked ? 64 : 0,
                            row.rounds_activations};
        }
    }
    if (const auto id = split_group_id(text)) {
        return parse_group_id(text, *id);
    }
    if (comes_later(text)) {
        return make_error(
            ErrorCode::unsupported,
            "method '" + std::string(text) + "' is not in this build; it has: " + known_methods());
    }
    return make_error(ErrorCode::invalid_input,
                      "no method '" + std::string(text.substr(0, 60)) + "': did you mean '" +
                          nearest_method(text.substr(0, 60)) + "'? known: " + known_methods());
}

const MethodRow& method_row(const MethodId& method) {
    for (const MethodRow& row : table) {
        const bool same_name =
            method.family == MethodFamily::int_group || row.id == std::string_view(method.text);
        if (row.family == method.family && same_name) {
            return row;
        }
    }
    ASSERT(!"a MethodId that parse_method did not make");
    return table[0];
}

PackedBytes packed_bytes(const MethodId& method, std::int64_t out_features,
                         std::int64_t in_features) {
    const auto out = static_cast<std::uint64_t>(out_features);
    const auto in = static_cast<std::uint64_t>(in_features);
    switch (method.family) {
        case MethodFamily::fp32:
            return {out * in * 4, 0};
        case MethodFamily::fp16:
        case MethodFamily::bf16:
            return {out * in * 2, 0};
        case MethodFamily::int8:
        case MethodFamily::w8a8:
        case MethodFamily::llmint8:
            return {out * round_up(in_features, 4), out * 4};
        case MethodFamily::nf4:
        case MethodFamily::fp4:
            return {out * round_up(in_features, 32) / 2, ceil_div(out * in, 64) * 4};
        case MethodFamily::int_group: {
            const std::int64_t padding = method.weight_bits == 8 ? 4 : 32;
            const auto bits = static_cast<std::uint64_t>(method.weight_bits);
            const auto group = static_cast<std::uint64_t>(method.group);
            return {out * (round_up(in_features, padding) * bits / 8),
                    out * ceil_div(in, group) * 2};
        }
    }
    return {};
}

}  // namespace bitsweep
