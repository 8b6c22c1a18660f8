#include "worker/inference/quant/shared/int8_device.h"

#include <algorithm>

#include "worker/inference/backend/cuda/cuda_error.h"
#include "worker/inference/quant/shared/dequantise.cuh"
#include "worker/inference/quant/shared/few_rows.cuh"
#include "worker/inference/quant/shared/int8_pack.cuh"

namespace bitsweep::quant {
namespace {

using device::row_threads;

constexpr float inverse_127_squared = 6.200012e-05f;  // bitsandbytes' constant of its kernel

__device__ __forceinline__ float input_at(const __half* x, std::int64_t i) {
    return __half2float(x[i]);
}
__device__ __forceinline__ float input_at(const float* x, std::int64_t i) {
    return x[i];
}

__device__ __forceinline__ float round_to_half(float v) {
    return __half2float(__float2half_rn(v));
}

// The weight that meets an outlier activation (llmint8.h).
__device__ __forceinline__ float outlier_weight(int code, float scb) {
    return round_to_half(
        __fmul_rn(__fmul_rn(static_cast<float>(code), scb), 7.874015718698502e-3f));
}

struct TokenJob {
    const void* x;
    std::int64_t x_stride;
    int in;
    int stride;
    float threshold;
    DeviceTokens tokens;
};

// A block a row: absmax, codes, flags.
template <class X>
__global__ void __launch_bounds__(row_threads) tokens_kernel(TokenJob job) {
    __shared__ float scratch[row_threads / 32];
    const std::int64_t row = blockIdx.x;
    const X* x = static_cast<const X*>(job.x) + row * job.x_stride;
    const bool all = job.threshold <= 0;
    float largest = 0, nan = 0;
    for (int k = threadIdx.x; k < job.in; k += row_threads) {
        const float magnitude = fabsf(input_at(x, k));
        nan = isnan(magnitude) ? 1.0f : nan;
        if (all || magnitude < job.threshold) {
            largest = fmaxf(largest, magnitude);
        } else {
            job.tokens.flags[k] = 1;  // a NaN too, so that it reaches the output
        }
    }
    largest = device::block_max(largest, scratch);
    nan = device::block_max(nan, scratch);
    const float factor = largest > 0 && isfinite(largest) ? __fdiv_rn(127.0f, largest) : 0.0f;
    const bool usable = isfinite(factor) && nan == 0;
    std::int8_t* codes = job.tokens.codes + row * job.stride;
    for (int k = threadIdx.x; k < job.stride; k += row_threads) {
        const float v = k < job.in ? input_at(x, k) : 0.0f;
        const bool counts = usable && (all || fabsf(v) < job.threshold);
        const float scaled = counts ? __fmul_rn(v, factor) : 0.0f;
        codes[k] = static_cast<std::int8_t>(__float2int_rn(isfinite(scaled) ? scaled : 0.0f));
    }
    if (threadIdx.x == 0) {
        job.tokens.scale[row] = nan != 0 ? __int_as_float(0x7fc00000) : largest;
    }
}

constexpr int scan_threads = 1024;

// One block: the flagged columns in ascending order; clears the flags.
__global__ void __launch_bounds__(scan_threads) columns_kernel(DeviceTokens tokens, int in) {
    __shared__ int warp_counts[scan_threads / 32];
    int found = 0;
    for (int begin = 0; begin < in; begin += scan_threads) {
        const int k = begin + static_cast<int>(threadIdx.x);
        const bool flagged = k < in && tokens.flags[k] != 0;
        const unsigned votes = __ballot_sync(0xffffffffu, flagged);
        if (threadIdx.x % 32 == 0) {
            warp_counts[threadIdx.x / 32] = __popc(votes);
        }
        __syncthreads();
        int before = found;
        for (unsigned warp = 0; warp < scan_threads / 32; ++warp) {
            before += warp < threadIdx.x / 32 ? warp_counts[warp] : 0;
            found += warp_counts[warp];
        }
        if (flagged) {
            tokens.columns[before + __popc(votes & ((1u << (threadIdx.x % 32)) - 1))] = k;
            tokens.flags[k] = 0;
        }
        __syncthreads();
    }
    if (threadIdx.x == 0) {
        *tokens.count = found;
    }
}

__global__ void clear_columns_kernel(DeviceTokens tokens, int stride) {
    for (int i = threadIdx.x; i < *tokens.count; i += blockDim.x) {
        tokens.codes[static_cast<std::int64_t>(blockIdx.x) * stride + tokens.columns[i]] = 0;
    }
}

struct Product {
    const void* x;  // half, for the outlier columns
    std::int64_t x_stride;
    int rows;
    float* y;
    std::int64_t y_stride;
    bool accumulate;
    Int8Rule rule;
};

__device__ __forceinline__ float finished(const Product& p, int sum, float x_scale, float w_scale,
                                          float bias, float extra) {
    if (p.rule == Int8Rule::w8a8) {
        const float factor = __fmul_rn(__fdiv_rn(x_scale, 127.0f), __fdiv_rn(w_scale, 127.0f));
        return __fadd_rn(__fmul_rn(static_cast<float>(sum), factor), bias);
    }
    const float scaled = __fmul_rn(static_cast<float>(sum), __fmul_rn(x_scale, w_scale));
    return round_to_half(round_to_half(fmaf(scaled, inverse_127_squared, bias)) + extra);
}

__device__ __forceinline__ int dot16(const uint4& w, const uint4& x, int sum) {
    sum = __dp4a(static_cast<int>(w.x), static_cast<int>(x.x), sum);
    sum = __dp4a(static_cast<int>(w.y), static_cast<int>(x.y), sum);
    sum = __dp4a(static_cast<int>(w.z), static_cast<int>(x.z), sum);
    return __dp4a(static_cast<int>(w.w), static_cast<int>(x.w), sum);
}

__device__ __forceinline__ int sum_over_warp(int value) {
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
        value += __shfl_xor_sync(0xffffffffu, value, offset);
    }
    return value;
}

constexpr int few_outputs = 2;

// A warp takes two rows of the weight and all activation rows.
template <int m_rows>
__global__ void __launch_bounds__(device::few_warps * 32)
    few_kernel(DeviceMatrix m, Product p, DeviceTokens tokens) {
    const int lane = threadIdx.x % 32;
    const std::int64_t first =
        (static_cast<std::int64_t>(blockIdx.x) * device::few_warps + threadIdx.x / 32) *
        few_outputs;
    if (first >= m.rows) {
        return;
    }
    // 1. Exact sums.
    const uint4* w[few_outputs];
    const uint4* x[m_rows];
#pragma unroll
    for (int o = 0; o < few_outputs; ++o) {
        w[o] = device::row_of(m, min(first + o, m.rows - 1));
    }
#pragma unroll
    for (int r = 0; r < m_rows; ++r) {
        x[r] = reinterpret_cast<const uint4*>(tokens.codes) +
               static_cast<std::int64_t>(min(r, p.rows - 1)) * m.row_chunks;
    }
    int sum[few_outputs][m_rows] = {};
    float extra[few_outputs][m_rows] = {};
#pragma unroll 2
    for (int i = lane; i < m.row_chunks; i += 32) {
        uint4 chunk[few_outputs];
#pragma unroll
        for (int o = 0; o < few_outputs; ++o) {
            chunk[o] = __ldg(w[o] + i);
        }
#pragma unroll
        for (int r = 0; r < m_rows; ++r) {
            const uint4 v = __ldg(x[r] + i);
#pragma unroll
            for (int o = 0; o < few_outputs; ++o) {
                sum[o][r] = dot16(chunk[o], v, sum[o][r]);
            }
        }
    }
    // 2. Outlier columns, a lane each; the row has just come through the second-level cache.
    const auto* halves = static_cast<const __half*>(p.x);
    const int columns = m.threshold > 0 ? *tokens.count : 0;
    for (int i = lane; i < columns; i += 32) {
        const int column = tokens.columns[i];
#pragma unroll
        for (int o = 0; o < few_outputs; ++o) {
            const std::int64_t row = min(first + o, m.rows - 1);
            const int code = reinterpret_cast<const std::int8_t*>(w[o])[column];
            const float weight = outlier_weight(code, static_cast<const float*>(m.scales)[row]);
#pragma unroll
            for (int r = 0; r < m_rows; ++r) {
                const float v = __half2float(halves[min(r, p.rows - 1) * p.x_stride + column]);
                extra[o][r] = fmaf(weight, v, extra[o][r]);
            }
        }
    }
    // 3. Results.
#pragma unroll
    for (int o = 0; o < few_outputs; ++o) {
        const std::int64_t row = min(first + o, m.rows - 1);
        const float scale = static_cast<const float*>(m.scales)[row];
        const float bias = m.bias != nullptr ? m.bias[row] : 0.0f;
#pragma unroll
        for (int r = 0; r < m_rows; ++r) {
            const int total = sum_over_warp(sum[o][r]);
            const float beside = columns > 0 ? device::sum_over_warp(extra[o][r]) : 0.0f;
            if (lane == 0 && first + o < m.rows && r < p.rows) {
                float* y = p.y + r * p.y_stride + row;
                const float v = finished(p, total, tokens.scale[r], scale, bias, beside);
                *y = v + (p.accumulate ? *y : 0.0f);
            }
        }
    }
}

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
    sum = sum_over_warp(sum);
    if (threadIdx.x % 32 == 0) {
        sums[r * m.rows + o] = sum;
    }
}

