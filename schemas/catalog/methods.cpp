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

// clang-format off
constexpr std::array<MethodRow, 33> table{{
    // id, family, bits, reads threshold, rounds activations, cpu, cuda, numerics cpu, cuda, summary
    {"fp32", MethodFamily::fp32, 32, false, false, true, true, 2, 5,
     "float32 weights: the reference of every quality number"},
    {"fp16", MethodFamily::fp16, 16, false, false, true, true, 2, 5,
     "IEEE half weights: the baseline of every speed-up"},
    {"bf16", MethodFamily::bf16, 16, false, false, true, true, 2, 5, "bfloat16 weights"},
    {"int8", MethodFamily::int8, 8, false, false, true, true, 1, 5,
     "8-bit weights, absmax per output channel; activations stay in floating point"},
    {"fp8", MethodFamily::fp8, 8, false, false, true, true, 1, 4,
     "8-bit float weights (E4M3), absmax of the whole weight; activations stay in floating point"},
    {"fp8-channel", MethodFamily::fp8_channel, 8, false, false, true, true, 1, 4,
     "8-bit float weights (E4M3), absmax per output channel"},
    {"w8a8", MethodFamily::w8a8, 8, false, true, true, true, 1, 5,
     "8-bit weights per channel x 8-bit activations per token, int32 sums"},
    {"llmint8-bnb", MethodFamily::llmint8, 8, true, true, true, true, 1, 5,
     "LLM.int8() with bitsandbytes' arithmetic: outlier columns leave the int8 product"},
    {"llmint8-fused", MethodFamily::llmint8, 8, true, true, true, true, 1, 5,
     "the sums of llmint8-bnb in one pass over the weights"},
    {"llmint8-paper", MethodFamily::llmint8, 8, true, true, true, true, 1, 4,
     "LLM.int8() as published: outlier columns times the fp16 weights, which stay in memory"},
    {"int8-absmax-tensor", MethodFamily::llmint8, 8, true, true, true, true, 1, 4,
     "ablation of LLM.int8(): one absmax a weight tensor x one absmax a call"},
    {"int8-rowwise", MethodFamily::llmint8, 8, true, true, true, true, 1, 4,
     "ablation of LLM.int8(): one absmax a weight tensor x one absmax a token"},
    {"int8-vectorwise", MethodFamily::llmint8, 8, true, true, true, true, 1, 4,
     "ablation of LLM.int8(): one absmax an output channel x one absmax a token"},
    {"int8-zeropoint", MethodFamily::llmint8, 8, true, true, true, true, 1, 4,
     "ablation of LLM.int8(): minimum to maximum of a weight tensor x of a call"},
    {"int8-zeropoint-vectorwise", MethodFamily::llmint8, 8, true, true, true, true, 1, 4,
     "ablation of LLM.int8(): minimum to maximum of an output channel x of a token"},
    {"nf4", MethodFamily::nf4, 4, false, false, true, true, 2, 5,
     "bitsandbytes' 4-bit NormalFloat, blocks of 64"},
    {"nf4-bN", MethodFamily::nf4, 4, false, false, true, true, 1, 4,
     "nf4 in blocks of N weights, 32 to 4096 (64: nf4)"},
    {"nf4-bN-dq", MethodFamily::nf4, 4, false, false, true, true, 1, 4,
     "nf4 in blocks of N weights whose scales are 8-bit codes (double quantisation)", false, false,
     true},
    {"fp4", MethodFamily::fp4, 4, false, false, true, true, 2, 5,
     "bitsandbytes' 4-bit float (not E2M1), blocks of 64"},
    {"fp4-bN", MethodFamily::fp4, 4, false, false, true, true, 1, 4,
     "fp4 in blocks of N weights, 32 to 4096 (64: fp4)"},
    {"fp4-bN-dq", MethodFamily::fp4, 4, false, false, true, true, 1, 4,
     "fp4 in blocks of N weights whose scales are 8-bit codes (double quantisation)", false, false,
     true},
    {"intB-gN", MethodFamily::int_group, 0, false, false, true, true, 1, 5,
     "B-bit weights (2..8), symmetric round to nearest, one fp16 scale per N inputs (16..1024)"},
    {"intB-gN-asym", MethodFamily::int_asym, 0, false, false, true, true, 1, 4,
     "B-bit weights whose codes cover minimum and maximum: fp16 scale and zero point per N inputs"},
    {"hqq-intB-gN", MethodFamily::hqq, 0, false, false, true, true, 1, 4,
     "intB-gN-asym whose zero point a half-quadratic solver chooses from the weights alone (HQQ)"},
    {"gptq-intB-gN", MethodFamily::gptq, 0, false, false, true, true, 1, 4,
     "intB-gN whose codes make up for each other's rounding on a calibration text (GPTQ)", true},
    {"awq-intB-gN", MethodFamily::awq, 0, false, false, true, true, 1, 4,
     "intB-gN-asym of weights scaled by what a calibration text says of their inputs (AWQ)", true},
    {"smoothquant-o1", MethodFamily::smoothquant, 8, false, true, true, true, 1, 4,
     "SmoothQuant: 8-bit weights per tensor x 8-bit activations scaled by token", true, true},
    {"smoothquant-o1-channel", MethodFamily::smoothquant, 8, false, true, true, true, 1, 4,
     "SmoothQuant: 8-bit weights per channel x 8-bit activations scaled by token", true, true},
    {"smoothquant-o2", MethodFamily::smoothquant, 8, false, true, true, true, 1, 4,
     "SmoothQuant: 8-bit weights per tensor x 8-bit activations scaled by call", true, true},
    {"smoothquant-o2-channel", MethodFamily::smoothquant, 8, false, true, true, true, 1, 4,
     "SmoothQuant: 8-bit weights per channel x 8-bit activations scaled by call", true, true},
    {"smoothquant-o3", MethodFamily::smoothquant, 8, false, true, true, true, 1, 4,
     "SmoothQuant: 8-bit weights per tensor x 8-bit activations with static scales", true, true},
    {"smoothquant-o3-channel", MethodFamily::smoothquant, 8, false, true, true, true, 1, 4,
     "SmoothQuant: 8-bit weights per channel x 8-bit activations with static scales", true, true},
    {"mixed", MethodFamily::mixed, 0, false, false, true, true, 1, 4,
     "a method for each linear layer, as a policy file says"},
}};
// clang-format on

