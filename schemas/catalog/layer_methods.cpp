#include "schemas/catalog/layer_methods.h"

#include <charconv>
#include <cmath>

namespace bitsweep {
namespace {

// Of bitsandbytes, where a policy names none.
constexpr double usual_threshold = 6.0;

Result<double> parse_threshold(const std::string& text, std::size_t at) {
    const char* end = text.data() + text.size();
    double value = 0;
    const auto parsed = std::from_chars(text.data() + at + 1, end, value);
    if (parsed.ec != std::errc() || parsed.ptr != end || !std::isfinite(value) || value < 0) {
        return make_error(
            ErrorCode::invalid_input,
            "'" + text + "': after @ stands a threshold of 0 or more, as in llmint8-fused@6");
    }
    return value;
}

}  // namespace

Result<LayerMethod> parse_layer_method(const std::string& text) {
    const std::size_t at = text.find('@');
    LayerMethod layer;
    layer.method = TRY(parse_method(text.substr(0, at)));
    const MethodRow& row = method_row(layer.method);
    if (layer.method.family == MethodFamily::mixed || row.calibrates) {
        return make_error(ErrorCode::invalid_input,
                          "method '" + layer.method.text + "' is of a whole model: a policy's " +
                              "layer takes one that packs a layer alone, such as int4-g64");
    }
    if (at != std::string::npos && !row.reads_threshold) {
        return make_error(ErrorCode::invalid_input, "'" + text + "': " + layer.method.text +
                                                        " reads no threshold; leave out what "
                                                        "stands behind @");
    }
    if (row.reads_threshold) {
        layer.threshold =
            at == std::string::npos ? usual_threshold : TRY(parse_threshold(text, at));
    }
    return layer;
}

Result<LayerMethods> layer_methods_of(const LayerPolicy& policy) {
    LayerMethods methods;
    for (const auto& [layer, text] : policy.layers) {
        Result<LayerMethod> method = parse_layer_method(text);
        if (!method) {
            return make_error(method.error().code,
                              "policy, layer " + layer + ": " + method.error().message);
        }
        methods.emplace(layer, std::move(method).value());
    }
    return methods;
}

}  // namespace bitsweep
