#include "worker/inference/quant/llmint8/zero_points_cuda.h"

#include <vector>

#include "worker/inference/backend/cuda/cuda_error.h"
#include "worker/inference/backend/cuda/warp.cuh"
#include "worker/inference/quant/shared/int8_math.cuh"
#include "worker/inference/quant/shared/int8_pack.cuh"

namespace bitsweep::quant {
namespace {

using device::row_threads;

// Range of scales.h; `broken` is 1 where something that counts is not finite.
struct RowRange {
    float least, most, broken;
};

__device__ __forceinline__ RowRange joined_over_block(RowRange mine, float* scratch) {
    return {-device::block_max(-mine.least, scratch), device::block_max(mine.most, scratch),
            device::block_max(mine.broken, scratch)};
}

// zero_point of scales.h; a range that is broken has none.
__device__ __forceinline__ ZeroPoint zero_point_of(const RowRange& range) {
    ZeroPoint point;
    if (range.broken != 0) {
        return point;
    }
    point.half_range = __fsub_rn(__fmul_rn(range.most, 0.5f), __fmul_rn(range.least, 0.5f));
    if (point.half_range > 0) {
        const double step = static_cast<double>(point.half_range) / 127.0;
        point.zero = __double2int_rn(static_cast<double>(range.least) / step) + 127;
    }
    return point;
}

// codes_by_zero_point of scales.h.
__device__ __forceinline__ int code_by(const ZeroPoint& point, double factor, float x) {
    const double scaled = isfinite(x) ? static_cast<double>(x) * factor : 0.0;
    return static_cast<int>(fmin(fmax(rint(scaled) - point.zero, -127.0), 127.0));
}

__device__ __forceinline__ double factor_of(const ZeroPoint& point) {
    return point.half_range > 0 ? 127.0 / static_cast<double>(point.half_range) : 0.0;
}

// The block's sum in thread 0.
__device__ __forceinline__ int sum_over_block(int value, int* scratch) {
    value = device::sum_over_warp(value);
    if (threadIdx.x % 32 == 0) {
        scratch[threadIdx.x / 32] = value;
    }
    __syncthreads();
    int sum = 0;
    for (int i = 0; threadIdx.x == 0 && i < row_threads / 32; ++i) {
        sum += scratch[i];
    }
    return sum;
}

// Half ranges, zeros and sums of codes of a matrix's rows.
struct WeightZeros {
    float* half_ranges;
    std::int32_t* zeros;
    std::int32_t* sums;
};

WeightZeros weight_zeros(const DeviceBody& body) {
    const std::int64_t rows = body.matrix.rows;
    auto* zeros = body.scales->as<std::int32_t>() + rows;
    return {body.scales->as<float>(), zeros, zeros + rows};
}

// A block a row of the chunk.
__global__ void __launch_bounds__(row_threads)
    weight_kernel(PackChunk chunk, WeightZeros to, bool by_tensor) {
    __shared__ float scratch[row_threads / 32];
    __shared__ int int_scratch[row_threads / 32];
    const std::int64_t row = chunk.first_row + blockIdx.x;
    const float* values = chunk.values + blockIdx.x * chunk.in;
    ZeroPoint point;
    if (by_tensor) {
        point = {to.half_ranges[row], to.zeros[row]};
    } else {
        RowRange range{0, 0, 0};
        for (std::int64_t k = threadIdx.x; k < chunk.in; k += row_threads) {
            range.least = fminf(range.least, values[k]);
            range.most = fmaxf(range.most, values[k]);
        }
        point = zero_point_of(joined_over_block(range, scratch));
    }
    const double factor = factor_of(point);
    int sum = 0;
    for (std::int64_t k = threadIdx.x; k < chunk.in; k += row_threads) {
        const int code = code_by(point, factor, values[k]);
        chunk.codes[blockIdx.x * chunk.in + k] =
            static_cast<std::uint8_t>(static_cast<std::int8_t>(code));
        sum += code;
    }
    sum = sum_over_block(sum, int_scratch);
    if (threadIdx.x == 0) {
        to.half_ranges[row] = point.half_range;
        to.zeros[row] = point.zero;
        to.sums[row] = sum;
    }
}

cudaError_t quantise_weights(const PackChunk& chunk, const DeviceBody& body, bool by_tensor) {
    weight_kernel<<<static_cast<unsigned>(chunk.rows), row_threads, 0, chunk.stream>>>(
        chunk, weight_zeros(body), by_tensor);
    return cudaGetLastError();
}

struct TokenJob {
    const __half* x;
    std::int64_t x_stride;
    int in;
    int stride;  // of codes
    float threshold;
    RowRange* ranges;  // [rows]
    DeviceTokens tokens;
};

// A block a row: the range of what the threshold leaves, and flags of what it does not.
__global__ void __launch_bounds__(row_threads) range_kernel(TokenJob job) {
    __shared__ float scratch[row_threads / 32];
    const __half* x = job.x + blockIdx.x * job.x_stride;
    RowRange range{0, 0, 0};
    for (int k = static_cast<int>(threadIdx.x); k < job.in; k += row_threads) {
        const float v = input_at(x, k);
        if (job.threshold <= 0 || fabsf(v) < job.threshold) {
            range.least = fminf(range.least, v);
            range.most = fmaxf(range.most, v);
            range.broken = isfinite(v) ? range.broken : 1.0f;
        } else {
            job.tokens.flags[k] = 1;  // a NaN too, so that it reaches the output
        }
    }
    range = joined_over_block(range, scratch);
    if (threadIdx.x == 0) {
        job.ranges[blockIdx.x] = range;
    }
}

// One block: every row's range becomes that of all of them.
__global__ void __launch_bounds__(row_threads) join_kernel(RowRange* ranges, int rows) {
    __shared__ float scratch[row_threads / 32];
    RowRange all{0, 0, 0};
    for (int r = static_cast<int>(threadIdx.x); r < rows; r += row_threads) {
        all.least = fminf(all.least, ranges[r].least);
        all.most = fmaxf(all.most, ranges[r].most);
        all.broken = fmaxf(all.broken, ranges[r].broken);
    }
    all = joined_over_block(all, scratch);
    for (int r = static_cast<int>(threadIdx.x); r < rows; r += row_threads) {
        ranges[r] = all;
    }
}

// A block a row: codes, those of outlier columns meaning 0, and their sum.
__global__ void __launch_bounds__(row_threads) codes_kernel(TokenJob job) {
    __shared__ int scratch[row_threads / 32];
    const std::int64_t row = blockIdx.x;
    const RowRange range = job.ranges[row];
    const ZeroPoint point = zero_point_of(range);
    const double factor = factor_of(point);
    const __half* x = job.x + row * job.x_stride;
    std::int8_t* codes = job.tokens.codes + row * job.stride;
    for (int k = static_cast<int>(threadIdx.x); k < job.stride; k += row_threads) {
        codes[k] =
            static_cast<std::int8_t>(k < job.in ? code_by(point, factor, input_at(x, k)) : 0);
    }
    __syncthreads();
    const int columns = job.threshold > 0 ? *job.tokens.count : 0;
    for (int i = static_cast<int>(threadIdx.x); i < columns; i += row_threads) {
        codes[job.tokens.columns[i]] = static_cast<std::int8_t>(-point.zero);
    }
    __syncthreads();
    int sum = 0;
    for (int k = static_cast<int>(threadIdx.x); k < job.in; k += row_threads) {
        sum += codes[k];
    }
    sum = sum_over_block(sum, scratch);
    if (threadIdx.x == 0) {
        job.tokens.scale[row] = range.broken != 0 ? __int_as_float(0x7fc00000) : point.half_range;
        job.tokens.zeros[row] = point.zero;
        job.tokens.sums[row] = sum;
    }
}

}  // namespace

cudaError_t zero_points_by_channel(const PackChunk& chunk, const DeviceBody& body) {
    return quantise_weights(chunk, body, false);
}

cudaError_t zero_points_by_tensor(const PackChunk& chunk, const DeviceBody& body) {
    return quantise_weights(chunk, body, true);
}

Status write_tensor_zero_point(const Range& range, DeviceBody& body) {
    const ZeroPoint point = zero_point(range.least, range.most);
    const auto rows = static_cast<std::size_t>(body.matrix.rows);
    const std::vector<float> half_ranges(rows, point.half_range);
    const std::vector<std::int32_t> zeros(rows, point.zero);
    TRY(body.backend->copy_to_device(*body.scales, 0, half_ranges.data(), rows * 4));
    return body.backend->copy_to_device(*body.scales, rows * 4, zeros.data(), rows * 4);
}

Result<DeviceTokens> quantise_tokens_by_zero_points(const DeviceMatrix& m, const DeviceCall& call,
                                                    InputScope scope) {
    const DeviceTokens tokens = TRY(reserve_tokens(m, call));
    std::byte* ranges = TRY(call.workspace.reserve(
        slot_ranges, static_cast<std::size_t>(call.rows) * sizeof(RowRange)));
    const TokenJob job{static_cast<const __half*>(call.x),
                       input_stride(m.in_features),
                       m.in_features,
                       m.row_chunks * 16,
                       m.threshold,
                       reinterpret_cast<RowRange*>(ranges),
                       tokens};
    const auto blocks = static_cast<unsigned>(call.rows);
    const cudaStream_t stream = call.backend.stream();
    range_kernel<<<blocks, row_threads, 0, stream>>>(job);
    if (scope == InputScope::tensor && call.rows > 1) {
        join_kernel<<<1, row_threads, 0, stream>>>(job.ranges, static_cast<int>(call.rows));
    }
    if (m.threshold > 0) {
        TRY(cuda_status(list_columns(m, tokens, stream), "listing outlier columns"));
    }
    codes_kernel<<<blocks, row_threads, 0, stream>>>(job);
    TRY(cuda_status(cudaGetLastError(), "quantising activations by zero points"));
    return tokens;
}

}  // namespace bitsweep::quant
