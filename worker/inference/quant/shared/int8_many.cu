// Many rows: exact sums by cuBLASLt, tile by tile of outputs so that they stay in the second-level
// cache until they are scaled.
#include <algorithm>

#include "worker/inference/backend/cuda/cuda_error.h"
#include "worker/inference/backend/cuda/warp.cuh"
#include "worker/inference/quant/shared/int8_math.cuh"
#include "worker/inference/quant/shared/mma.cuh"

namespace bitsweep::quant {
namespace {

// Sums of a tile: a third of the second-level cache of an H100.
constexpr std::int64_t tile_bytes = std::int64_t{16} << 20;
constexpr int most_gathered = most_gathered_columns;

// Outputs from `begin` on that the tensor cores' alignment leaves over: a warp a sum.
__global__ void tail_kernel(DeviceMatrix m, DeviceTokens tokens, std::int64_t begin, int rows,
                            std::int32_t* sums) {
    const std::int64_t left = m.rows - begin;
    const std::int64_t at =
        static_cast<std::int64_t>(blockIdx.x) * (blockDim.x / 32) + threadIdx.x / 32;
    if (at >= left * rows) {
        return;
    }
    const std::int64_t o = begin + at % left, r = at / left;
    const uint4* x = reinterpret_cast<const uint4*>(tokens.codes) + r * m.row_chunks;
    int sum = 0;
    for (int i = threadIdx.x % 32; i < m.row_chunks; i += 32) {
        sum = dot16(device::row_of(m, o)[i], x[i], sum);
    }
    sum = device::sum_over_warp(sum);
    if (threadIdx.x % 32 == 0) {
        sums[r * left + o - begin] = sum;
    }
}

// Outputs [first, first + count) of a tile: sums [rows][count].
struct Tile {
    std::int64_t first, count;
    const std::int32_t* sums;
};

// Gathered outlier columns: x [rows][most_gathered] and weights [out][most_gathered], as halves.
struct Gathered {
    const __half* x;
    const __half* w;
};

constexpr int finish_threads = 256;
constexpr int finish_rows = 8;

// Columns that plain arithmetic takes beside the scaling: 6 to 10 in a real layer's input.
constexpr int few_columns = 16;

// Without outliers, with their sums `extra` [rows][out] at hand, or with few gathered columns: a
// thread takes one output and up to eight rows. More columns: finish_with_outliers_kernel.
template <bool zero_points>
__global__ void __launch_bounds__(finish_threads)
    finish_kernel(DeviceMatrix m, Product p, DeviceTokens tokens, Tile tile, const float* extra,
                  Gathered gathered) {
    __shared__ float columns[finish_rows][few_columns];
    const int count = gathered.x != nullptr ? *tokens.count : 0;
    if (count > few_columns) {
        return;
    }
    const std::int64_t begin = static_cast<std::int64_t>(blockIdx.y) * finish_rows;
    if (gathered.x != nullptr) {
        const int r = static_cast<int>(threadIdx.x) / few_columns, c = threadIdx.x % few_columns;
        if (r < finish_rows && c < count) {
            const std::int64_t row = min(begin + r, static_cast<std::int64_t>(p.rows) - 1);
            columns[r][c] = __half2float(gathered.x[row * most_gathered + c]);
        }
        __syncthreads();
    }
    const std::int64_t inside =
        static_cast<std::int64_t>(blockIdx.x) * finish_threads + threadIdx.x;
    if (inside >= tile.count) {
        return;
    }
    const std::int64_t o = tile.first + inside;
    const float scale = static_cast<const float*>(m.scales)[o];
    const float bias = m.bias != nullptr ? m.bias[o] : 0.0f;
    int sums[finish_rows];
    float more[finish_rows] = {};
#pragma unroll
    for (int r = 0; r < finish_rows; ++r) {
        sums[r] = begin + r < p.rows ? tile.sums[(begin + r) * tile.count + inside] : 0;
    }
    for (int c = 0; c < count; ++c) {
        const float weight = __half2float(gathered.w[o * most_gathered + c]);
#pragma unroll
        for (int r = 0; r < finish_rows; ++r) {
            more[r] = fmaf(weight, columns[r][c], more[r]);
        }
    }
#pragma unroll
    for (int r = 0; r < finish_rows; ++r) {
        const std::int64_t row = begin + r;
        if (row < p.rows) {
            const float beside = extra != nullptr ? extra[row * m.rows + o] : more[r];
            float* y = p.y + row * p.y_stride + o;
            const float meant = sum_of_meanings<zero_points>(m, tokens, row, o, sums[r]);
            *y = finished(p, meant, tokens.scale[row], scale, bias, beside) +
                 (p.accumulate ? *y : 0.0f);
        }
    }
}

constexpr int outlier_warps = 4;
constexpr int outlier_rows = 64;

// With more outlier columns than finish_kernel takes: a warp takes 16 outputs and 64 rows, whose
// outlier sums it makes on tensor cores from the gathered columns.
template <bool zero_points>
__global__ void __launch_bounds__(outlier_warps * 32)
    finish_with_outliers_kernel(DeviceMatrix m, Product p, DeviceTokens tokens, Tile tile,
                                Gathered gathered) {
    constexpr int tiles = outlier_rows / 8;
    const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    const int g = lane / 4, t = lane % 4;
    const std::int64_t first_inside =
        (static_cast<std::int64_t>(blockIdx.x) * outlier_warps + warp) * 16;
    const int begin = static_cast<int>(blockIdx.y) * outlier_rows;
    const int count = *tokens.count;
    if (first_inside >= tile.count || count <= few_columns) {
        return;
    }
    std::int64_t inside[2];
    const __half* w[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
        inside[i] = min(first_inside + g + 8 * i, tile.count - 1);
        w[i] = gathered.w + (tile.first + inside[i]) * most_gathered;
    }
    const __half* x[tiles];
#pragma unroll
    for (int n = 0; n < tiles; ++n) {
        x[n] = gathered.x +
               static_cast<std::int64_t>(min(begin + 8 * n + g, p.rows - 1)) * most_gathered;
    }
    const int here = min(count, most_gathered);
    const auto pair_at = [](const __half* from) {
        return __ldg(reinterpret_cast<const std::uint32_t*>(from));
    };
    float sum[tiles][4] = {};
    for (int k = 0; k < here; k += 16) {
        const std::uint32_t a[4] = {pair_at(w[0] + k + 2 * t), pair_at(w[1] + k + 2 * t),
                                    pair_at(w[0] + k + 8 + 2 * t), pair_at(w[1] + k + 8 + 2 * t)};
#pragma unroll
        for (int n = 0; n < tiles; ++n) {
            device::multiply_tile(sum[n], a, pair_at(x[n] + k + 2 * t),
                                  pair_at(x[n] + k + 8 + 2 * t));
        }
    }
    const auto* halves = static_cast<const __half*>(p.x);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
        const std::int64_t o = tile.first + inside[i];
        const float scale = static_cast<const float*>(m.scales)[o];
        const float bias = m.bias != nullptr ? m.bias[o] : 0.0f;
#pragma unroll
        for (int n = 0; n < tiles; ++n) {
#pragma unroll
            for (int j = 0; j < 2; ++j) {
                const std::int64_t row = begin + 8 * n + 2 * t + j;
                if (row >= p.rows || first_inside + g + 8 * i >= tile.count) {
                    continue;
                }
                float more = sum[n][2 * i + j];
                for (int c = most_gathered; c < count; ++c) {
                    const int column = tokens.columns[c];
                    more = fmaf(outlier_weight(m, o, column),
                                __half2float(halves[row * p.x_stride + column]), more);
                }
                float* y = p.y + row * p.y_stride + o;
                const float meant = sum_of_meanings<zero_points>(
                    m, tokens, row, o, tile.sums[row * tile.count + inside[i]]);
                *y = finished(p, meant, tokens.scale[row], scale, bias, more) +
                     (p.accumulate ? *y : 0.0f);
            }
        }
    }
}

// `count`: of columns, or below 0: what the device knows, up to the stride.
__device__ __forceinline__ int gathered_count(const DeviceTokens& tokens, int count, int stride) {
    return count >= 0 ? count : min(*tokens.count, stride);
}

// Up to the next multiple of 16 the columns become zero.
__device__ __forceinline__ int gathered_end(int count, int stride) {
    return min((count + 15) / 16 * 16, stride);
}

__global__ void gather_inputs_kernel(Product p, DeviceTokens tokens, int known, int stride,
                                     __half* to) {
    const std::int64_t row = blockIdx.x;
    const int count = gathered_count(tokens, known, stride);
    for (int i = threadIdx.x; i < gathered_end(count, stride); i += blockDim.x) {
        const __half zero = __float2half_rn(0.0f);
        to[row * stride + i] =
            i < count ? static_cast<const __half*>(p.x)[row * p.x_stride + tokens.columns[i]]
                      : zero;
    }
}

__global__ void gather_weights_kernel(DeviceMatrix m, DeviceTokens tokens, int known, int stride,
                                      __half* to) {
    const std::int64_t row = blockIdx.x;
    const int count = gathered_count(tokens, known, stride);
    for (int i = threadIdx.x; i < gathered_end(count, stride); i += blockDim.x) {
        to[row * stride + i] =
            __float2half_rn(i < count ? outlier_weight(m, row, tokens.columns[i]) : 0.0f);
    }
}

constexpr int gather_threads = 128;

std::int64_t tile_outputs(const DeviceMatrix& m, std::int64_t rows) {
    const std::int64_t fitting = std::max<std::int64_t>(tile_bytes / (4 * rows) / 128 * 128, 1024);
    return std::min(m.rows, fitting);
}

Status tile_sums(const DeviceMatrix& m, const DeviceCall& call, const DeviceTokens& tokens,
                 const Tile& tile, std::int32_t* sums) {
    const std::int64_t in = std::int64_t{m.row_chunks} * 16;
    if (tile.count % 4 == 0) {  // cuBLASLt's alignment
        return call.backend.gemm().multiply(GemmCall{.type = GemmType::i8,
                                                     .w = m.codes + tile.first * in,
                                                     .w_stride = in,
                                                     .x = tokens.codes,
                                                     .x_stride = in,
                                                     .y = sums,
                                                     .y_stride = tile.count,
                                                     .out = tile.count,
                                                     .rows = call.rows,
                                                     .in = in});
    }
    const auto blocks = static_cast<unsigned>((tile.count * call.rows + 3) / 4);
    DeviceMatrix upto = m;
    upto.rows = tile.first + tile.count;
    tail_kernel<<<blocks, 128, 0, call.backend.stream()>>>(upto, tokens, tile.first,
                                                           static_cast<int>(call.rows), sums);
    return cuda_status(cudaGetLastError(), "an 8-bit product");
}

Result<Gathered> gather_columns(const DeviceMatrix& m, const DeviceCall& call,
                                const DeviceTokens& tokens, Int8Rule rule) {
    const auto rows = static_cast<std::size_t>(call.rows), out = static_cast<std::size_t>(m.rows);
    std::byte* memory =
        TRY(call.workspace.reserve(slot_dense, (rows + out) * most_gathered * sizeof(__half)));
    auto* x = reinterpret_cast<__half*>(memory);
    __half* w = x + rows * most_gathered;
    const cudaStream_t stream = call.backend.stream();
    gather_inputs_kernel<<<static_cast<unsigned>(rows), gather_threads, 0, stream>>>(
        product_of(m, call, rule), tokens, -1, most_gathered, x);
    gather_weights_kernel<<<static_cast<unsigned>(out), gather_threads, 0, stream>>>(
        m, tokens, -1, most_gathered, w);
    TRY(cuda_status(cudaGetLastError(), "gathering outlier columns"));
    return Gathered{x, w};
}

struct Finish {
    const float* extra;  // [rows][out] sums of the outlier columns, or null
    Gathered gathered;   // or nothing
};

// The device knows how many outlier columns there are: one of the two kernels does nothing.
template <bool zero_points>
void launch_finish(const DeviceMatrix& m, const Product& product, const DeviceTokens& tokens,
                   const Tile& tile, const Finish& finish, cudaStream_t stream) {
    const auto blocks = [](std::int64_t work, std::int64_t each) {
        return static_cast<unsigned>((work + each - 1) / each);
    };
    const dim3 grid(blocks(tile.count, finish_threads), blocks(product.rows, finish_rows));
    finish_kernel<zero_points><<<grid, finish_threads, 0, stream>>>(m, product, tokens, tile,
                                                                    finish.extra, finish.gathered);
    if (finish.gathered.x != nullptr) {
        const dim3 many(blocks(tile.count, outlier_warps * 16), blocks(product.rows, outlier_rows));
        finish_with_outliers_kernel<zero_points>
            <<<many, outlier_warps * 32, 0, stream>>>(m, product, tokens, tile, finish.gathered);
    }
}

}  // namespace

