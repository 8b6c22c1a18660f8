// Row by row: norms, activations, positions, the choice of a token.
//
// Ladder (NVIDIA H200, 2,048 rows of Llama-3.1-8B, us; the bytes alone take 11.2 and 65):
//   1  a norm reads its row three times, an activation is a thread an output   norm 28.6, gate 106
//   2  the row stays in registers, four outputs a thread (predicted 15, 75)    norm 16.0, gate 69
// Ladder of a norm of 32 rows of 2,048 (NVIDIA H200, cold caches, us):
//   2  as above                                                                                4.2
//   3  up to 128 rows: a load of 16 bytes a thread, weights under way beside the row, the root in
//      float32 (predicted 2.5) -> not resolved: 4.4 queued by the host, which needs 4.2 for a gate
//   4  norms and gates placed before the product ahead is done, weights of few rows on their way
//      meanwhile (predicted, of a step of a replayed graph: 0.7 less each)
//   Step of 32 sequences of Llama-3.2-1B with all of it, argmax 2, decode_attention.cu 3 and
//   products chosen with cold caches (gemm.cpp): 1,346 -> 1,131 (predicted 1,025 to 1,050)
// Ladder of argmax (NVIDIA H200, 32 rows of 128,256 logits, cold caches, us; 3.7 the bytes alone):
//   1  a block of 1,024 threads a row, a logit at a time                                      62.6
//   2  a block 4,096 logits, 64 bytes of a thread in flight, rows joined by one atomic
//      (predicted 6)                                                                         7.8
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <type_traits>

#include "worker/inference/backend/cuda/warp.cuh"
#include "worker/inference/models/cuda/device_ops.h"
#include "worker/inference/models/cuda/follow.cuh"
#include "worker/inference/models/cuda/typed_store.cuh"

namespace bitsweep::device {
namespace {

constexpr int threads = 256;

unsigned blocks_for(std::int64_t work) {
    return static_cast<unsigned>((work + threads - 1) / threads);
}

__global__ void position_ids_kernel(const std::int32_t* position, std::int64_t tokens,
                                    std::int64_t offset, std::int64_t rows, std::int32_t* ids) {
    const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x;
    if (row < rows) {
        ids[row] = static_cast<std::int32_t>(*position + row % tokens + offset);
    }
}

__global__ void add_kernel(float* x, const float* y, std::int64_t count) {
    const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x;
    if (at < count) {
        x[at] += y[at];
    }
}

// `scratch` of its own for every sum of a kernel.
template <int block>
__device__ __forceinline__ float block_sum(float value, float (&scratch)[block / 32]) {
    value = sum_over_warp(value);
    if (threadIdx.x % 32 == 0) {
        scratch[threadIdx.x / 32] = value;
    }
    __syncthreads();
    float total = 0;
#pragma unroll
    for (int i = 0; i < block / 32; ++i) {
        total += scratch[i];
    }
    return total;
}

// What a thread takes of a row at once: four neighbours, or one where the width is no multiple.
template <int run>
struct Run {
    alignas(4 * run) float v[run];

