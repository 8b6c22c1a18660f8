#include "worker/inference/quant/shared/dense.h"

#include <algorithm>
#include <cstring>

#include "worker/inference/quant/shared/integers.h"
#include "worker/inference/quant/shared/layer.h"
#include "worker/inference/quant/shared/read_weight.h"
#include "worker/inference/quant/shared/tiles.h"

namespace bitsweep::quant {
namespace {

constexpr std::int64_t line_bytes = 64;

class DenseLayer final : public WeightOnlyLayer {
 public:
    DenseLayer(LayerBody body, const DenseType& type)
        : WeightOnlyLayer(std::move(body)), type_(type) {}

    void dequantize_rows(std::int64_t begin, std::int64_t end, float* dst) const override {
        for (std::int64_t row = begin; row < end; ++row, dst += body_.in) {
            for_each_line(row, [&](const std::byte* line, std::int64_t first, std::int64_t count) {
                type_.decode(line, count, scale_of(row), dst + first);
            });
        }
    }

    // Row-major, whatever the order in memory.
    PackedExport export_packed() const override {
        PackedExport out;
        out.codes.resize(body_.codes->bytes());
        out.codes_shape = {body_.out, body_.in * static_cast<std::int64_t>(type_.bytes)};
        out.layout = type_.layout;
        if (body_.scales) {
            const auto* scales = body_.scales->as<float>();
            out.scales.assign(scales, scales + body_.scales->bytes() / sizeof(float));
            out.scales_shape = {static_cast<std::int64_t>(out.scales.size())};
        }
        for (std::int64_t row = 0; row < body_.out; ++row) {
            for_each_line(row, [&](const std::byte* line, std::int64_t first, std::int64_t count) {
                std::memcpy(out.codes.data() + offset(row * body_.in + first), line, offset(count));
            });
        }
        return out;
    }

    // Where there is one for all rows, of absmax; else each row sets its own as it is written.
    void set_scale(std::int64_t row, float absmax) {
        body_.scales->as<float>()[one_scale() ? 0 : row] = absmax / type_.largest;
    }
    bool one_scale() const { return body_.scales && body_.scales->bytes() == sizeof(float); }

    Status write_row(std::int64_t row, const float* values) {
        if (type_.largest > 0 && !one_scale()) {
            set_scale(row, absmax(values, body_.in));
        }
        for_each_line(row, [&](std::byte* line, std::int64_t first, std::int64_t count) {
            type_.encode(values + first, count, scale_of(row), line);
        });
        return {};
    }

 protected:
    Status few(const LinearCall& call) const override {
        const auto kernel = kernels_->*type_.product;
        product_by_tiles(*this, body_, call, [&](std::int64_t tile, float* y) {
            DenseJob job;
            job.w = body_.codes->data() + offset(tile * tile_rows * body_.in);
            job.inputs = body_.in;
            job.x = call.x;
            job.rows = call.rows;
            job.y = y;
            kernel(job);
            if (type_.largest > 0) {
                for (std::int64_t i = 0; i < call.rows * tile_rows; ++i) {
                    const std::int64_t row = tile * tile_rows + i % tile_rows;
                    y[i] *= scale_of(row) * type_.kernel_unit;
                }
            }
        });
        return {};
    }

 private:
    float scale_of(std::int64_t row) const {
        return type_.largest > 0 ? body_.scales->as<float>()[one_scale() ? 0 : row] : 1.0f;
    }

    std::size_t offset(std::int64_t values) const {
        return static_cast<std::size_t>(values) * type_.bytes;
    }

    // visit(line, first input, inputs) for each line of a row.
    template <class Visit>
    void for_each_line(std::int64_t row, const Visit& visit) const {
        const std::int64_t line = line_bytes / static_cast<std::int64_t>(type_.bytes);
        const std::int64_t lane = row % tile_rows;
        const std::int64_t lanes = std::min(tile_rows, body_.out - (row - lane));
        const std::int64_t tile = (row - lane) * body_.in;
        for (std::int64_t first = 0; first < body_.in; first += line) {
            const std::int64_t count = std::min(line, body_.in - first);
            visit(body_.codes->data() + offset(tile + lanes * first + lane * count), first, count);
        }
    }

    const DenseType& type_;
};

}  // namespace

Result<std::unique_ptr<Linear>> pack_dense(const DenseWeight& weight, const MethodOptions& options,
                                           Backend& backend, const DenseType& type) {
    LayerBody body = TRY(allocate_body(weight, options, backend));
    const Element element =
        options.method.family == MethodFamily::fp16 ? Element::f16 : Element::f32;
    auto layer = std::make_unique<DenseLayer>(std::move(body), type);
    if (layer->one_scale()) {
        float largest = 0;
        TRY(for_each_row(weight, element, [&](std::int64_t, const float* values) -> Status {
            largest = std::max(largest, absmax(values, weight.in_features));
            return {};
        }));
        layer->set_scale(0, largest);
    }
    TRY(for_each_row(weight, element, [&](std::int64_t row, const float* values) {
        return layer->write_row(row, values);
    }));
    return std::unique_ptr<Linear>(std::move(layer));
}

}  // namespace bitsweep::quant
