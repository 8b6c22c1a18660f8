// The product for 9 to 64 activation rows on Hopper: a warpgroup takes 64 outputs, a block one or
// two of them, which share one copy of the activations; a cluster of blocks shares the inputs of
// those outputs.
//
// Weights arrive in stages of 128 inputs, several on their way, become halves in registers and are
// the left operand of a warpgroup's products; activations are the right one, in shared memory.
// Which input an element of a fragment stands for is free as long as both operands agree: lane (g,
// t) takes step t of its rows, so that every weight arrives in its own 16-byte chunk and no shuffle
// is needed, and the activations are put where that wants them. The blocks of a cluster add their
// sums in the order of their ranks, so results do not depend on time.
//
// Version ladder (prediction -> measured; NVIDIA H200, 32 rows, us for 16384 x 2048 / 28672 x 4096
// / 128256 x 2048 at 8 bits, at 4 bits in groups of 64):
//   1  some_rows.cuh: 16 or 32 outputs a block, every block reads all activations through the
//      second-level cache, four times the bytes of 8-bit weights and eight times those of 4-bit
//      ones
//      -> 40 / 122 / 337, 45 / 133 / 349
//   2  activations once for 128 outputs, mma.sync of 16 x 8 (predicted 12 / 35 / 75)
//      -> 22 / 94 / 121, 29 / 110 / 148. Below 8,192 outputs no faster than version 1
//   3  wgmma: a stage of version 2 took some 3,500 cycles, of which its instructions were
//      1,000; the rest was waiting for fragments of activations and for products of 16 x 8
//      (predicted 12 / 32 / 70, 11 / 25 / 50) -> 22 / 126 / 120, 25 / 134 / 148: no faster, and
//      worse at 4,096 inputs, where the rule for splits now took clusters of eight with four stages
//      each
//   4  splits by stages that pass one after the other, starting and ending counted as some
//      -> 22 / 52 / 119, 25 / 72 / 148
//   5  pointers kept, divisions by the group's size as shifts -> 21 / 48 / 112, 23 / 62 / 127. With
//      4,096 x 14,336 36 and 40 against version 1's 44 and 51; below 8,192 of both version 1 stays
//      the faster. Neither activations from other tiles at the same time (against waits for the
//      slices of the second-level cache that hold them) nor writing them without bank conflicts
//      changed anything by itself
#pragma once

#include <cooperative_groups.h>

#include <algorithm>
#include <type_traits>

#include "worker/inference/backend/cuda/async_copy.cuh"
#include "worker/inference/quant/shared/few_rows.cuh"
#include "worker/inference/quant/shared/hopper.cuh"
#include "worker/inference/quant/shared/mma.cuh"