    __device__ __forceinline__ static Run load(const float* from) {
        Run r;
        if constexpr (run == 4) {
            *reinterpret_cast<float4*>(r.v) = *reinterpret_cast<const float4*>(from);
        } else {
            r.v[0] = *from;
        }
        return r;
    }
};

// Rows that a card takes at once: the time of each is what counts, not how many fit beside it.
constexpr std::int64_t few_norm_rows = 128;

// A block a row; the variance from differences to the mean, as on the CPU. A thread keeps `held`
// runs of its row in registers, what is beyond them is read again; with `ahead` their weights too,
// on their way before the sums are known.
template <int run, int block, int held, bool ahead>
__global__ void __launch_bounds__(block) norm_kernel(NormCall call) {
    __shared__ float sums[block / 32], squares_of[block / 32];
    constexpr int step = run * block;
    const std::int64_t row = blockIdx.x;
    const float* x = call.x + row * call.width;
    const bool layer = call.kind == Norm::Kind::layer, weighted = call.weight != nullptr;
    const auto width = static_cast<float>(call.width);
    const int begin = run * static_cast<int>(threadIdx.x), end = static_cast<int>(call.width);
    const auto load = [&](const float* from, int k, bool wanted) {
        return wanted && k < end ? Run<run>::load(from + k) : Run<run>{};
    };
    const auto weight_at = [&](int k) { return load(call.weight, k, weighted); };
    const auto bias_at = [&](int k) {
        return load(call.weight + call.width, k, weighted && layer);
    };
    constexpr int early = ahead ? held : 1;
    Run<run> kept[held], weights[early] = {}, biases[early] = {};
    if constexpr (ahead) {
#pragma unroll
        for (int i = 0; i < held; ++i) {
            weights[i] = weight_at(begin + i * step), biases[i] = bias_at(begin + i * step);
        }
    }
    wait_for_previous();
#pragma unroll
    for (int i = 0; i < held; ++i) {
        kept[i] = load(x, begin + i * step, true);
    }
    const auto each = [&](const auto& take) {
#pragma unroll
        for (int i = 0; i < held; ++i) {
            if (begin + i * step < end) {
                take(kept[i], begin + i * step, i);
            }
        }
        for (int k = begin + held * step; k < end; k += step) {
            take(Run<run>::load(x + k), k, held);
        }
    };
    float mean = 0;
    if (layer) {
        float sum = 0;
        each([&](const Run<run>& r, int, int) {
#pragma unroll
            for (int j = 0; j < run; ++j) {
                sum += r.v[j];
            }
        });
        mean = block_sum<block>(sum, sums) / width;
    }
    float squares = 0;
    each([&](const Run<run>& r, int, int) {
#pragma unroll
        for (int j = 0; j < run; ++j) {
            const float centred = r.v[j] - mean;
            squares = fmaf(centred, centred, squares);
        }
    });
    squares = block_sum<block>(squares, squares_of) / width;
    const float scale = __frcp_rn(__fsqrt_rn(squares + static_cast<float>(call.eps)));
    each([&](Run<run> r, int k, int i) {
        const bool here = ahead && i < held;
        const Run<run> weight = here ? weights[i % early] : weight_at(k);
        const Run<run> bias = here ? biases[i % early] : bias_at(k);
#pragma unroll
        for (int j = 0; j < run; ++j) {
            float& v = r.v[j];
            v = (v - mean) * scale;
            if (weighted) {
                v = layer ? fmaf(v, weight.v[j], bias.v[j]) : v * weight.v[j];
            }
        }
        if (call.typed.data != nullptr) {
            store_run(call.typed, row, k, r.v);
        }
        if (call.same != nullptr) {
            store_run({call.same, call.width, InputType::f32}, row, k, r.v);
        }
    });
}

template <int run>
cudaError_t queue_norm(const NormCall& call, cudaStream_t stream) {
    const auto rows = static_cast<unsigned>(call.rows);
    if (call.rows > few_norm_rows) {
        return launch_behind<norm_kernel<run, threads, 4, false>>(call.follow, rows, threads,
                                                                  stream, call);
    }
    if (call.width <= run * 256) {
        return launch_behind<norm_kernel<run, 256, 1, true>>(call.follow, rows, 256, stream, call);
    }
    if (call.width <= run * 512) {
        return launch_behind<norm_kernel<run, 512, 1, true>>(call.follow, rows, 512, stream, call);
    }
    return launch_behind<norm_kernel<run, 1024, 2, true>>(call.follow, rows, 1024, stream, call);
}

__global__ void convert_kernel(const float* x, std::int64_t rows, std::int64_t width, Rows to) {
    const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x;
    if (at < rows * width) {
        store_typed(to, at / width, at % width, x[at]);
    }
}

__device__ __forceinline__ float activated(Activation activation, float v) {
    switch (activation) {
        case Activation::gelu_tanh:
            return 0.5f * v * (1.0f + tanhf(0.7978845608028654f * (v + 0.044715f * v * v * v)));
        case Activation::gelu_erf:
            return 0.5f * v * (1.0f + erff(v * 0.7071067811865476f));
        case Activation::relu:
            return v > 0 ? v : (isnan(v) ? v : 0.0f);
        case Activation::silu:
            break;
    }
    return v / (1.0f + expf(-v));
}

__global__ void activate_kernel(Activation activation, const float* y, std::int64_t width,
                                Rows to) {
    const std::int64_t k = static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x;
    const std::int64_t row = blockIdx.y;
    if (k < width) {
        store_typed(to, row, k, activated(activation, y[row * width + k]));
    }
}

// A thread `run` outputs.
template <int run>
__global__ void gate_kernel(Activation activation, const float* y, bool paired, std::int64_t width,
                            Rows to) {
    const std::int64_t k =
        run * (static_cast<std::int64_t>(blockIdx.x) * threads + static_cast<int>(threadIdx.x));
    const std::int64_t row = blockIdx.y;
    wait_for_previous();
    if (k >= width) {
        return;
    }
    y += row * 2 * width;
    // Pairs (gate, up), or the gates and then the ups of the same outputs.
    const auto first = Run<run>::load(y + (paired ? 2 * k : k));
    const auto second = Run<run>::load(y + (paired ? 2 * k + run : width + k));
    alignas(4 * run) float out[run];
#pragma unroll
    for (int j = 0; j < run; ++j) {
        const auto of_both = [&](int i) { return i < run ? first.v[i % run] : second.v[i % run]; };
        const float gate = paired ? of_both(2 * j) : first.v[j];
        const float up = paired ? of_both(2 * j + 1) : second.v[j];
        out[j] = activated(activation, gate) * up;
    }
    store_run(to, row, k, out);
}

__global__ void last_rows_kernel(const float* x, std::int64_t tokens, std::int64_t width,
                                 float* y) {
    const std::int64_t from = (static_cast<std::int64_t>(blockIdx.x) + 1) * tokens - 1;
    for (std::int64_t k = threadIdx.x; k < width; k += threads) {
        y[blockIdx.x * width + k] = x[from * width + k];
    }
}

__global__ void advance_kernel(std::int32_t* position, std::int32_t* ids,
                               const std::int32_t* chosen, std::int64_t rows) {
    const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x;
    if (at < rows) {
        ids[at] = chosen[at];
    }
    if (at == 0) {
        ++*position;
    }
}

// Runs of logits that a thread has in flight at once, all that it looks at.
constexpr int argmax_runs = 4;

constexpr int no_index = 0x7fffffff;

struct Candidate {
    float value;
    int index;