constexpr int finish_threads = 128;
constexpr int finish_rows = 16;   // activation rows a thread holds at once
constexpr int finish_passes = 4;  // such runs in a block: the outlier weights stay in cache

// A thread takes one output and up to 64 rows.
__global__ void __launch_bounds__(finish_threads)
    finish_kernel(DeviceMatrix m, Product p, DeviceTokens tokens, const std::int32_t* sums,
                  const float* extra) {
    const std::int64_t o = static_cast<std::int64_t>(blockIdx.x) * finish_threads + threadIdx.x;
    if (o >= m.rows) {
        return;
    }
    const float scale = static_cast<const float*>(m.scales)[o];
    const float bias = m.bias != nullptr ? m.bias[o] : 0.0f;
    const auto* codes = reinterpret_cast<const std::int8_t*>(device::row_of(m, o));
    const auto* halves = static_cast<const __half*>(p.x);
    const int columns = m.threshold > 0 && extra == nullptr ? *tokens.count : 0;
    const int begin = static_cast<int>(blockIdx.y) * finish_rows * finish_passes;
    const int end = min(p.rows, begin + finish_rows * finish_passes);
    for (int first = begin; first < end; first += finish_rows) {
        float beside[finish_rows] = {};
        for (int i = 0; i < columns; ++i) {
            const int column = tokens.columns[i];
            const float weight = outlier_weight(codes[column], scale);
#pragma unroll
            for (int r = 0; r < finish_rows; ++r) {
                const std::int64_t row = min(first + r, p.rows - 1);
                beside[r] =
                    fmaf(weight, __half2float(halves[row * p.x_stride + column]), beside[r]);
            }
        }
#pragma unroll
        for (int r = 0; r < finish_rows; ++r) {
            const std::int64_t row = first + r;
            if (row < end) {
                const float more = extra != nullptr ? extra[row * m.rows + o] : beside[r];
                float* y = p.y + row * p.y_stride + o;
                const float v =
                    finished(p, sums[row * m.rows + o], tokens.scale[row], scale, bias, more);
                *y = v + (p.accumulate ? *y : 0.0f);
            }
        }
    }
}