namespace bitsweep::device::hopper {

inline constexpr int outputs_of_group = 64;  // of a warpgroup
inline constexpr int inputs = 128;           // of a stage
inline constexpr int panel = 64;             // inputs of a swizzled row of 128 bytes
inline constexpr int x_slots = inputs / 8;   // 16-byte slots of an activation row in a stage
inline constexpr int x_buffers = 3;          // one read, one ready, one written
inline constexpr int most_splits = 8;        // blocks of a cluster
inline constexpr std::int64_t least_outputs_of_two = 8192;  // warpgroups of a block

template <class Weights>
inline constexpr int spans = inputs / (4 * Weights::step);  // steps of a lane and row in a stage

// A block's shape and where things lie in its shared memory.
template <class Weights, int columns_, int groups_>
struct Shape {
    static constexpr int columns = columns_, groups = groups_;
    static constexpr int threads = 128 * groups, outputs = outputs_of_group * groups;
    static constexpr int blocks = groups == 2 ? 2 : 3;  // of a multiprocessor
    static constexpr int x_panel = columns * panel * 2, x = 2 * x_panel;
    static constexpr int weights = threads * 2 * spans<Weights> * 16;  // of a stage
    static constexpr int room = 112 * 1024 / (2 / groups) - 1024;
    static constexpr int stages = std::clamp((room - x_buffers * x) / weights, 2, 8);
    static constexpr int sums = outputs * (columns + 1) * 4;
    static constexpr int bytes = std::max(x_buffers * x + stages * weights, sums) + 1024;
};

// Eight weights times `scale` as four pairs of halves; only what is served has one.
template <class Weights>
struct Pairs;

__device__ __forceinline__ std::uint32_t less(std::uint32_t pair, std::uint32_t minus) {
    const __half2 code = __hsub2(*reinterpret_cast<const __half2*>(&pair),
                                 *reinterpret_cast<const __half2*>(&minus));
    return *reinterpret_cast<const std::uint32_t*>(&code);
}
__device__ __forceinline__ std::uint32_t scaled(std::uint32_t pair, std::uint32_t minus,
                                                __half2 scale) {
    const std::uint32_t code = less(pair, minus);
    const __half2 value = __hmul2(*reinterpret_cast<const __half2*>(&code), scale);
    return *reinterpret_cast<const std::uint32_t*>(&value);
}

// A byte below 1,024 + 256 is exact in half's upper byte 0x64: code + 128 becomes 1,152 + code.
template <>
struct Pairs<Unpack<Codes::i8>> {
    __device__ static void of(const DeviceMatrix&, const uint4& raw, std::int64_t, int, int s,
                              float, std::uint32_t* to) {
#pragma unroll
        for (int p = 0; p < 4; ++p) {
            const std::uint32_t word = word_of(raw, 2 * s + p / 2) ^ 0x80808080u;
            const std::uint32_t pair = __byte_perm(word, 0x64646464u, p % 2 == 0 ? 0x4140 : 0x4342);
            to[p] = less(pair, 0x64806480u);
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

// A block's stages of weights: what a thread asks for and where it finds it. Nobody else does.
template <class Weights, class S>
struct Ring {
    std::uint8_t* memory;
    std::int64_t first_output;
    const uint4* from[2];  // this lane's first chunk of its two rows
    int most[2];           // inputs of them behind it

    __device__ Ring(const DeviceMatrix& m, std::uint8_t* memory, std::int64_t first_output)
        : memory(memory + static_cast<int>(threadIdx.x) * 16), first_output(first_output) {
        const int t = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const bool real = row(half) < m.rows;
            from[half] = row_of(m, real ? row(half) : 0) + t;
            most[half] = real ? m.in_features - t * Weights::step : 0;
        }
    }
    __device__ std::int64_t row(int half) const {
        const int lane = static_cast<int>(threadIdx.x) % 32;
        return first_output + static_cast<int>(threadIdx.x) / 32 * 16 + 8 * half + lane / 4;
    }
    __device__ __forceinline__ std::uint8_t* at(int slot, int half, int span) const {
        return memory + slot * S::weights + (half * spans<Weights> + span) * S::threads * 16;
    }

    // Inputs [128 tile, 128 tile + 128) into a slot; none where the tile does not exist.
    __device__ __forceinline__ void ask(int tile, int end, int slot) const {
        if (tile < end) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
#pragma unroll
                for (int span = 0; span < spans<Weights>; ++span) {
                    const int chunk = (tile * spans<Weights> + span) * 4;
                    const bool real = chunk * Weights::step < most[half];
                    copy16_or_zeros(at(slot, half, span), from[half] + (real ? chunk : 0), real);
                }
            }
        }
        end_of_copies();
    }
};

// The activations of a stage on their way through a thread's registers.
template <class Weights, class S>
struct Activations {
    static constexpr int step = Weights::step, slots = S::columns * x_slots / S::threads;
    uint4 value[slots];
    const __half* from[slots];  // a slot's place in its row
    int most[slots];            // inputs of the row behind it