    __device__ __forceinline__ void meet(float v, int i) {
        if (v > value || (v == value && i < index)) {
            value = v, index = i;
        }
    }
};

__device__ __forceinline__ Candidate best_of_warp(Candidate mine) {
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
        mine.meet(__shfl_xor_sync(0xffffffffu, mine.value, offset),
                  __shfl_xor_sync(0xffffffffu, mine.index, offset));
    }
    return mine;
}

// Larger for a better candidate, 0 for none: floats in the order of unsigned integers, then the
// smaller index. Both zeros are the same value.
__device__ __forceinline__ unsigned long long rank_of(const Candidate& c) {
    if (c.index == no_index) {
        return 0;
    }
    const unsigned bits = __float_as_uint(c.value == 0 ? 0.0f : c.value);
    const unsigned ordered = (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
    return static_cast<unsigned long long>(ordered) << 32 | ~static_cast<unsigned>(c.index);
}

// A block `argmax_runs * run * threads` logits of row blockIdx.y; the last block of a row writes.
template <int run>
__global__ void __launch_bounds__(threads)
    argmax_kernel(const float* logits, std::int64_t vocabulary, ArgmaxState* states,
                  std::int32_t* ids, std::int32_t* not_finite) {
    __shared__ Candidate of_warps[threads / 32];
    constexpr int step = run * threads;
    const float* row = logits + blockIdx.y * vocabulary;
    const int end = static_cast<int>(vocabulary);
    const int begin =
        static_cast<int>(blockIdx.x) * argmax_runs * step + run * static_cast<int>(threadIdx.x);
    Run<run> held[argmax_runs];
#pragma unroll
    for (int i = 0; i < argmax_runs; ++i) {
        held[i] = begin + i * step < end ? Run<run>::load(row + begin + i * step) : Run<run>{};
    }
    Candidate best{-INFINITY, no_index};
    bool finite = true;
#pragma unroll
    for (int i = 0; i < argmax_runs; ++i) {
#pragma unroll
        for (int j = 0; j < run; ++j) {
            if (begin + i * step < end) {
                finite = finite && isfinite(held[i].v[j]);
                best.meet(held[i].v[j], begin + i * step + j);
            }
        }
    }
    if (!finite) {
        *not_finite = 1;
    }
    best = best_of_warp(best);
    if (threadIdx.x % 32 == 0) {
        of_warps[threadIdx.x / 32] = best;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int w = 1; w < threads / 32; ++w) {
            best.meet(of_warps[w].value, of_warps[w].index);
        }
        ArgmaxState& state = states[blockIdx.y];
        atomicMax(&state.best, rank_of(best));
        __threadfence();
        if (atomicInc(&state.arrived, gridDim.x - 1) == gridDim.x - 1) {
            const unsigned long long rank = atomicExch(&state.best, 0ull);
            ids[blockIdx.y] =
                rank == 0 ? 0 : static_cast<std::int32_t>(~static_cast<unsigned>(rank));
        }
    }
}

bool runs_of_four(std::int64_t width, const Rows& to) {
    return width % 4 == 0 && to.stride % 4 == 0;
}

}  // namespace