__global__ void gather_inputs_kernel(Product p, DeviceTokens tokens, int count, int stride,
                                     __half* to) {
    const std::int64_t row = blockIdx.x;
    for (int i = threadIdx.x; i < stride; i += blockDim.x) {
        const __half zero = __float2half_rn(0.0f);
        to[row * stride + i] =
            i < count ? static_cast<const __half*>(p.x)[row * p.x_stride + tokens.columns[i]]
                      : zero;
    }
}

__global__ void gather_weights_kernel(DeviceMatrix m, DeviceTokens tokens, int count, int stride,
                                      __half* to) {
    const std::int64_t row = blockIdx.x;
    const auto* codes = reinterpret_cast<const std::int8_t*>(device::row_of(m, row));
    const float scale = static_cast<const float*>(m.scales)[row];
    for (int i = threadIdx.x; i < stride; i += blockDim.x) {
        to[row * stride + i] =
            __float2half_rn(i < count ? outlier_weight(codes[tokens.columns[i]], scale) : 0.0f);
    }
}

Product product_of(const DeviceMatrix& m, const DeviceCall& call, Int8Rule rule) {
    return {call.x,
            input_stride(m.in_features),
            static_cast<int>(call.rows),
            call.y,
            call.y_stride,
            call.accumulate,
            rule};
}

std::size_t aligned(std::size_t bytes) {
    return (bytes + 255) / 256 * 256;
}

}  // namespace

Result<DeviceTokens> quantise_tokens(const DeviceMatrix& m, const DeviceCall& call,
                                     InputType type) {
    const auto rows = static_cast<std::size_t>(call.rows);
    const auto in = static_cast<std::size_t>(m.in_features);
    const int stride = m.row_chunks * 16;
    const std::size_t code_bytes = aligned(rows * static_cast<std::size_t>(stride));
    const std::size_t scale_bytes = aligned(rows * 4);
    DeviceTokens tokens;
    std::byte* memory = TRY(call.workspace.reserve(slot_tokens, code_bytes + scale_bytes));
    tokens.codes = reinterpret_cast<std::int8_t*>(memory);
    tokens.scale = reinterpret_cast<float*>(memory + code_bytes);
    if (m.threshold > 0) {
        memory = TRY(call.workspace.reserve(slot_columns32, 256 + in * 4));
        tokens.count = reinterpret_cast<std::int32_t*>(memory);
        tokens.columns = reinterpret_cast<std::int32_t*>(memory + 256);
        // Of their own: zero-filled at first, and cleared by whoever reads them.
        memory = TRY(call.workspace.reserve(slot_flags, in));
        tokens.flags = reinterpret_cast<std::uint8_t*>(memory);
    }
    const TokenJob job{call.x, input_stride(m.in_features), m.in_features, stride, m.threshold,
                       tokens};
    const auto blocks = static_cast<unsigned>(call.rows);
    const cudaStream_t stream = call.backend.stream();
    if (type == InputType::f32) {
        tokens_kernel<float><<<blocks, row_threads, 0, stream>>>(job);
    } else {
        tokens_kernel<__half><<<blocks, row_threads, 0, stream>>>(job);
    }
    if (m.threshold > 0) {
        columns_kernel<<<1, scan_threads, 0, stream>>>(tokens, m.in_features);
        if (call.rows > 1) {
            clear_columns_kernel<<<blocks, 64, 0, stream>>>(tokens, stride);
        }
    }
    TRY(cuda_status(cudaGetLastError(), "quantising activations"));
    return tokens;
}

