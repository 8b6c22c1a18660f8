// `bitsweep-runner quantize`: one packed layer, to be compared with anybody else's.
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "worker/inference/backend/backend.h"
#include "worker/inference/engine.h"
#include "worker/inference/quant/method.h"
#include "worker/runner/command.h"
#include "worker/runner/options.h"
#include "worker/runner/safetensors_writer.h"

namespace bitsweep {
namespace {

namespace po = boost::program_options;

struct QuantizeOptions {
    ModelChoice model;
    MethodChoice method;
    std::string layer;
    std::string output;
};

// "NAME" or "NAME.weight": both are what people copy from a listing.
std::string tensor_of(const std::string& layer) {
    return layer.ends_with(".weight") ? layer : layer + ".weight";
}

Status quantize(const QuantizeOptions& options) {
    if (options.layer.empty() || options.output.empty()) {
        return make_error(ErrorCode::invalid_input,
                          "--layer and -o are needed: a layer's name and a file to write");
    }
    const EngineOptions engine = TRY(engine_options_of(options.method, options.model.device));
    const ModelFiles files = TRY(open_chosen(options.model));
    TRY(check_calibration(files, engine));
    const std::string tensor = tensor_of(options.layer);
    const std::vector<std::int64_t> shape = TRY(files.weights->shape(tensor));
    if (shape.size() != 2) {
        return make_error(
            ErrorCode::invalid_input,
            tensor + " is no linear layer: it has " + std::to_string(shape.size()) + " dimensions");
    }
    DenseWeight weight;
    weight.name = tensor.substr(0, tensor.size() - std::string(".weight").size());
    weight.out_features = shape[0];
    weight.in_features = shape[1];
    weight.rows = [&](std::int64_t begin, std::int64_t end, float* to) {
        return files.weights->read_rows(tensor, begin, end, to);
    };
    const auto backend = make_cpu_backend();
    const auto linear = TRY(
        pack_linear(weight, {.method = engine.method, .threshold = engine.threshold}, *backend));
    const PackedExport packed = linear->export_packed();
    std::vector<float> dequantized(static_cast<std::size_t>(shape[0] * shape[1]));
    linear->dequantize_rows(0, shape[0], dequantized.data());
    // A shape without sides would be one value.
    const auto scales_shape =
        packed.scales.empty() ? std::vector<std::int64_t>{0} : packed.scales_shape;
    return write_safetensors(
        options.output,
        {{"codes", "U8", packed.codes_shape, std::as_bytes(std::span(packed.codes))},
         {"scales", "F32", scales_shape, std::as_bytes(std::span(packed.scales))},
         {"dequantized", "F32", shape, std::as_bytes(std::span(dequantized))}},
        {{"method", options.method.method}, {"layer", weight.name}, {"layout", packed.layout}});
}

}  // namespace

int command_quantize(const Arguments& arguments) {
    QuantizeOptions options;
    po::options_description all = model_options(options.model);
    all.add(method_options(options.method));
    all.add_options()("layer", po::value(&options.layer)->value_name("NAME"),
                      "such as model.layers.0.mlp.down_proj");
    all.add_options()("output,o", po::value(&options.output)->value_name("F.safetensors"),
                      "codes, scales, dequantized");
    if (parse(arguments, "quantize --model PATH --method M --layer NAME -o F.safetensors", all) ==
        Parsed::help_shown) {
        return 0;
    }
    const Status written = quantize(options);
    return written ? 0 : report("quantize", written.error());
}

}  // namespace bitsweep
