// A policy: which method each linear layer of one model is stored with. A JSON file for people and
// programs; the text of the file travels inside a job, and its digest is part of the job's key.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "schemas/status.h"

namespace bitsweep {

struct LayerPolicy {
    std::string name;   // for people; may be empty
    std::string model;  // that it was made for; empty: any with these layers
    std::string gpu;    // kind of device that it was found for; empty: none
    // Within which it was found: "time of int4-g64", on `gpu`. Policies of several devices with
    // equal budgets are compared. Empty: it was not found but drawn or written.
    std::string budget;
    std::optional<double> predicted_kl;       // nat, mean per token, of the linear layers alone
    std::optional<double> predicted_step_ns;  // one decode step on `gpu`
    // By the engine's name of a linear layer ("model.layers.3.self_attn.qkv_proj"): a method, with
    // its outlier threshold where it reads one ("llmint8-fused@6").
    std::map<std::string, std::string> layers;
};

// A policy of a large model has some 500 layers of 80 bytes; this is 20 times as much.
inline constexpr std::size_t most_policy_bytes = 1 << 20;

// invalid_input: no JSON object, an unknown key, no layers, a layer that is no text.
Result<LayerPolicy> policy_from_json(std::string_view json);

// One layer a line, sorted; reads back as the same policy.
std::string to_json(const LayerPolicy& policy);

}  // namespace bitsweep
