#include <algorithm>
#include <vector>

#include "worker/inference/quant/int_group/int_group.h"
#include "worker/inference/quant/shared/halves.h"
#include "worker/inference/quant/shared/tiles.h"

namespace bitsweep::quant {
namespace {

class IntGroupLayer final : public WeightOnlyLayer {
 public:
    IntGroupLayer(LayerBody body, int bits, std::int64_t group, GroupZeros zeros)
        : WeightOnlyLayer(std::move(body)),
          layout_{bits, body_.out, body_.in},
          group_(group),
          groups_((body_.in + group - 1) / group),
          zeros_(zeros == GroupZeros::yes ? body_.scales->as<std::uint16_t>() + body_.out * groups_
                                          : nullptr) {}

    void dequantize_rows(std::int64_t begin, std::int64_t end, float* dst) const override {
        std::vector<std::uint8_t> codes(static_cast<std::size_t>(body_.in));
        const int offset = 1 << (layout_.bits - 1);
        for (std::int64_t row = begin; row < end; ++row, dst += body_.in) {
            layout_.unpack_row(body_.codes->as<std::uint8_t>(), row, codes.data());
            for (std::int64_t g = 0; g < groups_; ++g) {
                const float scale = scale_of(row, g), zero = zero_of(row, g);
                const std::int64_t last = std::min(body_.in, (g + 1) * group_);
                for (std::int64_t i = g * group_; i < last; ++i) {
                    const int steps = codes[static_cast<std::size_t>(i)] - offset;
                    dst[i] = (static_cast<float>(steps) - zero) * scale;
                }
            }
        }
    }

    // Codes as one little-endian bit string per row, B bits each, rows padded to whole bytes.
    PackedExport export_packed() const override {
        PackedExport out;
        const int bits = layout_.bits;
        const std::int64_t row_bytes = (body_.in * bits + 7) / 8;
        out.codes_shape = {body_.out, row_bytes};
        out.scales_shape = {body_.out, groups_};
        const std::string offset = std::to_string(1 << (bits - 1));
        std::string steps = "code - " + offset, scale = "scale[row, input / ";
        if (zeros_ != nullptr) {
            out.scales_shape.push_back(2);
            steps += " - zero";
            scale = "scale; scale, zero = scales[row, input / ";
        }
        out.layout = "unsigned codes of " + std::to_string(bits) +
                     " bits, little-endian bit string per row; weight = (" + steps + ") * " +
                     scale + std::to_string(group_) + "]";
        out.codes.resize(static_cast<std::size_t>(body_.out * row_bytes));
        std::vector<std::uint8_t> codes(static_cast<std::size_t>(body_.in));
        for (std::int64_t row = 0; row < body_.out; ++row) {
            layout_.unpack_row(body_.codes->as<std::uint8_t>(), row, codes.data());
            std::uint8_t* to = out.codes.data() + row * row_bytes;
            for (std::int64_t i = 0; i < body_.in; ++i) {
                const std::int64_t bit = i * bits;
                const unsigned field = static_cast<unsigned>(codes[static_cast<std::size_t>(i)])
                                       << (bit % 8);
                to[bit / 8] |= static_cast<std::uint8_t>(field);
                if (bit % 8 + bits > 8) {
                    to[bit / 8 + 1] |= static_cast<std::uint8_t>(field >> 8);
                }
            }
            for (std::int64_t g = 0; g < groups_; ++g) {
                out.scales.push_back(scale_of(row, g));
                if (zeros_ != nullptr) {
                    out.scales.push_back(zero_of(row, g));
                }
            }
        }
        return out;
    }

 protected:
    Status few(const LinearCall& call) const override {
        const GroupedWeights weights{layout_.bits, group_, body_.scales->as<std::uint16_t>(),
                                     zeros_, nullptr};
        return grouped_product(*this, body_, call, *kernels_, weights);
    }

 private:
    float scale_of(std::int64_t row, std::int64_t g) const {
        return f16_to_f32(body_.scales->as<std::uint16_t>()[layout_.scale_index(row, g, groups_)]);
    }

    // Where there are no zeros, 0: (code - 2^(B-1) - 0) is exact.
    float zero_of(std::int64_t row, std::int64_t g) const {
        return zeros_ == nullptr ? 0.0f : f16_to_f32(zeros_[layout_.scale_index(row, g, groups_)]);
    }

    TileLayout layout_;
    std::int64_t group_;
    std::int64_t groups_;
    const std::uint16_t* zeros_;  // inside body_.scales, or null
};

}  // namespace

std::unique_ptr<Linear> make_int_group(LayerBody body, int bits, std::int64_t group,
                                       GroupZeros zeros) {
    return std::make_unique<IntGroupLayer>(std::move(body), bits, group, zeros);
}

}  // namespace bitsweep::quant