Status int8_few_rows(const DeviceMatrix& m, const DeviceCall& call, const DeviceTokens& tokens,
                     Int8Rule rule) {
    const Product product = product_of(m, call, rule);
    const cudaStream_t stream = call.backend.stream();
    constexpr std::int64_t per_block = device::few_warps * few_outputs;
    const auto blocks = static_cast<unsigned>((m.rows + per_block - 1) / per_block);
    constexpr int threads = device::few_warps * 32;
    if (call.rows == 1) {
        few_kernel<1><<<blocks, threads, 0, stream>>>(m, product, tokens);
    } else if (call.rows <= 4) {
        few_kernel<4><<<blocks, threads, 0, stream>>>(m, product, tokens);
    } else {
        few_kernel<8><<<blocks, threads, 0, stream>>>(m, product, tokens);
    }
    return cuda_status(cudaGetLastError(), "an 8-bit product");
}

Result<const std::int32_t*> int8_sums(const DeviceMatrix& m, const DeviceCall& call,
                                      const DeviceTokens& tokens) {
    const auto count = static_cast<std::size_t>(call.rows * m.rows);
    auto* sums =
        reinterpret_cast<std::int32_t*>(TRY(call.workspace.reserve(slot_sums32, count * 4)));
    // cuBLASLt wants multiples of 4 outputs and strides.
    const std::int64_t most = m.rows % 4 == 0 ? m.rows : 0;
    if (most > 0) {
        const std::int64_t in = std::int64_t{m.row_chunks} * 16;
        TRY(call.backend.gemm().multiply(GemmCall{.type = GemmType::i8,
                                                  .w = m.codes,
                                                  .w_stride = in,
                                                  .x = tokens.codes,
                                                  .x_stride = in,
                                                  .y = sums,
                                                  .y_stride = m.rows,
                                                  .out = most,
                                                  .rows = call.rows,
                                                  .in = in}));
    } else {
        const auto blocks = static_cast<unsigned>((m.rows * call.rows + 3) / 4);
        tail_kernel<<<blocks, 128, 0, call.backend.stream()>>>(m, tokens, 0,
                                                               static_cast<int>(call.rows), sums);
        TRY(cuda_status(cudaGetLastError(), "an 8-bit product"));
    }
    return sums;
}

Status int8_finish(const DeviceMatrix& m, const DeviceCall& call, const DeviceTokens& tokens,
                   const std::int32_t* sums, const float* extra, Int8Rule rule) {
    constexpr std::int64_t rows = finish_rows * finish_passes;
    const dim3 grid(static_cast<unsigned>((m.rows + finish_threads - 1) / finish_threads),
                    static_cast<unsigned>((call.rows + rows - 1) / rows));
    finish_kernel<<<grid, finish_threads, 0, call.backend.stream()>>>(m, product_of(m, call, rule),
                                                                      tokens, sums, extra);
    return cuda_status(cudaGetLastError(), "scaling an 8-bit product");
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
    gather_inputs_kernel<<<static_cast<unsigned>(rows), 64, 0, stream>>>(
        product_of(m, call, Int8Rule::llmint8), tokens, count, stride, x);
    gather_weights_kernel<<<static_cast<unsigned>(out), 64, 0, stream>>>(m, tokens, count, stride,
                                                                         w);
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

Status look_up_int8(const DeviceMatrix& m, Int8Rule rule, const std::int32_t* ids,
                    std::int64_t first, std::int64_t count, float* y, std::int64_t stride,
                    cudaStream_t stream) {
    const auto factor =
        rule == Int8Rule::w8a8 ? device::RowFactor::by_127 : device::RowFactor::by_inverse;
    const device::DequantiseRows rows{ids, first, count, stride, factor};
    return cuda_status(device::dequantise<device::Unpack<decode::Codes::i8_i8>>(m, rows, y, stream),
                       "dequantising an 8-bit weight");
}

}  // namespace bitsweep::quant
