// The product for 9 to 64 activation rows on Hopper: a block takes 128 outputs and shares one copy
// of the activations, a cluster of blocks shares the inputs of those outputs.
//
// Weights and activations arrive in stages of 128 inputs, several on their way. Which input an
// element of a fragment stands for is free as long as both operands agree: lane (g, t) takes step t
// of its rows, so that every weight arrives in its own 16-byte chunk and no shuffle is needed. The
// blocks of a cluster add their sums in the order of their ranks, so results do not depend on time.
//
// Version ladder (prediction -> measured; NVIDIA H200, 32 rows, us for 16384 x 2048 / 28672 x 4096
// / 128256 x 2048 at 8 bits, at 4 bits in groups of 64):
//   1  some_rows.cuh: 16 or 32 outputs a block, every block reads all activations through the
//      second-level cache, four times the bytes of 8-bit weights and eight times those of 4-bit
//      ones
//      -> 40 / 122 / 337, 45 / 133 / 349
//   2  this, activations once for 128 outputs (predicted 12 / 35 / 75) -> 22 / 94 / 121,
//      29 / 110 / 148. Below 8,192 outputs a cluster's start and its two barriers cost more than
//      they save (2048 x 2048: 14 instead of 8): left to version 1. fp16 was 28 where cuBLASLt is
//      21: left to it. Planes of 3 and 7 bits gained 20 % and nothing: left to version 1
#pragma once

#include <cooperative_groups.h>

#include <algorithm>
#include <type_traits>

#include "worker/inference/quant/shared/few_rows.cuh"
#include "worker/inference/quant/shared/mma.cuh"

namespace bitsweep::device::hopper {

inline constexpr int warps = 8;
inline constexpr int threads = 32 * warps;
inline constexpr int outputs = 16 * warps;  // of a block
inline constexpr int inputs = 128;          // of a stage
inline constexpr int x_slots = inputs / 8;  // 16-byte slots of an activation row in a stage
inline constexpr int most_splits = 8;       // blocks of a cluster

template <class Weights>
inline constexpr int spans = inputs / (4 * Weights::step);  // steps of a lane and row in a stage

template <class Weights, int columns>
struct Layout {
    static constexpr int weights = threads * 2 * spans<Weights> * 16;
    static constexpr int stage = weights + columns * inputs * 2;
    // Two blocks a multiprocessor where two stages of each leave room, else one.
    static constexpr int room = stage <= 32 * 1024 ? 100 * 1024 : 200 * 1024;
    static constexpr int stages = std::min(room / stage, 8);
    static constexpr int sums = outputs * (columns + 1) * 4;
    static constexpr int bytes = std::max(stages * stage, sums);
};

// 16 bytes, or zeros where there are none.
__device__ __forceinline__ void copy_async(void* to, const void* from, bool real) {
    const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(to));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from),
                 "r"(real ? 16 : 0)
                 : "memory");
}

// Where slot `slot` of activation row `row` lies: the eight lanes that read together, two rows and
// four steps, meet eight different banks of 16 bytes.
__device__ __forceinline__ int x_at(int row, int slot) {
    return row * x_slots + (slot ^ (slot >> 2 & 3) ^ (row & 1));
}

// Eight weights times `scale` as four pairs of halves; only what is served has one.
template <class Weights>
struct Pairs;

__device__ __forceinline__ std::uint32_t scaled(std::uint32_t pair, std::uint32_t minus,
                                                __half2 scale) {
    const __half2 code = __hsub2(*reinterpret_cast<const __half2*>(&pair),
                                 *reinterpret_cast<const __half2*>(&minus));
    const __half2 value = __hmul2(code, scale);
    return *reinterpret_cast<const std::uint32_t*>(&value);
}

// A byte below 1,024 + 256 is exact in half's upper byte 0x64: code + 128 becomes 1,152 + code.
template <>
struct Pairs<Unpack<Codes::i8>> {
    __device__ static void of(const DeviceMatrix&, const uint4& raw, std::int64_t, int, int s,
                              float scale, std::uint32_t* to) {
        const __half2 both = __float2half2_rn(scale);
#pragma unroll
        for (int p = 0; p < 4; ++p) {
            const std::uint32_t word = word_of(raw, 2 * s + p / 2) ^ 0x80808080u;
            const std::uint32_t pair = __byte_perm(word, 0x64646464u, p % 2 == 0 ? 0x4140 : 0x4342);
            to[p] = scaled(pair, 0x64806480u, both);
        }
    }
};