Status int8_many_rows(const DeviceMatrix& m, const DeviceCall& call, const DeviceTokens& tokens,
                      const float* extra, Int8Rule rule) {
    Finish finish{extra, {}};
    if (m.threshold > 0 && extra == nullptr) {
        finish.gathered = TRY(gather_columns(m, call, tokens, rule));
    }
    const std::int64_t at_once = tile_outputs(m, call.rows);
    auto* sums = reinterpret_cast<std::int32_t*>(TRY(
        call.workspace.reserve(slot_sums32, static_cast<std::size_t>(call.rows * at_once) * 4)));
    const Product product = product_of(m, call, rule);
    const auto launch = m.zeros != nullptr ? launch_finish<true> : launch_finish<false>;
    for (std::int64_t first = 0; first < m.rows; first += at_once) {
        const Tile tile{first, std::min(at_once, m.rows - first), sums};
        TRY(tile_sums(m, call, tokens, tile, sums));
        launch(m, product, tokens, tile, finish, call.backend.stream());
        TRY(cuda_status(cudaGetLastError(), "scaling an 8-bit product"));
    }
    return {};
}

Result<const float*> outlier_product(const DeviceMatrix& m, const DeviceCall& call,
                                     const DeviceTokens& tokens, std::int32_t count) {
    const int stride = (count + 7) / 8 * 8;
    const auto rows = static_cast<std::size_t>(call.rows), out = static_cast<std::size_t>(m.rows);
    const std::size_t x_bytes = aligned(rows * static_cast<std::size_t>(stride) * 2);
    const std::size_t w_bytes = aligned(out * static_cast<std::size_t>(stride) * 2);
    std::byte* memory = TRY(call.workspace.reserve(slot_dense, x_bytes + w_bytes + rows * out * 4));
    auto* x = reinterpret_cast<__half*>(memory);
    auto* w = reinterpret_cast<__half*>(memory + x_bytes);
    auto* y = reinterpret_cast<float*>(memory + x_bytes + w_bytes);
    const cudaStream_t stream = call.backend.stream();
    gather_inputs_kernel<<<static_cast<unsigned>(rows), gather_threads, 0, stream>>>(
        product_of(m, call, Int8Rule::llmint8), tokens, count, stride, x);
    gather_weights_kernel<<<static_cast<unsigned>(out), gather_threads, 0, stream>>>(
        m, tokens, count, stride, w);
    TRY(cuda_status(cudaGetLastError(), "gathering outlier columns"));
    TRY(call.backend.gemm().multiply(GemmCall{.type = GemmType::f16,
                                              .w = w,
                                              .w_stride = stride,
                                              .x = x,
                                              .x_stride = stride,
                                              .y = y,
                                              .y_stride = m.rows,
                                              .out = m.rows,
                                              .rows = call.rows,
                                              .in = stride}));
    return y;
}

}  // namespace bitsweep::quant
