#include "worker/inference/quant/shared/codebook4.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <span>

#include "worker/inference/quant/shared/block_scales.h"
#include "worker/inference/quant/shared/integers.h"
#include "worker/inference/quant/shared/read_weight.h"
#include "worker/inference/quant/shared/tiles.h"

namespace bitsweep::quant {
namespace {

// What one call of the vector kernel may share a scale over.
constexpr std::int64_t longest_kernel_block = 64, shortest_kernel_block = 32;

class CodebookLayer final : public WeightOnlyLayer {
 public:
    CodebookLayer(LayerBody body, const MethodId& method, const Codebook& book)
        : WeightOnlyLayer(std::move(body)),
          layout_{4, body_.out, body_.in},
          block_(method.group),
          blocks_((body_.out * body_.in + block_ - 1) / block_),
          nested_(method.nested_scales),
          book_(book) {}

    LayerBody& body() { return body_; }
    std::int64_t block() const { return block_; }
    std::int64_t blocks() const { return blocks_; }
    const Codebook& book() const { return book_; }

    // Keeps the absmax of every block.
    void store_scales(std::span<const float> absmax) {
        if (nested_) {
            const std::vector<std::uint8_t> bytes = nest_scales(absmax).stored();
            std::ranges::copy(bytes, body_.scales->as<std::uint8_t>());
            return;
        }
        for (std::int64_t block = 0; block < blocks_; ++block) {
            body_.scales->as<float>()[place(block)] = absmax[static_cast<std::size_t>(block)];
        }
    }

    void dequantize_rows(std::int64_t begin, std::int64_t end, float* dst) const override {
        std::vector<std::uint8_t> codes(static_cast<std::size_t>(body_.in));
        for (std::int64_t row = begin; row < end; ++row, dst += body_.in) {
            layout_.unpack_row(body_.codes->as<std::uint8_t>(), row, codes.data());
            std::int64_t i = 0;
            while (i < body_.in) {
                const std::int64_t at = row * body_.in + i;
                const std::int64_t stop = std::min(body_.in, i + block_ - at % block_);
                const float scale = scale_of(at / block_);
                for (; i < stop; ++i) {
                    dst[i] = book_.value[codes[static_cast<std::size_t>(i)]] * scale;
                }
            }
        }
    }

    // bitsandbytes' own form: two codes per byte of the flattened weight, the first in the high
    // nibble.
    PackedExport export_packed() const override {
        PackedExport out;
        const std::int64_t count = body_.out * body_.in;
        out.codes.resize(static_cast<std::size_t>((count + 1) / 2));
        out.layout =
            "bitsandbytes: 4-bit codes of the flattened row-major weight, first in the high "
            "nibble; float32 absmax per block of " +
            std::to_string(block_);
        std::vector<std::uint8_t> codes(static_cast<std::size_t>(body_.in));
        for (std::int64_t row = 0; row < body_.out; ++row) {
            layout_.unpack_row(body_.codes->as<std::uint8_t>(), row, codes.data());
            for (std::int64_t i = 0; i < body_.in; ++i) {
                const std::int64_t at = row * body_.in + i;
                const int shift = at % 2 == 0 ? 4 : 0;
                out.codes[static_cast<std::size_t>(at / 2)] |=
                    static_cast<std::uint8_t>(codes[static_cast<std::size_t>(i)] << shift);
            }
        }
        if (nested_) {
            const auto* stored = body_.scales->as<std::uint8_t>();
            const auto* floats = body_.scales->as<float>();
            const std::int64_t codes_at = nested_codes_at(blocks_);
            out.codes.insert(out.codes.end(), stored + codes_at, stored + codes_at + blocks_);
            out.scales.assign(floats, floats + codes_at / 4);
            out.layout += " as 8-bit codes behind them; scales: offset, then absmax per 256 codes";
        } else {
            for (std::int64_t block = 0; block < blocks_; ++block) {
                out.scales.push_back(scale_of(block));
            }
        }
        out.codes_shape = {static_cast<std::int64_t>(out.codes.size())};
        out.scales_shape = {static_cast<std::int64_t>(out.scales.size())};
        return out;
    }