cudaError_t position_ids(const Stretch& stretch, std::int64_t offset, std::int32_t* ids,
                         cudaStream_t stream) {
    position_ids_kernel<<<blocks_for(stretch.rows()), threads, 0, stream>>>(
        stretch.position, stretch.tokens, offset, stretch.rows(), ids);
    return cudaGetLastError();
}

cudaError_t add(float* x, const float* y, std::int64_t count, cudaStream_t stream) {
    add_kernel<<<blocks_for(count), threads, 0, stream>>>(x, y, count);
    return cudaGetLastError();
}

cudaError_t norm(const NormCall& call, cudaStream_t stream) {
    return runs_of_four(call.width, call.typed) ? queue_norm<4>(call, stream)
                                                : queue_norm<1>(call, stream);
}

cudaError_t convert(const float* x, std::int64_t rows, std::int64_t width, const Rows& to,
                    cudaStream_t stream) {
    convert_kernel<<<blocks_for(rows * width), threads, 0, stream>>>(x, rows, width, to);
    return cudaGetLastError();
}

cudaError_t activate(Activation activation, const float* y, std::int64_t rows, std::int64_t width,
                     const Rows& to, cudaStream_t stream) {
    const dim3 grid(blocks_for(width), static_cast<unsigned>(rows));
    activate_kernel<<<grid, threads, 0, stream>>>(activation, y, width, to);
    return cudaGetLastError();
}

cudaError_t gate(Activation activation, const float* y, bool paired, std::int64_t rows,
                 std::int64_t width, const Rows& to, cudaStream_t stream, Follow follow) {
    const int run = runs_of_four(width, to) ? 4 : 1;
    const dim3 grid(blocks_for(width / run), static_cast<unsigned>(rows));
    return run == 4 ? launch_behind<gate_kernel<4>>(follow, grid, threads, stream, activation, y,
                                                    paired, width, to)
                    : launch_behind<gate_kernel<1>>(follow, grid, threads, stream, activation, y,
                                                    paired, width, to);
}

cudaError_t last_rows(const float* x, const Stretch& stretch, std::int64_t width, float* y,
                      cudaStream_t stream) {
    last_rows_kernel<<<static_cast<unsigned>(stretch.sequences), threads, 0, stream>>>(
        x, stretch.tokens, width, y);
    return cudaGetLastError();
}

cudaError_t argmax(const float* logits, std::int64_t rows, std::int64_t vocabulary,
                   ArgmaxState* states, std::int32_t* ids, std::int32_t* not_finite,
                   cudaStream_t stream) {
    const int run = vocabulary % 4 == 0 ? 4 : 1;
    const dim3 grid(blocks_for((vocabulary + argmax_runs * run - 1) / (argmax_runs * run)),
                    static_cast<unsigned>(rows));
    const auto kernel = run == 4 ? argmax_kernel<4> : argmax_kernel<1>;
    kernel<<<grid, threads, 0, stream>>>(logits, vocabulary, states, ids, not_finite);
    return cudaGetLastError();
}

cudaError_t advance(std::int32_t* position, std::int32_t* ids, const std::int32_t* chosen,
                    std::int64_t rows, cudaStream_t stream) {
    advance_kernel<<<blocks_for(rows), threads, 0, stream>>>(position, ids, chosen, rows);
    return cudaGetLastError();
}

}  // namespace bitsweep::device
