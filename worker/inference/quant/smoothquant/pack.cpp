#include <string_view>

#include "worker/inference/quant/methods.h"
#include "worker/inference/quant/shared/int8_weights.h"
#include "worker/inference/quant/smoothquant/smoothquant.h"

namespace bitsweep::quant {

InputScope input_scope(const MethodId& method) {
    const std::string_view text = method.text;
    return text.find("-o1") != std::string_view::npos   ? InputScope::token
           : text.find("-o2") != std::string_view::npos ? InputScope::tensor
                                                        : InputScope::fixed;
}

Status check_input_scale(const DenseWeight& weight, InputScope scope) {
    if (scope == InputScope::fixed && !(weight.input_absmax > 0)) {
        return make_error(ErrorCode::invalid_input,
                          weight.name +
                              ": smoothquant-o3 needs the scale of its inputs from a calibration; "
                              "with random weights take smoothquant-o2, whose speed is the same");
    }
    return {};
}

// Without a calibration (random weights) rows are scaled one by one.
PackResult pack_smoothquant(const DenseWeight& weight, const MethodOptions& options,
                            Backend& backend) {
    const InputScope scope = input_scope(options.method);
    TRY(check_exact_width(weight));
    TRY(check_input_scale(weight, scope));
    return make_w8a8(TRY(pack_int8_weights(weight, options, backend)), scope, weight.input_absmax);
}

}  // namespace bitsweep::quant