 protected:
    Status few(const LinearCall& call) const override {
        const std::int64_t step = kernel_block();
        if (step == 0) {
            call.threads.parallel_for(body_.out, 1, [&](std::int64_t begin, std::int64_t end) {
                reference_product(*this, body_, call, begin, end);
            });
            return {};
        }
        product_by_tiles(*this, body_, call, [&](std::int64_t tile, float* y) {
            thread_local std::vector<float> spread;
            CodebookJob job;
            job.codes = body_.codes->as<std::uint8_t>() + layout_.tile_offset(tile);
            job.inputs = body_.in;
            job.block = step;
            job.scales = interleaved()
                             ? body_.scales->as<float>() + tile * tile_rows * (body_.in / step)
                             : spread_scales(tile, step, spread);
            job.codebook = book_.value.data();
            job.x = call.x;
            job.rows = call.rows;
            job.y = y;
            kernels_->codebook(job);
        });
        return {};
    }

 private:
    // Whether scales stand as the vector kernel reads them: floats of blocks that begin at row
    // starts and are no longer than the kernel's. Others are spread out as a tile is multiplied.
    bool interleaved() const {
        return !nested_ && block_ <= longest_kernel_block && body_.in % block_ == 0;
    }

    // Inputs for which the kernel reads a scale; 0: rows that it does not serve.
    std::int64_t kernel_block() const {
        for (const std::int64_t length : {longest_kernel_block, shortest_kernel_block}) {
            if (block_ % length == 0 && body_.in % length == 0) {
                return length;
            }
        }
        return 0;
    }

    std::size_t place(std::int64_t block) const {
        if (!interleaved()) {
            return static_cast<std::size_t>(block);
        }
        const std::int64_t in_row = body_.in / block_;
        return layout_.scale_index(block / in_row, block % in_row, in_row);
    }

    float scale_of(std::int64_t block) const {
        return nested_ ? nested_scale(body_.scales->as<std::uint8_t>(), blocks_, block)
                       : body_.scales->as<float>()[place(block)];
    }

    // The scale of every `step` inputs for the sixteen rows of a tile. Divisions by the length of a
    // block, a power of two, would take longer than the product: they are shifts.
    const float* spread_scales(std::int64_t tile, std::int64_t step,
                               std::vector<float>& scales) const {
        scales.resize(static_cast<std::size_t>(body_.in / step * tile_rows));
        const auto* floats = body_.scales->as<float>();
        if (!nested_) {
            spread(tile, step, scales.data(), [&](std::int64_t block) { return floats[block]; });
            return scales.data();
        }
        const std::uint8_t* codes = body_.scales->as<std::uint8_t>() + nested_codes_at(blocks_);
        const float* map = dynamic_map().data();
        spread(tile, step, scales.data(), [&](std::int64_t block) {
            return map[codes[block]] * floats[1 + block / nested_block] + floats[0];
        });
        return scales.data();
    }

    template <class ScaleOf>
    void spread(std::int64_t tile, std::int64_t step, float* to, const ScaleOf& scale) const {
        const int shift = std::countr_zero(static_cast<std::uint64_t>(block_));
        const std::int64_t first = tile * tile_rows * body_.in;
        for (std::int64_t input = 0; input < body_.in; input += step) {
            for (std::int64_t lane = 0; lane < tile_rows; ++lane) {
                *to++ = scale((first + lane * body_.in + input) >> shift);
            }
        }
    }