// Nibbles i and i + 4 of a word are neighbours (decode/chunks.cuh); code + 8 becomes 1,024 + it.
template <>
struct Pairs<Unpack<Codes::i4_group>> {
    __device__ static void of(const DeviceMatrix&, const uint4& raw, std::int64_t, int, int s,
                              float scale, std::uint32_t* to) {
        const __half2 both = __float2half2_rn(scale);
        const std::uint32_t word = word_of(raw, s);
#pragma unroll
        for (int p = 0; p < 4; ++p) {
            to[p] = scaled((word >> (4 * p) & 0x000f000fu) | 0x64006400u, 0x64086408u, both);
        }
    }
};

// The code book lies a value a lane; every lane of the warp asks at the same time.
template <>
struct Pairs<Unpack<Codes::lut4>> {
    __device__ static void of(const DeviceMatrix& m, const uint4& raw, std::int64_t, int, int s,
                              float scale, std::uint32_t* to) {
        const float book = __ldg(m.code_book + threadIdx.x % 16);
        const std::uint32_t word = word_of(raw, s);
#pragma unroll
        for (int p = 0; p < 4; ++p) {
            const float low = __shfl_sync(0xffffffffu, book, word >> (8 * p) & 15u);
            const float high = __shfl_sync(0xffffffffu, book, word >> (8 * p + 4) & 15u);
            to[p] = pack_halves(low * scale, high * scale);
        }
    }
};

template <class Weights>
struct Pairs<InGroups<Weights>> {
    __device__ static void of(const DeviceMatrix& m, const typename Weights::Raw& raw,
                              std::int64_t row, int k, int s, float scale, std::uint32_t* to) {
        if (m.zeros == nullptr) {
            Pairs<Weights>::of(m, raw, row, k, s, scale, to);
            return;
        }
        float w[8];
        InGroups<Weights>::eight(m, raw, row, k, s, w);
#pragma unroll
        for (int p = 0; p < 4; ++p) {
            to[p] = pack_halves(w[2 * p] * scale, w[2 * p + 1] * scale);
        }
    }
};

// The ring of stages: what a thread asks for and where it finds it.
template <class Weights, int columns>
struct Ring {
    using Raw = typename Weights::Raw;
    using Place = Layout<Weights, columns>;
    const DeviceMatrix& m;
    const FewRows& call;
    std::uint8_t* memory;
    std::int64_t first_output;

    __device__ std::int64_t row(int half) const {
        const int lane = static_cast<int>(threadIdx.x) % 32;
        return first_output + static_cast<int>(threadIdx.x) / 32 * 16 + 8 * half + lane / 4;
    }
    __device__ std::uint8_t* weights_at(int slot, int half, int span) const {
        return memory + slot * Place::stage +
               ((half * spans<Weights> + span) * threads + static_cast<int>(threadIdx.x)) * 16;
    }
    __device__ uint4* x(int slot) const {
        return reinterpret_cast<uint4*>(memory + slot * Place::stage + Place::weights);
    }

    // Inputs [128 tile, 128 tile + 128) into a slot; none where the tile does not exist.
    __device__ __forceinline__ void ask(int tile, int end, int slot) const {
        if (tile < end) {
            const int t = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
            for (int half = 0; half < 2; ++half) {
#pragma unroll
                for (int span = 0; span < spans<Weights>; ++span) {
                    const int step = (tile * spans<Weights> + span) * 4 + t;
                    const bool real = row(half) < m.rows && step * Weights::step < m.in_features;
                    copy_async(weights_at(slot, half, span),
                               row_of(m, real ? row(half) : 0) + (real ? step : 0), real);
                }
            }
#pragma unroll
            for (int i = static_cast<int>(threadIdx.x); i < columns * x_slots; i += threads) {
                const int r = i / x_slots, s = i % x_slots, k = tile * inputs + 8 * s;
                const bool real = r < call.rows && k < m.in_features;
                copy_async(x(slot) + x_at(r, s),
                           static_cast<const __half*>(call.x) +
                               (real ? r * call.x_stride + k : std::int64_t{0}),
                           real);
            }
        }
        asm volatile("cp.async.commit_group;" ::: "memory");
    }
};

