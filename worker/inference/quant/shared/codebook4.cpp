#include "worker/inference/quant/shared/codebook4.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "worker/inference/quant/shared/integers.h"
#include "worker/inference/quant/shared/read_weight.h"
#include "worker/inference/quant/shared/tiles.h"

namespace bitsweep::quant {
namespace {

class CodebookLayer final : public WeightOnlyLayer {
 public:
    CodebookLayer(LayerBody body, const Codebook& book)
        : WeightOnlyLayer(std::move(body)), layout_{4, body_.out, body_.in}, book_(book) {}

    // Blocks start at row starts, so their scales can be interleaved like the codes.
    bool aligned() const { return body_.in % codebook_block == 0; }

    std::size_t scale_index(std::int64_t row, std::int64_t input) const {
        if (aligned()) {
            return layout_.scale_index(row, input / codebook_block, body_.in / codebook_block);
        }
        return static_cast<std::size_t>((row * body_.in + input) / codebook_block);
    }

    LayerBody& body() { return body_; }

    void dequantize_rows(std::int64_t begin, std::int64_t end, float* dst) const override {
        std::vector<std::uint8_t> codes(static_cast<std::size_t>(body_.in));
        const auto* scales = body_.scales->as<float>();
        for (std::int64_t row = begin; row < end; ++row, dst += body_.in) {
            layout_.unpack_row(body_.codes->as<std::uint8_t>(), row, codes.data());
            std::int64_t i = 0;
            while (i < body_.in) {
                const std::int64_t into = aligned() ? 0 : (row * body_.in + i) % codebook_block;
                const std::int64_t stop = std::min(body_.in, i + codebook_block - into);
                const float scale = scales[scale_index(row, i)];
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
        const std::int64_t blocks = (count + codebook_block - 1) / codebook_block;
        out.codes.resize(static_cast<std::size_t>((count + 1) / 2));
        out.codes_shape = {(count + 1) / 2};
        out.scales_shape = {blocks};
        out.layout =
            "bitsandbytes: 4-bit codes of the flattened row-major weight, first in the high "
            "nibble; float32 absmax per block of 64";
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
        for (std::int64_t block = 0; block < blocks; ++block) {
            const std::int64_t at = block * codebook_block;
            out.scales.push_back(
                body_.scales->as<float>()[scale_index(at / body_.in, at % body_.in)]);
        }
        return out;
    }

 protected:
    Status few(const LinearCall& call) const override {
        if (!aligned()) {
            call.threads.parallel_for(body_.out, 1, [&](std::int64_t begin, std::int64_t end) {
                reference_product(*this, body_, call, begin, end);
            });
            return {};
        }
        product_by_tiles(*this, body_, call, [&](std::int64_t tile, float* y) {
            CodebookJob job;
            job.codes = body_.codes->as<std::uint8_t>() + layout_.tile_offset(tile);
            job.inputs = body_.in;
            job.scales = body_.scales->as<float>() + tile * tile_rows * (body_.in / codebook_block);
            job.codebook = book_.value.data();
            job.x = call.x;
            job.rows = call.rows;
            job.y = y;
            kernels_->codebook(job);
        });
        return {};
    }

 private:
    TileLayout layout_;
    const Codebook& book_;
};

// Rows whose width is a multiple of 64 hold whole blocks.
Status pack_rows(const DenseWeight& weight, const Codebook& book, CodebookLayer& layer) {
    LayerBody& body = layer.body();
    const TileLayout layout{4, body.out, body.in};
    std::vector<std::uint8_t> codes(static_cast<std::size_t>(body.in));
    return for_each_row(weight, Element::f32, [&](std::int64_t row, const float* values) -> Status {
        for (std::int64_t i = 0; i < body.in; i += codebook_block) {
            const float largest = absmax(values + i, codebook_block);
            codes_of_block(book, values + i, codebook_block, largest, codes.data() + i);
            body.scales->as<float>()[layer.scale_index(row, i)] = largest;
        }
        layout.pack_row(body.codes->as<std::uint8_t>(), row, codes.data());
        return {};
    });
}

// Blocks that straddle rows need the whole weight at hand; only odd, small layers come here.
Status pack_flattened(const DenseWeight& weight, const Codebook& book, CodebookLayer& layer) {
    LayerBody& body = layer.body();
    const TileLayout layout{4, body.out, body.in};
    std::vector<float> flat;
    flat.reserve(static_cast<std::size_t>(body.out * body.in));
    TRY(for_each_row(weight, Element::f32, [&](std::int64_t, const float* values) -> Status {
        flat.insert(flat.end(), values, values + body.in);
        return {};
    }));
    std::vector<std::uint8_t> codes(flat.size());
    const auto total = static_cast<std::int64_t>(flat.size());
    for (std::int64_t at = 0; at < total; at += codebook_block) {
        const std::int64_t count = std::min(codebook_block, total - at);
        const float largest = absmax(flat.data() + at, count);
        codes_of_block(book, flat.data() + at, count, largest, codes.data() + at);
        body.scales->as<float>()[at / codebook_block] = largest;
    }
    for (std::int64_t row = 0; row < body.out; ++row) {
        layout.pack_row(body.codes->as<std::uint8_t>(), row, codes.data() + row * body.in);
    }
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
    auto layer =
        std::make_unique<CodebookLayer>(TRY(allocate_body(weight, options, backend)), book);
    if (layer->aligned()) {
        TRY(pack_rows(weight, book, *layer));
    } else {
        TRY(pack_flattened(weight, book, *layer));
    }
    return std::unique_ptr<Linear>(std::move(layer));
}

}  // namespace bitsweep::quant