// Methods of blocks that run over the flattened weight; others have groups inside a row.
bool has_blocks(MethodFamily family) {
    return family == MethodFamily::nf4 || family == MethodFamily::fp4;
}

constexpr int usual_block = 64;

struct GroupLimits {
    int least;
    int most;
};

GroupLimits group_limits(MethodFamily family) {
    return has_blocks(family) ? GroupLimits{32, 4096} : GroupLimits{16, 1024};
}

// The id of a row with numbers in place of B and N.
std::string with_numbers(std::string_view pattern, int bits, int group) {
    std::string id;
    for (const char c : pattern) {
        id += c == 'B'   ? std::to_string(bits)
              : c == 'N' ? std::to_string(group)
                         : std::string(1, c);
    }
    return id;
}

// Where two ids would mean one method, the shorter: nf4-b64 is nf4.
std::string canonical_id(const MethodRow& row, int bits, int group) {
    const bool usual = has_blocks(row.family) && !row.nested_scales && group == usual_block;
    return usual ? std::string(row.id.substr(0, row.id.find('-')))
                 : with_numbers(row.id, bits, group);
}

bool has_numbers(const MethodRow& row) {
    return row.id.find_first_of("BN") != std::string_view::npos;
}

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
        if (!has_numbers(row)) {
            consider(row.id);
            continue;
        }
        for (int bits = min_bits; bits <= max_bits; ++bits) {
            consider(canonical_id(row, bits, 64));
            consider(canonical_id(row, bits, 128));
        }
    }
    return best;
}