// Scales of a lane's rows for a stage: of each half of a step, as groups have at least 16 weights.
template <class Weights>
struct StageScales {
    float value[2][spans<Weights>][2];

    __device__ __forceinline__ void load(const DeviceMatrix& m, const std::int64_t* row, int tile) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
#pragma unroll
            for (int span = 0; span < spans<Weights>; ++span) {
                const int t = static_cast<int>(threadIdx.x) % 4;
                const int k = ((tile * spans<Weights> + span) * 4 + t) * Weights::step;
                const std::int64_t at = min(row[half], m.rows - 1);
                const int last = m.in_features - 1;
                value[half][span][0] = Weights::scale(m, at, min(k, last));
                value[half][span][1] = Weights::step > 16 && m.group == 16
                                           ? Weights::scale(m, at, min(k + 16, last))
                                           : value[half][span][0];
            }
        }
    }
};

template <class Weights, int columns>
__device__ __forceinline__ void multiply_stage(const DeviceMatrix& m,
                                               const Ring<Weights, columns>& ring, int slot,
                                               int tile, const std::int64_t* row,
                                               const StageScales<Weights>& scales,
                                               float (*sum)[4]) {
    using Raw = typename Weights::Raw;
    const int lane = static_cast<int>(threadIdx.x) % 32, g = lane / 4, t = lane % 4;
#pragma unroll
    for (int span = 0; span < spans<Weights>; ++span) {
        Raw raw[2];
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            raw[half] = *reinterpret_cast<const Raw*>(ring.weights_at(slot, half, span));
        }
#pragma unroll
        for (int s = 0; s < Weights::step / 8; ++s) {
            const int x_slot = (span * 4 + t) * (Weights::step / 8) + s;
            const int k = tile * inputs + 8 * x_slot;
            std::uint32_t a[2][4], pairs[4];
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                Pairs<Weights>::of(m, raw[half], min(row[half], m.rows - 1),
                                   min(k, m.in_features - 1), s,
                                   scales.value[half][span][s >= 2 ? 1 : 0], pairs);
                a[0][half] = pairs[0], a[0][2 + half] = pairs[1];
                a[1][half] = pairs[2], a[1][2 + half] = pairs[3];
            }
#pragma unroll
            for (int n = 0; n < columns / 8; ++n) {
                const uint4 b = ring.x(slot)[x_at(8 * n + g, x_slot)];
                multiply_tile(sum[n], a[0], b.x, b.y);
                multiply_tile(sum[n], a[1], b.z, b.w);
            }
        }
    }
}

// Adds the cluster's sums in the order of ranks and stores this block's share of the outputs.
template <int columns>
__device__ __forceinline__ void store_sums(const DeviceMatrix& m, const FewRows& call, float* sums,
                                           std::int64_t first_output) {
    namespace cg = cooperative_groups;
    const cg::cluster_group cluster = cg::this_cluster();
    const int ranks = static_cast<int>(cluster.num_blocks());
    const int rank = static_cast<int>(cluster.block_rank()), share = outputs / ranks;
    cluster.sync();
    for (int i = static_cast<int>(threadIdx.x); i < share * columns; i += threads) {
        const int o = rank * share + i % share, r = i / share;
        const std::int64_t output = first_output + o;
        if (output >= m.rows || r >= call.rows) {
            continue;
        }
        float total = 0;
        for (int other = 0; other < ranks; ++other) {
            total += cluster.map_shared_rank(sums, other)[o * (columns + 1) + r];
        }
        const float bias = m.bias != nullptr ? m.bias[output] : 0.0f;
        float* y = call.y + r * call.y_stride + output;
        *y = fmaf(total, row_factor(m, call.factor, output), bias) + (call.accumulate ? *y : 0.0f);
    }
    cluster.sync();  // nobody leaves while another reads its sums
}

