// AWQ (quant/awq/README.md) on one layer.
#include "worker/inference/calibration/folding.h"
#include "worker/inference/quant/awq/search.h"

namespace bitsweep {
namespace {

// Several whole weights, and what search_scales wants of them.
struct Readers {
    std::vector<WholeWeight> weights;
    std::vector<quant::AwqWeight> views;
};

Result<Readers> read_all(const LayerStudy& layer, const SharedInput& names) {
    Readers readers;
    for (const std::string& name : names) {
        readers.weights.push_back(TRY(read_weight(layer.weights, name)));
    }
    for (const WholeWeight& weight : readers.weights) {
        readers.views.push_back({weight.values, weight.out});
    }
    return readers;
}

quant::AwqGrid grid_of(const LayerStudy& layer) {
    return {.bits = layer.options.method.weight_bits, .group = layer.options.method.group};
}

Result<std::vector<float>> best_scale(const LayerStudy& layer, const SharedInput& names,
                                      const InputStatistics& inputs) {
    const Readers readers = TRY(read_all(layer, names));
    return quant::search_scales(layer.threads, readers.views, inputs.mean_abs(), inputs.moments(),
                                grid_of(layer))
        .scale;
}

// Limits of every weight of `names`; those of queries and keys are left alone, for their product
// is sensitive to them (llm-awq). `scale` empty: the input is not scaled.
Status clip(const LayerStudy& layer, const SharedInput& names, const InputStatistics& inputs,
            std::vector<float> scale, Calibration& to) {
    scale.resize(static_cast<std::size_t>(inputs.in_features()), 1.0f);
    const std::int64_t value_rows = layer.config.kv_heads * layer.config.head_dim;
    for (std::size_t i = 0; i < names.size(); ++i) {
        const bool attention = &names == &layer.names.qkv;
        if (attention && i + 1 < names.size()) {
            continue;
        }
        const WholeWeight weight = TRY(read_weight(layer.weights, names[i]));
        const std::int64_t first = attention ? weight.out - value_rows : 0;
        CalibratedWeight& decided = to.weights[names[i]];
        decided.group = grid_of(layer).group;
        decided.clip = quant::search_clips(layer.threads, {weight.values, weight.out}, scale,
                                           inputs.moments(), first, grid_of(layer));
    }
    return {};
}

// The linear that the down projection's input comes from, where a scale of its rows passes through
// the activation: the gate multiplies it, and ReLU keeps positive factors.
bool passes_to_down(const ModelConfig& config) {
    const bool gated = config.family != ModelFamily::gpt2 && config.family != ModelFamily::opt;
    return gated || config.activation == Activation::relu;
}

}  // namespace

Status decide_awq(const LayerStudy& layer, Calibration& to) {
    TRY(check_norms(layer));
    const LayerNames& names = layer.names;
    const auto qkv = TRY(best_scale(layer, names.qkv, layer.qkv));
    TRY(fold_into_norm(layer, names.attention_norm, names.qkv, qkv, to));
    std::vector<float> o, down;
    if (layer.config.heads == layer.config.kv_heads) {
        o = TRY(best_scale(layer, names.o, layer.o));
        const std::string& values = names.qkv.back();
        const std::int64_t first =
            TRY(layer.weights.shape(values))[0] - layer.config.kv_heads * layer.config.head_dim;
        TRY(fold_into_rows(layer, values, first, names.o, o, to));
    }
    const auto up = TRY(best_scale(layer, names.up, layer.up));
    TRY(fold_into_norm(layer, names.mlp_norm, names.up, up, to));
    if (passes_to_down(layer.config)) {
        down = TRY(best_scale(layer, names.down, layer.down));
        TRY(fold_into_rows(layer, names.up.back(), 0, names.down, down, to));
    }
    TRY(clip(layer, names.qkv, layer.qkv, qkv, to));
    TRY(clip(layer, names.o, layer.o, o, to));
    TRY(clip(layer, names.up, layer.up, up, to));
    return clip(layer, names.down, layer.down, down, to);
}

}  // namespace bitsweep
