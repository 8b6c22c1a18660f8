#include "worker/inference/quant/shared/dense.h"

#include <cmath>
#include <cstring>

#include "worker/inference/quant/shared/layer.h"
#include "worker/inference/quant/shared/read_weight.h"

namespace bitsweep::quant {
namespace {

class DenseLayer final : public WeightOnlyLayer {
 public:
    DenseLayer(LayerBody body, const DenseType& type)
        : WeightOnlyLayer(std::move(body)), type_(type) {}

    void dequantize_rows(std::int64_t begin, std::int64_t end, float* dst) const override {
        type_.decode(row(begin), (end - begin) * body_.in, dst);
    }

    PackedExport export_packed() const override {
        PackedExport out;
        const auto* bytes = body_.codes->as<std::uint8_t>();
        out.codes.assign(bytes, bytes + body_.codes->bytes());
        out.codes_shape = {body_.out, body_.in * static_cast<std::int64_t>(type_.bytes)};
        out.layout = type_.layout;
        return out;
    }

 protected:
    Status few(const LinearCall& call) const override {
        const auto share = [&](std::int64_t begin, std::int64_t end) {
            DenseJob job;
            job.w = row(begin);
            job.out = end - begin;
            job.inputs = body_.in;
            job.x = call.x;
            job.rows = call.rows;
            job.y = call.y + begin;
            job.ldy = body_.out;
            (kernels_->*type_.product)(job);
            if (const float* bias = body_.bias_or_null()) {
                for (std::int64_t r = 0; r < call.rows; ++r) {
                    for (std::int64_t o = begin; o < end; ++o) {
                        call.y[r * body_.out + o] += bias[o];
                    }
                }
            }
        };
        call.threads.parallel_for(body_.out, 16, std::cref(share));
        return {};
    }

 private:
    const std::byte* row(std::int64_t index) const {
        return body_.codes->data() + static_cast<std::size_t>(index * body_.in) * type_.bytes;
    }

    const DenseType& type_;
};

}  // namespace

Result<std::unique_ptr<Linear>> pack_dense(const DenseWeight& weight, const MethodOptions& options,
                                           Backend& backend, const DenseType& type) {
    LayerBody body = TRY(allocate_body(weight, options, backend));
    const Element element =
        options.method.family == MethodFamily::fp16 ? Element::f16 : Element::f32;
    const std::int64_t width = weight.in_features;
    TRY(for_each_row(weight, element, [&](std::int64_t row, const float* values) -> Status {
        type.encode(values, width,
                    body.codes->data() + static_cast<std::size_t>(row * width) * type.bytes);
        return {};
    }));
    return std::unique_ptr<Linear>(std::make_unique<DenseLayer>(std::move(body), type));
}

}  // namespace bitsweep::quant