template <class Weights, int columns>
__global__ void __launch_bounds__(threads) rows_kernel(DeviceMatrix m, FewRows call) {
#if __CUDA_ARCH__ >= 900
    extern __shared__ __align__(128) std::uint8_t some_memory[];
    constexpr int stages = Layout<Weights, columns>::stages;
    const Ring<Weights, columns> ring{m, call, some_memory,
                                      static_cast<std::int64_t>(blockIdx.y) * outputs};
    // 1. This block's tiles of the inputs.
    const int tiles = (m.in_features + inputs - 1) / inputs;
    const int ranks = static_cast<int>(gridDim.x), rank = static_cast<int>(blockIdx.x);
    const int begin = tiles * rank / ranks, end = tiles * (rank + 1) / ranks;
#pragma unroll
    for (int i = 0; i < stages - 1; ++i) {
        ring.ask(begin + i, end, i);
    }
    // 2. Sums.
    const std::int64_t row[2] = {ring.row(0), ring.row(1)};
    float sum[columns / 8][4] = {};
    StageScales<Weights> scales, next;
    next.load(m, row, begin);
    int slot = 0;
    for (int tile = begin; tile < end; ++tile) {
        asm volatile("cp.async.wait_group %0;" ::"n"(stages - 2) : "memory");
        __syncthreads();
        ring.ask(tile + stages - 1, end, slot == 0 ? stages - 1 : slot - 1);
        scales = next;
        next.load(m, row, min(tile + 1, tiles - 1));
        multiply_stage<Weights, columns>(m, ring, slot, tile, row, scales, sum);
        slot = slot + 1 == stages ? 0 : slot + 1;
    }
    // 3. Through shared memory, which the ring no longer needs.
    asm volatile("cp.async.wait_group 0;" ::: "memory");
    __syncthreads();
    auto* sums = reinterpret_cast<float*>(some_memory);
    const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
    for (int n = 0; n < columns / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            sums[(16 * warp + lane / 4 + 8 * (i / 2)) * (columns + 1) + 8 * n + 2 * (lane % 4) +
                 i % 2] = sum[n][i];
        }
    }
    // 4. Results.
    store_sums<columns>(m, call, sums, ring.first_output);
#endif
}

// Blocks of a cluster: the fewest waves of the card's multiprocessors, each split costing a little.
inline int splits_for(std::int64_t blocks, int tiles, int processors) {
    int best = 1;
    double least = 1e30;
    for (int splits = 1; splits <= most_splits && 2 * splits <= tiles; splits *= 2) {
        const std::int64_t waves = (blocks * splits + processors - 1) / processors;
        const double cost = static_cast<double>(waves) / splits * (1 + 0.02 * splits);
        if (cost < least) {
            least = cost;
            best = splits;
        }
    }
    return best;
}

template <class Weights, int columns>
cudaError_t launch_rows(const DeviceMatrix& m, const FewRows& call, int processors,
                        cudaStream_t stream) {
    constexpr int bytes = Layout<Weights, columns>::bytes;
    if (cudaError_t e = cudaFuncSetAttribute(rows_kernel<Weights, columns>,
                                             cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
        e != cudaSuccess) {
        return e;
    }
    const std::int64_t blocks = (m.rows + outputs - 1) / outputs;
    const int splits = splits_for(blocks, (m.in_features + inputs - 1) / inputs, processors);
    cudaLaunchAttribute cluster{};
    cluster.id = cudaLaunchAttributeClusterDimension;
    cluster.val.clusterDim = {static_cast<unsigned>(splits), 1, 1};
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(static_cast<unsigned>(splits), static_cast<unsigned>(blocks));
    config.blockDim = dim3(threads);
    config.dynamicSmemBytes = bytes;
    config.stream = stream;
    config.attrs = &cluster;
    config.numAttrs = 1;
    return cudaLaunchKernelEx(&config, rows_kernel<Weights, columns>, m, call);
}

// Whether these weights are served at all; worth it from `least_outputs` on.
template <class Weights>
inline constexpr bool serves =
    std::is_same_v<Weights, Unpack<Codes::i8>> || std::is_same_v<Weights, Unpack<Codes::lut4>> ||
    std::is_same_v<Weights, InGroups<Unpack<Codes::i4_group>>>;
inline constexpr std::int64_t least_outputs = 8192;

template <class Weights>
cudaError_t some_rows(const DeviceMatrix& m, const FewRows& call, int processors,
                      cudaStream_t stream) {
    if (call.rows <= 16) {
        return launch_rows<Weights, 16>(m, call, processors, stream);
    }
    return call.rows <= 32 ? launch_rows<Weights, 32>(m, call, processors, stream)
                           : launch_rows<Weights, 64>(m, call, processors, stream);
}

}  // namespace bitsweep::device::hopper