    TileLayout layout_;
    std::int64_t block_;
    std::int64_t blocks_;
    bool nested_;
    const Codebook& book_;
};

// Codes of one block, and its absmax.
float quantise_block(const CodebookLayer& layer, const float* values, std::int64_t count,
                     std::uint8_t* codes) {
    const float largest = absmax(values, count);
    codes_of_block(layer.book(), values, count, largest, codes);
    return largest;
}

// Rows that hold whole blocks.
Status pack_rows(const DenseWeight& weight, CodebookLayer& layer) {
    LayerBody& body = layer.body();
    const TileLayout layout{4, body.out, body.in};
    std::vector<std::uint8_t> codes(static_cast<std::size_t>(body.in));
    std::vector<float> scales;
    scales.reserve(static_cast<std::size_t>(layer.blocks()));
    TRY(for_each_row(weight, Element::f32, [&](std::int64_t row, const float* values) -> Status {
        for (std::int64_t i = 0; i < body.in; i += layer.block()) {
            scales.push_back(quantise_block(layer, values + i, layer.block(), codes.data() + i));
        }
        layout.pack_row(body.codes->as<std::uint8_t>(), row, codes.data());
        return {};
    }));
    layer.store_scales(scales);
    return {};
}

// Blocks that straddle rows need the whole weight at hand.
Status pack_flattened(const DenseWeight& weight, CodebookLayer& layer) {
    LayerBody& body = layer.body();
    const TileLayout layout{4, body.out, body.in};
    std::vector<float> flat;
    flat.reserve(static_cast<std::size_t>(body.out * body.in));
    TRY(for_each_row(weight, Element::f32, [&](std::int64_t, const float* values) -> Status {
        flat.insert(flat.end(), values, values + body.in);
        return {};
    }));
    std::vector<std::uint8_t> codes(flat.size());
    std::vector<float> scales;
    const auto total = static_cast<std::int64_t>(flat.size());
    for (std::int64_t at = 0; at < total; at += layer.block()) {
        scales.push_back(quantise_block(layer, flat.data() + at,
                                        std::min(layer.block(), total - at), codes.data() + at));
    }
    for (std::int64_t row = 0; row < body.out; ++row) {
        layout.pack_row(body.codes->as<std::uint8_t>(), row, codes.data() + row * body.in);
    }
    layer.store_scales(scales);
    return {};
}

}  // namespace

Codebook make_codebook(const std::array<float, 16>& values) {
    Codebook book;
    book.value = values;
    book.two_zeros = values[0] == 0 && values[8] == 0;
    std::iota(book.order.begin(), book.order.end(), std::uint8_t{0});
    std::ranges::stable_sort(book.order, {}, [&](std::uint8_t code) { return values[code]; });
    for (std::size_t i = 0; i < book.midpoint.size(); ++i) {
        book.midpoint[i] = (values[book.order[i]] + values[book.order[i + 1]]) * 0.5f;
    }
    return book;
}

void codes_of_block(const Codebook& book, const float* values, std::int64_t count, float absmax,
                    std::uint8_t* codes) {
    const float inverse = 1.0f / absmax;
    const bool subnormal = std::isinf(inverse);  // absmax below 2^-128
    for (std::int64_t i = 0; i < count; ++i) {
        if (absmax == 0) {
            codes[i] = 0;
            continue;
        }
        const float quotient = subnormal ? values[i] / absmax : values[i] * inverse;
        const float x = std::clamp(quotient, -1.0f, 1.0f);
        std::size_t rank = 0;
        for (const float midpoint : book.midpoint) {
            rank += x > midpoint ? 1 : 0;
        }
        codes[i] = book.order[rank];
        if (book.two_zeros && book.value[codes[i]] == 0) {
            codes[i] = x < 0 ? 8 : 0;
        }
    }
}

Result<std::unique_ptr<Linear>> pack_codebook(const DenseWeight& weight,
                                              const MethodOptions& options, Backend& backend,
                                              const Codebook& book) {
    auto layer = std::make_unique<CodebookLayer>(TRY(allocate_body(weight, options, backend)),
                                                 options.method, book);
    if (weight.in_features % options.method.group == 0) {
        TRY(pack_rows(weight, *layer));
    } else {
        TRY(pack_flattened(weight, *layer));
    }
    return std::unique_ptr<Linear>(std::move(layer));
}

}  // namespace bitsweep::quant