    __device__ Activations(const DeviceMatrix& m, const FewRows& call) {
#pragma unroll
        for (int i = 0; i < slots; ++i) {
            const Place p = place(i);
            const bool real = p.row < call.rows;
            from[i] = static_cast<const __half*>(call.x) +
                      (real ? p.row * call.x_stride + 8 * p.slot : 0);
            most[i] = real ? m.in_features - 8 * p.slot : 0;
        }
    }

    struct Place {
        int row, part, slot;  // of the activations, half of the stage, 16 bytes of the stage
        int t, product;       // the lane that meets them, first of the stage's eight products
    };
    // Eight neighbouring threads take the slots of one row and part: they write without conflicts.
    __device__ static Place place(int i) {
        const int at = static_cast<int>(threadIdx.x) + i * S::threads;
        Place p;
        p.row = at / 8 % S::columns;
        p.part = at / 8 / S::columns;
        constexpr int per_lane = step / 8, here = per_lane < 2 ? per_lane : 2;
        const int inside = at % 8;
        if constexpr (step == 32) {  // a lane's four slots belong to two parts
            p.t = inside / here;
            p.slot = p.t * per_lane + here * p.part + inside % here;
            p.product = 4 * p.part + 2 * (inside % here);
        } else {
            p.t = inside / here % 4;
            p.slot = 8 * p.part + inside;
            p.product = 4 * p.part + 2 * (inside % here) + inside / (4 * here) * 2;
        }
        return p;
    }

    __device__ __forceinline__ void load(int tile) {
#pragma unroll
        for (int i = 0; i < slots; ++i) {
            value[i] = tile * inputs < most[i]
                           ? *reinterpret_cast<const uint4*>(from[i] + tile * inputs)
                           : uint4{0, 0, 0, 0};
        }
    }

    // Pairs of a slot become elements 2 t, 2 t + 1 of the halves of 16 inputs of a product.
    __device__ __forceinline__ void store(std::uint8_t* to) const {
#pragma unroll
        for (int i = 0; i < slots; ++i) {
            const Place p = place(i);
            std::uint8_t* row = to + p.part * S::x_panel + p.row * panel * 2 + 4 * p.t;
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                const int chunk = p.product % 4 * 2 + j;
                *reinterpret_cast<std::uint32_t*>(row + 16 * (chunk ^ p.row % 8)) =
                    word_of(value[i], j);
            }
        }
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
                const std::int64_t at = row[half];
                const int last = m.in_features - 1;
                value[half][span][0] = Weights::scale(m, at, min(k, last));
                value[half][span][1] = Weights::step > 16 && m.group == 16
                                           ? Weights::scale(m, at, min(k + 16, last))
                                           : value[half][span][0];
            }
        }
    }
};

// The left operands of 64 inputs, half a stage: four products of 16.
template <class Weights, class S>
__device__ __forceinline__ void load_weights(const DeviceMatrix& m,
                                             const typename Weights::Raw (&raw)[2][spans<Weights>],
                                             int tile, int part, const std::int64_t* row,
                                             const StageScales<Weights>& scales,
                                             std::uint32_t (&a)[16]) {
    constexpr int step = Weights::step, eights = step / 8;  // of a lane, row and span
    const int t = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
    for (int i = 0; i < 2; ++i) {  // two products each
        const int eight = 2 * part + i, span = eight / eights, s = eight % eights;
        const int k = tile * inputs + (span * 4 + t) * step + 8 * s;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            std::uint32_t pairs[4];
            Pairs<Weights>::of(m, raw[half][span], row[half], min(k, m.in_features - 1), s,
                               scales.value[half][span][s >= 2 ? 1 : 0], pairs);
#pragma unroll
            for (int p = 0; p < 4; ++p) {
                a[8 * i + p / 2 * 4 + p % 2 * 2 + half] = pairs[p];
            }
        }
    }
}

