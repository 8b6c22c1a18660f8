#include "worker/inference/calibration/layer_names.h"

#include "schemas/status.h"

namespace bitsweep {

LayerNames layer_names(ModelFamily family, std::int64_t layer) {
    const std::string index = std::to_string(layer) + ".";
    switch (family) {
        case ModelFamily::gpt2: {
            const std::string at = "h." + index;
            return {.attention_norm = at + "ln_1",
                    .qkv = {at + "attn.c_attn.weight"},
                    .o = {at + "attn.c_proj.weight"},
                    .mlp_norm = at + "ln_2",
                    .up = {at + "mlp.c_fc.weight"},
                    .down = {at + "mlp.c_proj.weight"}};
        }
        case ModelFamily::opt: {
            const std::string at = "decoder.layers." + index, attn = at + "self_attn.";
            return {.attention_norm = at + "self_attn_layer_norm",
                    .qkv = {attn + "q_proj.weight", attn + "k_proj.weight", attn + "v_proj.weight"},
                    .o = {attn + "out_proj.weight"},
                    .mlp_norm = at + "final_layer_norm",
                    .up = {at + "fc1.weight"},
                    .down = {at + "fc2.weight"}};
        }
        case ModelFamily::llama:
        case ModelFamily::qwen2:
        case ModelFamily::mistral: {
            const std::string at = "model.layers." + index, attn = at + "self_attn.";
            return {.attention_norm = at + "input_layernorm",
                    .qkv = {attn + "q_proj.weight", attn + "k_proj.weight", attn + "v_proj.weight"},
                    .o = {attn + "o_proj.weight"},
                    .mlp_norm = at + "post_attention_layernorm",
                    .up = {at + "mlp.gate_proj.weight", at + "mlp.up_proj.weight"},
                    .down = {at + "mlp.down_proj.weight"}};
        }
    }
    ASSERT(!"a family without layer names");
    return {};
}

std::string bias_of(const std::string& weight) {
    constexpr std::size_t suffix = sizeof(".weight") - 1;
    return weight.substr(0, weight.size() - suffix) + ".bias";
}

}  // namespace bitsweep
