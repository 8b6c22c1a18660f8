#include "worker/inference/backend/cuda/cuda_error.h"
#include "worker/inference/quant/shared/few_rows.cuh"
#include "worker/inference/quant/shared/int8_math.cuh"
#include "worker/inference/quant/shared/int8_pack.cuh"

namespace bitsweep::quant {
namespace {

using device::row_threads;

struct TokenJob {
    const void* x;
    std::int64_t x_stride;
    int stride;  // of codes, a multiple of 16
    float threshold;
    DeviceTokens tokens;
};

// A thread's share of a stretch of a row: eight neighbours in each of `runs` places.
template <int runs>
struct Share {
    static constexpr int span = runs * 8 * row_threads;
    float v[runs][8];

    // Of the stretch at `from`; at or beyond the row's stride: none.
    static __device__ __forceinline__ int place(int from, int i) {
        return from + 8 * (i * row_threads + static_cast<int>(threadIdx.x));
    }

    template <class X>
    __device__ __forceinline__ void load(const X* x, int from, int stride) {
#pragma unroll
        for (int i = 0; i < runs; ++i) {
            if (place(from, i) < stride) {
                device::load_eight(x + place(from, i), v[i]);
            }
        }
    }

    template <class Body>
    __device__ __forceinline__ void each_run(int from, int stride, const Body& body) {
#pragma unroll
        for (int i = 0; i < runs; ++i) {
            if (place(from, i) < stride) {
                body(v[i], place(from, i));
            }
        }
    }
};

// A block a row: absmax, codes, flags. What a row of one stretch holds stays in registers from the
// first look to the codes: 2,048 rows of 14,336 floats took 64 us on an NVIDIA H200 when they were
// read twice, 39 like this (predicted: 33). Of halves, 35 us became 50: the second look finds them
// in the caches, and registers cost blocks. Behind in_features there are zeros.
template <class X, int runs>
__global__ void __launch_bounds__(row_threads) tokens_kernel(TokenJob job) {
    __shared__ float scratch[row_threads / 32];
    const std::int64_t row = blockIdx.x;
    const X* x = static_cast<const X*>(job.x) + row * job.x_stride;
    const bool all = job.threshold <= 0;
    float largest = 0, nan = 0;
    Share<runs> share;
    for (int from = 0; from < job.stride; from += share.span) {
        share.load(x, from, job.stride);
        share.each_run(from, job.stride, [&](const float* v, int k) {
#pragma unroll
            for (int j = 0; j < 8; ++j) {
                const float magnitude = fabsf(v[j]);
                nan = isnan(magnitude) ? 1.0f : nan;
                if (all || magnitude < job.threshold) {
                    largest = fmaxf(largest, magnitude);
                } else {
                    job.tokens.flags[k + j] = 1;  // a NaN too, so that it reaches the output
                }
            }
        });
    }
    largest = device::block_max(largest, scratch);
    nan = device::block_max(nan, scratch);
    const float factor = largest > 0 && isfinite(largest) ? __fdiv_rn(127.0f, largest) : 0.0f;
    const bool usable = isfinite(factor) && nan == 0;
    std::int8_t* codes = job.tokens.codes + row * job.stride;
    for (int from = 0; from < job.stride; from += share.span) {
        if (job.stride > share.span) {
            share.load(x, from, job.stride);
        }
        share.each_run(from, job.stride, [&](const float* v, int k) {
            std::uint32_t words[2] = {0, 0};
#pragma unroll
            for (int j = 0; j < 8; ++j) {
                const bool counts = usable && (all || fabsf(v[j]) < job.threshold);
                const float scaled = counts ? __fmul_rn(v[j], factor) : 0.0f;
                const int code = __float2int_rn(isfinite(scaled) ? scaled : 0.0f);
                words[j / 4] |= (static_cast<std::uint32_t>(code) & 0xffu) << (8 * (j % 4));
            }
            *reinterpret_cast<uint2*>(codes + k) = {words[0], words[1]};
        });
    }
    if (threadIdx.x == 0) {
        job.tokens.scale[row] = nan != 0 ? __int_as_float(0x7fc00000) : largest;
    }
}

template <class X>
void launch_tokens(const TokenJob& job, unsigned rows, cudaStream_t stream) {
    if (job.stride <= Share<1>::span || sizeof(X) == 2) {
        tokens_kernel<X, 1><<<rows, row_threads, 0, stream>>>(job);
    } else if (job.stride <= Share<2>::span) {
        tokens_kernel<X, 2><<<rows, row_threads, 0, stream>>>(job);
    } else if (job.stride <= Share<4>::span) {
        tokens_kernel<X, 4><<<rows, row_threads, 0, stream>>>(job);
    } else {
        tokens_kernel<X, 8><<<rows, row_threads, 0, stream>>>(job);
    }
}

constexpr int scan_threads = 1024;

// One block: the flagged columns in ascending order; clears the flags. A thread takes neighbours.
__global__ void __launch_bounds__(scan_threads) columns_kernel(DeviceTokens tokens, int in) {
    __shared__ int warp_counts[scan_threads / 32];
    const int per_thread = (in + scan_threads - 1) / scan_threads;
    const int begin = static_cast<int>(threadIdx.x) * per_thread, end = min(in, begin + per_thread);
    int mine = 0;
    for (int k = begin; k < end; ++k) {
        mine += tokens.flags[k] != 0 ? 1 : 0;
    }
    const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
    int upto = mine;  // of this warp, this thread included
#pragma unroll
    for (int offset = 1; offset < 32; offset *= 2) {
        const int other = __shfl_up_sync(0xffffffffu, upto, offset);
        upto += lane >= offset ? other : 0;
    }
    if (lane == 31) {
        warp_counts[warp] = upto;
    }
    __syncthreads();
    if (warp == 0) {
        int sum = warp_counts[lane];
#pragma unroll
        for (int offset = 1; offset < 32; offset *= 2) {
            const int other = __shfl_up_sync(0xffffffffu, sum, offset);
            sum += lane >= offset ? other : 0;
        }
        warp_counts[lane] = sum;
    }
    __syncthreads();
    int at = upto - mine + (warp > 0 ? warp_counts[warp - 1] : 0);
    for (int k = begin; mine > 0 && k < end; ++k) {
        if (tokens.flags[k] != 0) {
            tokens.columns[at++] = k;
            tokens.flags[k] = 0;
        }
    }
    if (threadIdx.x == scan_threads - 1) {
        *tokens.count = warp_counts[scan_threads / 32 - 1];
    }
}

__global__ void clear_columns_kernel(DeviceTokens tokens, int stride) {
    for (int i = threadIdx.x; i < *tokens.count; i += blockDim.x) {
        tokens.codes[static_cast<std::int64_t>(blockIdx.x) * stride + tokens.columns[i]] = 0;
    }
}

struct RescaleJob {
    const void* x;
    std::int64_t x_stride;
    int in;
    int stride;  // of codes
    float absmax;
    float threshold;
    DeviceTokens tokens;
};

// One block: every row's absmax becomes the largest of them; NaN where one of them is.
__global__ void __launch_bounds__(row_threads) join_kernel(float* scale, int rows) {
    __shared__ float scratch[row_threads / 32];
    float largest = 0, nan = 0;
    for (int r = static_cast<int>(threadIdx.x); r < rows; r += row_threads) {
        largest = fmaxf(largest, scale[r]);
        nan = isnan(scale[r]) ? 1.0f : nan;
    }
    largest = device::block_max(largest, scratch);
    nan = device::block_max(nan, scratch);
    const float joined = nan != 0 ? __int_as_float(0x7fc00000) : largest;
    for (int r = static_cast<int>(threadIdx.x); r < rows; r += row_threads) {
        scale[r] = joined;
    }
}

// A block a row: codes by the shared absmax (quantize_token_by). A row whose own absmax is not
// finite keeps it, so that the output says so.
template <class X>
__global__ void __launch_bounds__(row_threads) rescale_kernel(RescaleJob job) {
    const std::int64_t row = blockIdx.x;
    const X* x = static_cast<const X*>(job.x) + row * job.x_stride;
    const float own = job.tokens.scale[row];
    const float largest = job.absmax > 0 ? job.absmax : own;
    const bool usable = isfinite(own) && isfinite(largest);
    float factor = largest > 0 && usable ? __fdiv_rn(127.0f, largest) : 0.0f;
    factor = isfinite(factor) ? factor : 0.0f;
    std::int8_t* codes = job.tokens.codes + row * job.stride;
    for (int k = static_cast<int>(threadIdx.x); k < job.in; k += row_threads) {
        const float from = input_at(x, k);
        const bool counts = factor > 0 && (job.threshold <= 0 || fabsf(from) < job.threshold);
        const float v = counts ? __fmul_rn(from, factor) : 0.0f;
        codes[k] = static_cast<std::int8_t>(__float2int_rn(fminf(fmaxf(v, -127.0f), 127.0f)));
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        job.tokens.scale[row] = usable ? largest : __int_as_float(0x7fc00000);
    }
}

}  // namespace

Result<DeviceTokens> reserve_tokens(const DeviceMatrix& m, const DeviceCall& call) {
    const auto rows = static_cast<std::size_t>(call.rows);
    const auto in = static_cast<std::size_t>(m.in_features);
    const std::size_t code_bytes = aligned(rows * static_cast<std::size_t>(m.row_chunks) * 16);
    const std::size_t scale_bytes = aligned(rows * 4);
    const bool zeros = m.zeros != nullptr;
    DeviceTokens tokens;
    std::byte* memory =
        TRY(call.workspace.reserve(slot_tokens, code_bytes + (zeros ? 3 : 1) * scale_bytes));
    tokens.codes = reinterpret_cast<std::int8_t*>(memory);
    tokens.scale = reinterpret_cast<float*>(memory + code_bytes);
    if (zeros) {
        tokens.zeros = reinterpret_cast<std::int32_t*>(memory + code_bytes + scale_bytes);
        tokens.sums = reinterpret_cast<std::int32_t*>(memory + code_bytes + 2 * scale_bytes);
    }
    if (m.threshold > 0) {
        memory = TRY(call.workspace.reserve(slot_columns32, 256 + in * 4));
        tokens.count = reinterpret_cast<std::int32_t*>(memory);
        tokens.columns = reinterpret_cast<std::int32_t*>(memory + 256);
        // Of their own: zero-filled at first, and cleared by whoever reads them.
        memory = TRY(call.workspace.reserve(slot_flags, in));
        tokens.flags = reinterpret_cast<std::uint8_t*>(memory);
    }
    return tokens;
}

cudaError_t list_columns(const DeviceMatrix& m, const DeviceTokens& tokens, cudaStream_t stream) {
    columns_kernel<<<1, scan_threads, 0, stream>>>(tokens, m.in_features);
    return cudaGetLastError();
}

Result<DeviceTokens> quantise_tokens(const DeviceMatrix& m, const DeviceCall& call,
                                     InputType type) {
    const DeviceTokens tokens = TRY(reserve_tokens(m, call));
    const int stride = m.row_chunks * 16;
    const TokenJob job{call.x, input_stride(m.in_features), stride, m.threshold, tokens};
    const auto blocks = static_cast<unsigned>(call.rows);
    const cudaStream_t stream = call.backend.stream();
    if (type == InputType::f32) {
        launch_tokens<float>(job, blocks, stream);
    } else {
        launch_tokens<__half>(job, blocks, stream);
    }
    if (m.threshold > 0) {
        TRY(cuda_status(list_columns(m, tokens, stream), "listing outlier columns"));
        if (call.rows > 1) {
            clear_columns_kernel<<<blocks, row_threads, 0, stream>>>(tokens, stride);
        }
    }
    TRY(cuda_status(cudaGetLastError(), "quantising activations"));
    return tokens;
}

Status rescale_tokens(const DeviceMatrix& m, const DeviceCall& call, InputType type, float absmax,
                      const DeviceTokens& tokens) {
    const cudaStream_t stream = call.backend.stream();
    const auto blocks = static_cast<unsigned>(call.rows);
    if (absmax <= 0) {
        join_kernel<<<1, row_threads, 0, stream>>>(tokens.scale, static_cast<int>(call.rows));
    }
    const RescaleJob job{
        call.x, input_stride(m.in_features), m.in_features, m.row_chunks * 16, absmax, m.threshold,
        tokens};
    if (type == InputType::f32) {
        rescale_kernel<float><<<blocks, row_threads, 0, stream>>>(job);
    } else {
        rescale_kernel<__half><<<blocks, row_threads, 0, stream>>>(job);
    }
    if (m.threshold > 0 && call.rows > 1) {
        clear_columns_kernel<<<blocks, row_threads, 0, stream>>>(tokens, job.stride);
    }
    return cuda_status(cudaGetLastError(), "quantising activations by one scale");
}

}  // namespace bitsweep::quant