template <class Weights, class S>
__device__ __forceinline__ void multiply_part(float (&sum)[S::columns / 2],
                                              const std::uint32_t (&a)[16], const std::uint8_t* x) {
    products_begin();
#pragma unroll
    for (int j = 0; j < 4; ++j) {
        add_product<Along::rows>(sum, a + 4 * j, operand_of(x + 32 * j));
    }
    products_end();
}

// Adds the cluster's sums in the order of ranks and stores this block's share of the outputs.
template <class S>
__device__ __forceinline__ void store_sums(const DeviceMatrix& m, const FewRows& call, float* sums,
                                           std::int64_t first_output) {
    namespace cg = cooperative_groups;
    const cg::cluster_group cluster = cg::this_cluster();
    const int ranks = static_cast<int>(cluster.num_blocks());
    const int rank = static_cast<int>(cluster.block_rank()), share = S::outputs / ranks;
    cluster.sync();
    for (int i = static_cast<int>(threadIdx.x); i < share * S::columns; i += S::threads) {
        const int o = rank * share + i % share, r = i / share;
        const std::int64_t output = first_output + o;
        if (output >= m.rows || r >= call.rows) {
            continue;
        }
        float total = 0;
        for (int other = 0; other < ranks; ++other) {
            total += cluster.map_shared_rank(sums, other)[o * (S::columns + 1) + r];
        }
        const float bias = m.bias != nullptr ? m.bias[output] : 0.0f;
        float* y = call.y + r * call.y_stride + output;
        *y = fmaf(total, row_factor(m, call.factor, output), bias) + (call.accumulate ? *y : 0.0f);
    }
    cluster.sync();  // nobody leaves while another reads its sums
}

template <class Weights, class S>
__global__ void __launch_bounds__(S::threads, S::blocks) rows_kernel(DeviceMatrix m, FewRows call) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    extern __shared__ std::uint8_t some_memory[];
    constexpr int columns = S::columns, stages = S::stages;
    std::uint8_t* memory = some_memory + (1024 - shared_address(some_memory) % 1024) % 1024;
    const Ring<Weights, S> ring(m, memory + x_buffers * S::x,
                                static_cast<std::int64_t>(blockIdx.y) * S::outputs);
    // 1. This block's tiles of the inputs.
    const int tiles = (m.in_features + inputs - 1) / inputs;
    const int ranks = static_cast<int>(gridDim.x), rank = static_cast<int>(blockIdx.x);
    const int begin = tiles * rank / ranks, end = tiles * (rank + 1) / ranks;
#pragma unroll
    for (int i = 0; i < stages - 1; ++i) {
        ring.ask(begin + i, end, i);
    }
    const std::int64_t row[2] = {min(ring.row(0), m.rows - 1), min(ring.row(1), m.rows - 1)};
    StageScales<Weights> scales, next;
    next.load(m, row, begin);
    Activations<Weights, S> x(m, call);
    x.load(begin);
    x.store(memory);
    x.load(begin + 1);
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    __syncthreads();
    // 2. Sums. Operands of a part are written when the products that read them are done, one part
    // later; so are the activations of the buffer that is written now.
    float sum[columns / 2] = {};
    std::uint32_t a[2][16] = {};
    settle(sum);
    int slot = 0, now = 0;
    for (int tile = begin; tile < end; ++tile) {
        const int then = now + 1 == x_buffers ? 0 : now + 1;
        x.store(memory + then * S::x);
        x.load(tile + 2);
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
        wait_for_copies<stages - 2>();
        ring.ask(tile + stages - 1, end, slot == 0 ? stages - 1 : slot - 1);
        scales = next;
        next.load(m, row, min(tile + 1, tiles - 1));
        typename Weights::Raw raw[2][spans<Weights>];
#pragma unroll
        for (int j = 0; j < 2 * spans<Weights>; ++j) {
            raw[j % 2][j / 2] =
                *reinterpret_cast<const typename Weights::Raw*>(ring.at(slot, j % 2, j / 2));
        }
#pragma unroll
        for (int part = 0; part < 2; ++part) {
            products_wait<1>();
            settle(a[part]);
            load_weights<Weights, S>(m, raw, tile, part, row, scales, a[part]);
            multiply_part<Weights, S>(sum, a[part], memory + now * S::x + part * S::x_panel);
        }
        __syncthreads();
        slot = slot + 1 == stages ? 0 : slot + 1;
        now = then;
    }
    products_wait<0>();
    settle(sum);
    // 3. Through shared memory, which the ring no longer needs.
    wait_for_copies<0>();
    __syncthreads();
    auto* sums = reinterpret_cast<float*>(memory);
    const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
    for (int i = 0; i < columns / 2; ++i) {
        sums[(16 * warp + lane / 4 + 8 * (i / 2 % 2)) * (columns + 1) + 8 * (i / 4) +
             2 * (lane % 4) + i % 2] = sum[i];
    }
    // 4. Results.
    store_sums<S>(m, call, sums, ring.first_output);
