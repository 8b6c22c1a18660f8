#include "worker/inference/quant/int8/int8.h"
#include "worker/inference/quant/shared/int8_weights.h"

namespace bitsweep::quant {
namespace {

// Inputs that share one scale of the activations' digits: short enough that one large activation
// costs its neighbours nothing, long enough that scaling is rare.
constexpr std::int64_t activation_group = 256;

class Int8Layer final : public WeightOnlyLayer {
 public:
    explicit Int8Layer(LayerBody body) : WeightOnlyLayer(std::move(body)) {}

    void dequantize_rows(std::int64_t begin, std::int64_t end, float* dst) const override {
        dequantize_int8(body_, body_.scales->as<float>(), begin, end, dst);
    }

    PackedExport export_packed() const override {
        return export_int8(body_, "int8 row-major; weight = code * scale[row]");
    }

 protected:
    Status few(const LinearCall& call) const override {
        const GroupedWeights weights{8, activation_group, nullptr, nullptr,
                                     body_.scales->as<float>()};
        return grouped_product(*this, body_, call, *kernels_, weights);
    }
};

}  // namespace

std::unique_ptr<Linear> make_int8(LayerBody body) {
    return std::make_unique<Int8Layer>(std::move(body));
}

}  // namespace bitsweep::quant
