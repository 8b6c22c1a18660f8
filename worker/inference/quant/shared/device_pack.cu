// The packing pipeline: rows travel to the device as floats, are quantised there with the
// arithmetic of the CPU's pack(), and laid out in chunks.
#include <algorithm>
#include <cmath>

#include "worker/inference/backend/cuda/cuda_error.h"
#include "worker/inference/quant/shared/dequantise.cuh"
#include "worker/inference/quant/shared/device_layer.h"

namespace bitsweep::quant {
namespace {

using decode::Codes;

constexpr unsigned long long none_refused = ~0ull;

// Values that are not finite, or become infinite as a half; halves are rounded on the way.
__global__ void check_kernel(float* values, std::int64_t count, std::int64_t first, bool as_half,
                             unsigned long long* refused) {
    const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (at >= count) {
        return;
    }
    float v = values[at];
    if (as_half) {
        v = __half2float(__float2half_rn(v));
        values[at] = v;
    }
    if (!isfinite(v)) {
        atomicMin(refused, static_cast<unsigned long long>(first + at));
    }
}

template <class Y>
__global__ void dense_kernel(const float* values, std::int64_t rows, std::int64_t in,
                             std::int64_t stride, Y* to) {
    const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (at < rows * in) {
        device::store_as(values[at], to + at / in * stride + at % in);
    }
}

// A thread makes one word (32 bits) of a row from one code a byte.
struct Layout {
    const std::uint8_t* codes;  // [rows][in]
    std::int64_t rows;
    int in;
    int row_words;
    Codes kind;
    int bits;
};

__device__ std::uint32_t code_at(const Layout& l, std::int64_t row, int k) {
    return k < l.in ? l.codes[row * l.in + k] : 0u;
}

// `count` codes from k on, `width` bits each from bit `shift` of the code.
__device__ std::uint32_t pack_plane(const Layout& l, std::int64_t row, int k, int width,
                                    int shift) {
    std::uint32_t word = 0;
    for (int j = 0; j < 32 / width; ++j) {
        word |= (code_at(l, row, k + j) >> shift & ((1u << width) - 1)) << (width * j);
    }
    return word;
}

__device__ std::uint32_t plane_word(const Layout& l, std::int64_t row, int word) {
    const int unit = word / (4 * l.bits), first = 128 * unit;
    int inside = word % (4 * l.bits), shift = 0;
    for (int width = 4; width >= 1; width /= 2) {
        if ((l.bits & width) != 0) {
            if (inside < 4 * width) {
                return pack_plane(l, row, first + inside * (32 / width), width, shift);
            }
            inside -= 4 * width;
            shift += width;
        }
    }
    return 0;
}

__global__ void layout_kernel(Layout l, std::uint32_t* to) {
    const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (at >= l.rows * l.row_words) {
        return;
    }
    const std::int64_t row = at / l.row_words;
    const int word = static_cast<int>(at % l.row_words);
    std::uint32_t made = 0;
    switch (l.kind) {
        case Codes::i8:
        case Codes::i8_i8:
        case Codes::i8_group:
        case Codes::e4m3:
            made = pack_plane(l, row, 4 * word, 8, 0);
            break;
        case Codes::i4_group:
            for (int j = 0; j < 8; ++j) {
                // Padding stands for weight 0: code 8.
                const int k = 8 * word + j;
                const std::uint32_t code = k < l.in ? code_at(l, row, k) : 8u;
                made |= code << (4 * (j / 2 + 4 * (j % 2)));
            }
            break;
        case Codes::lut4:
        case Codes::lut4_flat:
            made = pack_plane(l, row, 8 * word, 4, 0);
            break;
        case Codes::planes:
            made = plane_word(l, row, word);
            break;
        case Codes::f16:
        case Codes::bf16:
        case Codes::f32:
            break;
    }
    to[at] = made;
}

unsigned blocks_for(std::int64_t threads) {
    return static_cast<unsigned>((threads + 255) / 256);
}

cudaError_t store_dense(const PackChunk& chunk, const DeviceMatrix& m) {
    const std::int64_t stride = std::int64_t{m.row_chunks} * decode::weights_per_chunk(m.kind);
    const unsigned blocks = blocks_for(chunk.rows * chunk.in);
    auto* codes = const_cast<std::uint8_t*>(m.codes) + chunk.first_row * m.row_chunks * 16;
    if (m.kind == Codes::f32) {
        dense_kernel<<<blocks, 256, 0, chunk.stream>>>(chunk.values, chunk.rows, chunk.in, stride,
                                                       reinterpret_cast<float*>(codes));
    } else if (m.kind == Codes::f16) {
        dense_kernel<<<blocks, 256, 0, chunk.stream>>>(chunk.values, chunk.rows, chunk.in, stride,
                                                       reinterpret_cast<__half*>(codes));
    } else {
        dense_kernel<<<blocks, 256, 0, chunk.stream>>>(chunk.values, chunk.rows, chunk.in, stride,
                                                       reinterpret_cast<__nv_bfloat16*>(codes));
    }
    return cudaGetLastError();
}

cudaError_t store_codes(const PackChunk& chunk, const DeviceMatrix& m) {
    const Layout layout{chunk.codes,      chunk.rows, static_cast<int>(chunk.in),
                        m.row_chunks * 4, m.kind,     m.bits};
    auto* to = const_cast<std::uint8_t*>(m.codes) + chunk.first_row * m.row_chunks * 16;
    layout_kernel<<<blocks_for(chunk.rows * m.row_chunks * 4), 256, 0, chunk.stream>>>(
        layout, reinterpret_cast<std::uint32_t*>(to));
    return cudaGetLastError();
}

// The words of for_each_row for a value that the check or the quantiser refused.
Status refusal_of(const DenseWeight& weight, const PackPlan& plan, std::int64_t at) {
    const std::int64_t row = at / weight.in_features, column = at % weight.in_features;
    std::vector<float> values(static_cast<std::size_t>(weight.in_features));
    TRY(weight.rows(row, row + 1, values.data()));
    TRY(check_values(weight, row, values.data(), plan.element));
    return make_error(ErrorCode::invalid_numbers, weight.name + ": row " + std::to_string(row) +
                                                      ", input " + std::to_string(column) + ": " +
                                                      plan.refusal);
}

}  // namespace

Status pack_rows(const DenseWeight& weight, const PackPlan& plan, DeviceBody& body) {
    CudaBackend& backend = *body.backend;
    const std::int64_t in = weight.in_features, out = weight.out_features;
    const auto at_once = static_cast<std::int64_t>(CudaBackend::upload_floats) / in;
    if (at_once < 1) {
        return make_error(ErrorCode::unsupported, weight.name + ": " + std::to_string(in) +
                                                      " inputs; a device takes " +
                                                      std::to_string(CudaBackend::upload_floats));
    }
    const std::int64_t chunk_rows = plan.whole ? out : std::min(out, at_once);
    const auto values = TRY(backend.allocate(
        static_cast<std::size_t>(chunk_rows * in) * sizeof(float), MemoryCategory::workspace));
    const auto codes =
        TRY(backend.allocate(plan.quantiser ? chunk_rows * in : 0, MemoryCategory::workspace));
    const auto refused = TRY(backend.allocate(sizeof none_refused, MemoryCategory::workspace));
    TRY(backend.copy_to_device(*refused, 0, &none_refused, sizeof none_refused));
    PackChunk chunk;
    chunk.values = values->as<float>();
    chunk.codes = codes->as<std::uint8_t>();
    chunk.in = in;
    chunk.refused = refused->as<unsigned long long>();
    chunk.stream = backend.stream();
    for (std::int64_t begin = 0; begin < out; begin += chunk_rows) {
        chunk.first_row = begin;
        chunk.rows = std::min(out - begin, chunk_rows);
        for (std::int64_t row = 0; row < chunk.rows; row += at_once) {
            const std::int64_t count = std::min(at_once, chunk.rows - row);
            TRY(backend.upload(
                values->as<float>() + row * in, static_cast<std::size_t>(count * in),
                [&](float* to) { return weight.rows(begin + row, begin + row + count, to); }));
        }
        check_kernel<<<blocks_for(chunk.rows * in), 256, 0, chunk.stream>>>(
            values->as<float>(), chunk.rows * in, begin * in, plan.element == Element::f16,
            chunk.refused);
        TRY(cuda_status(cudaGetLastError(), weight.name));
        if (plan.quantiser) {
            TRY(cuda_status(plan.quantiser(chunk, body), weight.name));
            TRY(cuda_status(store_codes(chunk, body.matrix), weight.name));
        } else {
            TRY(cuda_status(store_dense(chunk, body.matrix), weight.name));
        }
    }
    unsigned long long first_refused = none_refused;
    TRY(backend.copy_to_host(&first_refused, *refused, 0, sizeof first_refused));
    if (first_refused != none_refused) {
        return refusal_of(weight, plan, static_cast<std::int64_t>(first_refused));
    }
    return {};
}

}  // namespace bitsweep::quant