#else
    asm volatile("trap;");  // built for sm_90 without its own instructions: a fault
#endif
}

// Blocks of a cluster: the fewest stages that pass one after the other, where starting and ending a
// block take as long as some.
inline int splits_for(std::int64_t blocks, int tiles, std::int64_t places) {
    constexpr std::int64_t around = 4, in_clusters = 2;
    int best = 1;
    std::int64_t least = 0;
    for (int splits = 1; splits <= most_splits && splits <= tiles; splits *= 2) {
        const std::int64_t turns = (blocks * splits + places - 1) / places;
        const std::int64_t stages = (tiles + splits - 1) / splits + around;
        const std::int64_t cost = turns * (stages + (splits > 1 ? in_clusters : 0));
        if (splits == 1 || cost < least) {
            least = cost;
            best = splits;
        }
    }
    return best;
}

template <class Weights, class S>
cudaError_t launch_shape(const DeviceMatrix& m, const FewRows& call, int processors,
                         cudaStream_t stream) {
    if (cudaError_t e = cudaFuncSetAttribute(rows_kernel<Weights, S>,
                                             cudaFuncAttributeMaxDynamicSharedMemorySize, S::bytes);
        e != cudaSuccess) {
        return e;
    }
    const std::int64_t blocks = (m.rows + S::outputs - 1) / S::outputs;
    const int splits = splits_for(blocks, (m.in_features + inputs - 1) / inputs,
                                  std::int64_t{S::blocks} * processors);
    cudaLaunchAttribute cluster{};
    cluster.id = cudaLaunchAttributeClusterDimension;
    cluster.val.clusterDim = {static_cast<unsigned>(splits), 1, 1};
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(static_cast<unsigned>(splits), static_cast<unsigned>(blocks));
    config.blockDim = dim3(S::threads);
    config.dynamicSmemBytes = S::bytes;
    config.stream = stream;
    config.attrs = &cluster;
    config.numAttrs = 1;
    return cudaLaunchKernelEx(&config, rows_kernel<Weights, S>, m, call);
}

// Two warpgroups share activations where that leaves blocks enough.
template <class Weights, int columns>
cudaError_t launch_rows(const DeviceMatrix& m, const FewRows& call, int processors,
                        cudaStream_t stream) {
    return m.rows >= least_outputs_of_two
               ? launch_shape<Weights, Shape<Weights, columns, 2>>(m, call, processors, stream)
               : launch_shape<Weights, Shape<Weights, columns, 1>>(m, call, processors, stream);
}

// Whether these weights are served at all, and whether a matrix is large enough for it to pay.
template <class Weights>
inline constexpr bool serves =
    std::is_same_v<Weights, Unpack<Codes::i8>> || std::is_same_v<Weights, Unpack<Codes::lut4>> ||
    std::is_same_v<Weights, InGroups<Unpack<Codes::i4_group>>>;
inline bool pays(const DeviceMatrix& m) {
    return m.rows >= 8192 || m.in_features >= 8192;
}

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
