// Facts about quantization methods that need no code to run: which axes a method reads, what its
// packed weights cost, and the revision of its numbers. Kernels live in worker/inference/quant.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "schemas/status.h"

namespace bitsweep {

enum class MethodFamily {
    fp32,
    fp16,
    bf16,
    int8,         // weight only, one scale per output channel
    fp8,          // weight only, 8-bit floats (E4M3), one scale for the whole weight
    fp8_channel,  // likewise, one scale per output channel
    w8a8,         // dynamic per-token activations x per-channel weights
    llmint8,      // -bnb and -fused: the same sums, another implementation; -paper: other outliers;
                  // int8-rowwise and its like: the paper's ablations
    nf4,          // bitsandbytes 4 bits, blocks of 64 or N weights
    fp4,          // bitsandbytes' own fp4 map (not E2M1), blocks of 64 or N weights
    int_group,    // intB-gN: round to nearest, one scale per group of N inputs
    int_asym,     // intB-gN-asym: a scale and a zero point per group, from its minimum and maximum
    hqq,          // hqq-intB-gN: as int_asym, the zero chosen by a half-quadratic solver
    gptq,         // gptq-intB-gN: codes of int_group chosen with calibration inputs
    awq,          // awq-intB-gN: codes of int_asym of scaled and clipped weights
    smoothquant,  // w8a8 with outliers moved into the weights; -o1, -o2, -o3
    mixed,        // a method for each linear layer, from a policy file
};

// A parsed method id.
struct MethodId {
    MethodFamily family = MethodFamily::fp16;
    std::string text;                 // as written: "int4-g64"
    int weight_bits = 16;             // 0: differs by layer
    int group = 0;                    // inputs per scale; 0: one scale per output channel or none
    bool rounds_activations = false;  // activations are quantised to 8 bits before the product
    bool nested_scales = false;       // scales in 8 bits with scales of their own: nf4-bN-dq
};

// One row of the visible table.
struct MethodRow {
    std::string_view id;  // B and N stand for numbers: "intB-gN"
    MethodFamily family;
    int weight_bits;  // 0: the B of the id
    bool reads_threshold;
    bool rounds_activations;
    bool on_cpu;
    bool on_cuda;
    int numerics_cpu;   // raised when the CPU numbers of this method may change
    int numerics_cuda;  // likewise on CUDA
    std::string_view summary;
    bool calibrates = false;   // needs a slice of text before its weights can be packed
    bool reads_alpha = false;  // smoothquant's migration strength
    bool nested_scales = false;
};

std::span<const MethodRow> method_table();

// "int4-g64" -> MethodId. invalid_input names the nearest known method and, where the id holds
// numbers, their limits (B 2..8; N a power of two, 16..1024 in groups, 32..4096 in blocks).
Result<MethodId> parse_method(std::string_view text);

// The row that a parsed id belongs to. Never fails on a value made by parse_method.
const MethodRow& method_row(const MethodId& method);

// Whether fp16 weights stay beside the codes, for what the threshold keeps out of the 8-bit
// product.
bool keeps_originals(const MethodId& method);

// Whether one scale serves a whole weight tensor (the paper's baselines of LLM.int8()).
bool scales_by_tensor(const MethodId& method);

// Bytes that codes and scales of one linear layer [out, in] take in the packed form, exactly as the
// memory ledger counts them (tests compare both). Each row of codes is padded to a multiple of 4
// inputs at 8 bits (one dot-product instruction) and of 32 inputs below 8 bits, so a layer whose
// width is a multiple of 32 pays nothing: nf4-bN 4 + 32/N, nf4-bN-dq 4 + (8 + 32/256)/N, intB-gN
// B + 16/N, intB-gN-asym and hqq-intB-gN B + 32/N bits per weight.
struct PackedBytes {
    std::uint64_t codes = 0;
    std::uint64_t scales = 0;
    std::uint64_t originals = 0;  // of keeps_originals, where the threshold is above 0
};
PackedBytes packed_bytes(const MethodId& method, std::int64_t out_features,
                         std::int64_t in_features);

}  // namespace bitsweep