// The table's ids; one that continues another stands behind it: "intB-gN[-asym]".
std::string known_methods() {
    std::string text;
    for (const MethodRow& head : table) {
        std::string options;
        bool is_option = false;
        for (const MethodRow& row : table) {
            is_option |= head.id.size() > row.id.size() && head.id.starts_with(row.id);
            if (row.id.size() > head.id.size() && row.id.starts_with(head.id)) {
                options +=
                    (options.empty() ? "" : " ") + std::string(row.id.substr(head.id.size()));
            }
        }
        if (!is_option) {
            text += (text.empty() ? "" : " ") + std::string(head.id);
            text += options.empty() ? "" : "[" + options + "]";
        }
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

struct Numbers {
    int bits = 0;
    int group = 0;
};

// The numbers of `text` where it is `pattern` with any numbers for B and N; limits not checked.
std::optional<Numbers> match(std::string_view pattern, std::string_view text) {
    Numbers numbers;
    for (const char c : pattern) {
        if (c == 'B' || c == 'N') {
            const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
            const auto value = small_number(text.substr(0, digits));
            if (!value) {
                return std::nullopt;
            }
            (c == 'B' ? numbers.bits : numbers.group) = *value;
            text.remove_prefix(digits);
        } else if (text.starts_with(c)) {
            text.remove_prefix(1);
        } else {
            return std::nullopt;
        }
    }
    return text.empty() ? std::optional(numbers) : std::nullopt;
}

int nearest_group(int group, const GroupLimits& limits) {
    int best = limits.least;
    for (int n = limits.least; n <= limits.most; n *= 2) {
        if (std::abs(n - group) < std::abs(best - group)) {
            best = n;
        }
    }
    return best;
}

// A row whose id holds numbers, with those of `text`.
Result<MethodId> parse_numbers(const MethodRow& row, std::string_view text, const Numbers& id) {
    const GroupLimits limits = group_limits(row.family);
    const int written = row.weight_bits > 0 ? row.weight_bits : id.bits;
    const int bits = std::clamp(written, min_bits, max_bits);
    const int group = nearest_group(id.group, limits);
    const std::string canonical = canonical_id(row, bits, group);
    const std::string quoted = "method '" + std::string(text) + "': ";
    const std::string takes = ", but " + std::string(row.id) + " takes ";
    const std::string nearest = "; nearest: " + canonical;
    if (bits != written) {
        return make_error(ErrorCode::invalid_input, quoted + std::to_string(id.bits) + " bits" +
                                                        takes + "B from 2 to 8" + nearest);
    }
    if (group != id.group) {
        return make_error(ErrorCode::invalid_input,
                          quoted + (has_blocks(row.family) ? "block " : "group ") +
                              std::to_string(id.group) + takes + "N as a power of two from " +
                              std::to_string(limits.least) + " to " + std::to_string(limits.most) +
                              nearest);
    }
    if (canonical != text) {
        return make_error(ErrorCode::invalid_input, quoted + "write it '" + canonical + "'");
    }
    return MethodId{row.family, canonical, bits, group, row.rounds_activations, row.nested_scales};
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
        const auto numbers = match(row.id, text);
        if (numbers && has_numbers(row)) {
            return parse_numbers(row, text, *numbers);
        }
        if (numbers) {
            const int block = has_blocks(row.family) ? usual_block : 0;
            return MethodId{row.family, std::string(text), row.weight_bits, block,
                            row.rounds_activations};
        }
    }
    return make_error(ErrorCode::invalid_input,
                      "no method '" + std::string(text.substr(0, 60)) + "': did you mean '" +
                          nearest_method(text.substr(0, 60)) + "'? known: " + known_methods());
}

const MethodRow& method_row(const MethodId& method) {
    for (const MethodRow& row : table) {
        if (row.family == method.family && match(row.id, method.text)) {
            return row;
        }
    }
    ASSERT(!"a MethodId that parse_method did not make");
    return table[0];
}

bool keeps_originals(const MethodId& method) {
    return method.family == MethodFamily::llmint8 &&
           (method.text == "llmint8-paper" || method.text.starts_with("int8-"));
}

bool scales_by_tensor(const MethodId& method) {
    return method.text == "int8-absmax-tensor" || method.text == "int8-rowwise" ||
           method.text == "int8-zeropoint";
}

PackedBytes packed_bytes(const MethodId& method, std::int64_t out_features,
                         std::int64_t in_features) {
    const auto out = static_cast<std::uint64_t>(out_features);
    const auto in = static_cast<std::uint64_t>(in_features);
    switch (method.family) {
        case MethodFamily::fp32:
            return {out * in * 4, 0};
        case MethodFamily::mixed:  // not known without its policy: no more than
        case MethodFamily::fp16:
        case MethodFamily::bf16:
            return {out * in * 2, 0};
        case MethodFamily::fp8:
            return {out * in, 4};
        case MethodFamily::fp8_channel:
            return {out * in, out * 4};
        case MethodFamily::int8:
        case MethodFamily::smoothquant:
        case MethodFamily::w8a8:
        case MethodFamily::llmint8:
            // With zero points: their places and the sums of codes that they multiply.
            return {out * round_up(in_features, 4),
                    out * (method.text.starts_with("int8-zeropoint") ? 12 : 4),
                    keeps_originals(method) ? out * in * 2 : 0};
        case MethodFamily::nf4:
        case MethodFamily::fp4: {
            const std::uint64_t blocks =
                ceil_div(out * in, static_cast<std::uint64_t>(method.group));
            // Nested: codes in whole words, a float for 256 of them, and what all stand above.
            const std::uint64_t nested = ceil_div(blocks, 4) * 4 + ceil_div(blocks, 256) * 4 + 4;
            return {out * round_up(in_features, 32) / 2,
                    method.nested_scales ? nested : blocks * 4};
        }
        case MethodFamily::awq:
        case MethodFamily::gptq:
        case MethodFamily::int_group:
        case MethodFamily::hqq:
        case MethodFamily::int_asym: {
            const std::int64_t padding = method.weight_bits == 8 ? 4 : 32;
            const auto bits = static_cast<std::uint64_t>(method.weight_bits);
            const auto group = static_cast<std::uint64_t>(method.group);
            // Zeros beside the scales, or scales alone.
            const bool zeros = method.family == MethodFamily::int_asym ||
                               method.family == MethodFamily::hqq ||
                               method.family == MethodFamily::awq;
            const std::uint64_t each = zeros ? 4 : 2;
            return {out * (round_up(in_features, padding) * bits / 8),
                    out * ceil_div(in, group) * each};
        }
    }
    return {};
}

}  // namespace bitsweep
