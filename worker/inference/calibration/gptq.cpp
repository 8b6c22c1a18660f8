// GPTQ (quant/gptq/README.md) on the linears of one layer.
#include "worker/inference/calibration/study.h"
#include "worker/inference/quant/gptq/solve.h"

namespace bitsweep {

Status decide_gptq(const LayerStudy& layer, Calibration& to) {
    const quant::GptqOptions options{.bits = layer.options.method.weight_bits,
                                     .group = layer.options.method.group};
    const auto solve = [&](const SharedInput& names, const InputStatistics& inputs) -> Status {
        for (const std::string& name : names) {
            const WholeWeight weight = TRY(read_weight(layer.weights, name));
            auto solved = quant::solve_gptq(layer.threads, weight.values, weight.out, weight.in,
                                            inputs.moments(), options);
            if (!solved) {
                return make_error(solved.error().code, name + ": " + solved.error().message);
            }
            const auto error_of = [&](const std::vector<float>& effective) {
                return quant::output_error(layer.threads, weight.values, effective, weight.in,
                                           inputs.moments());
            };
            to.errors[name] = {
                error_of(quant::effective_weights(*solved, weight.in, options)),
                error_of(quant::nearest_weights(*solved, weight.values, weight.in, options))};
            CalibratedWeight& decided = to.weights[name];
            decided.codes = std::move(solved->codes);
            decided.grid = std::move(solved->scales);
            decided.grid_width = solved->groups;
            decided.group = options.group;
            decided.offset = 1 << (options.bits - 1);
        }
        return {};
    };
    TRY(solve(layer.names.qkv, layer.qkv));
    TRY(solve(layer.names.o, layer.o));
    TRY(solve(layer.names.up, layer.up));
    return solve(layer.names.down, layer.down);
}

}  // namespace bitsweep
