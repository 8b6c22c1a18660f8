// A block takes tiles of 128 activation rows by 128 or 256 outputs, one after the other: one warp
// brings operands of 128 inputs through a ring in shared memory, two warpgroups multiply 64 rows
// each and scale their sums in registers.
//
// Ladder (NVIDIA H100 80GB HBM3, the four matrices of a layer of Llama-3.1-8B at 512 rows, products
// with their scaling, eight calls in a row; beside it cuBLASLt's fp16: 330 us):
//   1  cuBLASLt's int8 sums in tiles of 16 MiB, then a scaling pass (int8_many.cu)        335 us
//   2  this kernel, scaling each sum with two divisions (predicted: 250 us) -> slower: up alone 335
//      against 197 us, since the divisions of a tile outlast its products
//   3  divisions once a row and an output, two results a store                            225 us
//   4  six outlier columns of LLM.int8() in plain arithmetic: up 133 -> 329 us with the wait for
//      their number; on tensor cores, whose fragment is that of the sums: 152 us
//   At 2,048 rows sums and scaling together were 0.7 of cuBLASLt's rate for the sums alone: a tile
//   of 128 x 128 reads each operand from shared memory twice as often as one of 128 x 256.
//   5  tiles of 128 x 256 where they fill the card, and blocks that stay for many tiles, so that
//      operands of the next arrive during the scaling (predicted: 0.85) -> 0.86 on an NVIDIA H200;
//      with quantising 735 us for the four matrices at 2,048 rows, fp16 1,208
#include "worker/inference/quant/shared/int8_hopper.h"

#include <algorithm>

#include "worker/inference/backend/cuda/cuda_error.h"
#include "worker/inference/quant/shared/hopper.cuh"
#include "worker/inference/quant/shared/int8_math.cuh"
#include "worker/inference/quant/shared/mma.cuh"
#include "worker/inference/quant/shared/tile_map.h"

namespace bitsweep::quant {
namespace {

constexpr int tile = 128;                // rows and inputs of a step
constexpr int narrow = 128, wide = 256;  // outputs of a tile
constexpr int x_bytes = tile * tile;
constexpr int warpgroups = 2, consumer_warps = 4 * warpgroups;
constexpr int threads = 32 * (consumer_warps + 1);
// Steps in flight: two blocks share a multiprocessor, or one has it alone.
constexpr int shared_stages = 3, lone_stages = 6, wide_stages = 4;
constexpr std::int64_t least_rows = 65;  // fewer: a tile would be mostly empty

template <int outs>
constexpr int stage_bytes = x_bytes + outs* tile;

// Outlier columns that a block takes beside its sums; more come as `extra`.
constexpr int most_beside = most_beside_columns;

struct Maps {
    CUtensorMap x, w;
};

struct Extra {
    const float* sums;       // [rows][out] or null
    std::int32_t* too_many;  // set where there are more columns than most_beside; or null
};

// Where the outlier columns' share comes from.
enum class More { none, sums, columns };

// Of a tile's outputs, for all of its rows.
template <int outs>
struct Columns {
    float side[outs], bias[outs];
};

// Operands of the outlier columns: activations and weights as the halves they are.
template <int outs>
struct BesideTile {
    __half x[tile][most_beside + 2];  // + 2: a fragment spreads over the banks
    __half w[outs][most_beside + 2];
};

// Where a tile begins.
struct Corner {
    int row, out;
};

// A thread takes one column of the tile's rows and outputs, all on their way at once.
template <int outs>
[[maybe_unused]] __device__ __forceinline__ void load_beside(BesideTile<outs>& to,
                                                             const DeviceMatrix& m,
                                                             const Product& p,
                                                             const DeviceTokens& tokens,
                                                             int columns, Corner at) {
    constexpr int at_once = 32 * consumer_warps / most_beside;
    const int c = static_cast<int>(threadIdx.x) % most_beside;
    const int first = static_cast<int>(threadIdx.x) / most_beside;
    const bool real = c < columns;
    const int column = real ? tokens.columns[c] : 0;
    const auto* halves = static_cast<const __half*>(p.x);
    const __half zero = __float2half_rn(0.0f);
#pragma unroll
    for (int i = 0; i < tile / at_once; ++i) {
        const int inside = first + i * at_once;
        const std::int64_t row = min(at.row + inside, p.rows - 1);
        const __half x = halves[row * p.x_stride + column];
        to.x[inside][c] = real ? x : zero;
    }
#pragma unroll
    for (int i = 0; i < outs / at_once; ++i) {
        const int inside = first + i * at_once;
        const std::int64_t o = min(at.out + inside, static_cast<int>(m.rows) - 1);
        const float weight = outlier_weight(m, o, column);
        to.w[inside][c] = real ? __float2half_rn(weight) : zero;
    }
}

// Scales a thread's sums of a tile and writes them, two neighbours at once where y allows it.
template <Int8Rule rule, More more, int outs>
[[maybe_unused]] __device__ __forceinline__ void write_results(
    const int (&sum)[outs / 2], const Columns<outs>& outputs, const BesideTile<outs>& beside,
    const DeviceMatrix& m, const Product& p, const DeviceTokens& tokens, const Extra& extra,
    Corner at) {
    const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    const int inside = 16 * warp + lane / 4, row = at.row + inside;
    const bool pairs = (reinterpret_cast<std::uintptr_t>(p.y) | (4 * p.y_stride)) % 8 == 0;
    float x_side[2];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
        x_side[h] = side_of_factor(rule, tokens.scale[min(row + 8 * h, p.rows - 1)]);
    }
    const auto pair_at = [](const __half* from) {
        return *reinterpret_cast<const std::uint32_t*>(from);
    };
    std::uint32_t x_beside[4] = {};
    if constexpr (more == More::columns) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            x_beside[i] = pair_at(&beside.x[inside + 8 * (i % 2)][2 * (lane % 4) + 8 * (i / 2)]);
        }
    }
#pragma unroll
    for (int j = 0; j < outs / 8; ++j) {
        float shares[4] = {};  // of the outlier columns: the fragment of `sum`
        if constexpr (more == More::columns) {
            const __half* w = &beside.w[8 * j + lane / 4][2 * (lane % 4)];
            device::multiply_tile(shares, x_beside, pair_at(w), pair_at(w + 8));
        }
        const int column = 8 * j + 2 * (lane % 4);
        const std::int64_t o = at.out + column, left = m.rows - o;
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            const std::int64_t r = row + 8 * h;
            if (r >= p.rows || left <= 0) {
                continue;
            }
            float v[2];
#pragma unroll
            for (int e = 0; e < 2; ++e) {
                if (more == More::sums && e < left) {
                    shares[2 * h + e] = extra.sums[r * m.rows + o + e];
                }
                v[e] = scaled_sum(rule, static_cast<float>(sum[4 * j + 2 * h + e]),
                                  __fmul_rn(x_side[h], outputs.side[column + e]),
                                  outputs.bias[column + e], shares[2 * h + e]);
            }
            float* y = p.y + r * p.y_stride + o;
            if (pairs && left > 1) {
                auto* pair = reinterpret_cast<float2*>(y);
                const float2 before = p.accumulate ? *pair : float2{0, 0};
                *pair = {v[0] + before.x, v[1] + before.y};
            } else {
                y[0] = v[0] + (p.accumulate ? y[0] : 0.0f);
                if (left > 1) {
                    y[1] = v[1] + (p.accumulate ? y[1] : 0.0f);
                }
            }
        }
    }
}

// Tiles of one column of outputs follow each other: their weights stay in the second-level cache.
[[maybe_unused]] __device__ __forceinline__ Corner corner_of(int number, int rows, int outs) {
    const int row_tiles = (rows + tile - 1) / tile;
    return {number % row_tiles * tile, number / row_tiles * outs};
}

template <Int8Rule rule, More more, int outs>
__global__ void __launch_bounds__(threads, outs == wide ? 1 : 2)
    hopper_kernel(const __grid_constant__ Maps maps, DeviceMatrix m, Product p, DeviceTokens tokens,
                  Extra extra, int tiles, int stages) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    extern __shared__ unsigned char raw[];
    __shared__ std::uint64_t full[lone_stages], empty[lone_stages];
    __shared__ Columns<outs> outputs;
    __shared__ BesideTile<outs> beside;
    unsigned char* ring = raw + (1024 - device::shared_address(raw) % 1024) % 1024;
    const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    const int steps = (m.row_chunks * 16 + tile - 1) / tile;
    const int columns = more == More::columns ? *tokens.count : 0;
    if (columns > most_beside) {
        if (extra.too_many != nullptr && blockIdx.x == 0 && threadIdx.x == 0) {
            *extra.too_many = 1;
        }
        return;
    }
    if (threadIdx.x == 0) {
        for (int s = 0; s < stages; ++s) {
            device::barrier_init(&full[s], 1);
            device::barrier_init(&empty[s], consumer_warps);
        }
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
        asm volatile("fence.proxy.async;" ::: "memory");
    }
    __syncthreads();
    int s = 0, turn = 0;
    // 1. The last warp brings operands. What lies beyond the matrices arrives as zeros.
    if (warp == consumer_warps) {
        for (int t = static_cast<int>(blockIdx.x); lane == 0 && t < tiles; t += gridDim.x) {
            const Corner at = corner_of(t, p.rows, outs);
            for (int i = 0; i < steps; ++i) {
                device::barrier_wait(&empty[s], 1 - turn);
                device::barrier_expect(&full[s], stage_bytes<outs>);
                unsigned char* to = ring + s * stage_bytes<outs>;
                device::copy_tile(to, &maps.x, i * tile, at.row, &full[s]);
                device::copy_tile(to + x_bytes, &maps.w, i * tile, at.out, &full[s]);
                if (++s == stages) {
                    s = 0, turn = 1 - turn;
                }
            }
        }
        return;
    }
    const int group = warp / 4;
    for (int t = static_cast<int>(blockIdx.x); t < tiles; t += gridDim.x) {
        const Corner at = corner_of(t, p.rows, outs);
        // Of the tile before, the results have been written. Waited for before this one's.
        asm volatile("bar.sync 1, %0;" ::"n"(32 * consumer_warps) : "memory");
        if (threadIdx.x < outs) {
            const std::int64_t o =
                min(at.out + static_cast<int>(threadIdx.x), static_cast<int>(m.rows) - 1);
            outputs.side[threadIdx.x] =
                side_of_factor(rule, static_cast<const float*>(m.scales)[o]);
            outputs.bias[threadIdx.x] = m.bias != nullptr ? m.bias[o] : 0.0f;
        }
        if constexpr (more == More::columns) {
            load_beside(beside, m, p, tokens, columns, at);
        }
        // 2. Sums. A stage is free when the products that read it are done: one step later.
        int sum[outs / 2] = {};
        device::settle(sum);
        int before = 0;
        for (int i = 0; i < steps; ++i) {
            device::barrier_wait(&full[s], turn);
            const unsigned char* x = ring + s * stage_bytes<outs> + group * 64 * tile;
            const unsigned char* w = ring + s * stage_bytes<outs> + x_bytes;
            device::products_begin();
#pragma unroll
            for (int k = 0; k < tile; k += 32) {
                device::multiply_bytes(sum, device::operand_of(x + k), device::operand_of(w + k));
            }
            device::products_end();
            device::products_wait<1>();
            if (i > 0 && lane == 0) {
                device::barrier_arrive(&empty[before]);
            }
            before = s;
            if (++s == stages) {
                s = 0, turn = 1 - turn;
            }
        }
        device::products_wait<0>();
        device::settle(sum);
        if (lane == 0) {
            device::barrier_arrive(&empty[before]);
        }
        // 3. Results.
        asm volatile("bar.sync 1, %0;" ::"n"(32 * consumer_warps) : "memory");
        write_results<rule, more>(sum, outputs, beside, m, p, tokens, extra, at);
    }
#else
    asm volatile(
        "trap;");  // built for sm_90 without its own instructions: a fault, no silent zeros
#endif
}

// Tiles of `tall` x 128 of [rows][in] bytes.
Status describe(const void* codes, std::int64_t rows, std::int64_t in, int tall, CUtensorMap* map) {
    const device::TiledMatrix matrix{codes, device::TileElement::byte, rows, in, tall};
    return device::map_tiles(matrix, map)
               ? Status{}
               : make_error(ErrorCode::gpu_fault, "a tile map of " + std::to_string(rows) + " x " +
                                                      std::to_string(in) + " bytes was refused");
}

using Kernel = void (*)(Maps, DeviceMatrix, Product, DeviceTokens, Extra, int, int);

template <int outs>
Kernel kernel_for(Int8Rule rule, const Extra& extra, Beside beside) {
    return rule == Int8Rule::w8a8        ? hopper_kernel<Int8Rule::w8a8, More::none, outs>
           : extra.sums != nullptr       ? hopper_kernel<Int8Rule::llmint8, More::sums, outs>
           : beside == Beside::where_few ? hopper_kernel<Int8Rule::llmint8, More::columns, outs>
                                         : hopper_kernel<Int8Rule::llmint8, More::none, outs>;
}

constexpr std::int64_t up_to(std::int64_t work, std::int64_t each) {
    return (work + each - 1) / each;
}

// Whether tiles of 256 outputs end sooner: one takes about 1.6 times a tile of 128, but the
// last of them may leave more multiprocessors idle.
bool take_wide(std::int64_t rows, std::int64_t outs, std::int64_t multiprocessors) {
    const std::int64_t row_tiles = up_to(rows, tile);
    const std::int64_t narrow_turns = up_to(row_tiles * up_to(outs, narrow), multiprocessors);
    const std::int64_t wide_turns = up_to(row_tiles * up_to(outs, wide), multiprocessors);
    return 8 * wide_turns <= 5 * narrow_turns;
}

}  // namespace

bool hopper_serves(const DeviceMatrix& m, const DeviceCall& call) {
    return call.backend.compute_capability() == 90 && call.rows >= least_rows &&
           m.row_chunks * 16 >= tile && device::has_tile_maps();
}

Status hopper_rows(const DeviceMatrix& m, const DeviceCall& call, const DeviceTokens& tokens,
                   const float* extra, Beside beside, Int8Rule rule) {
    ASSERT(extra == nullptr || beside == Beside::none);
    const std::int64_t in = std::int64_t{m.row_chunks} * 16;
    const std::int64_t processors = call.backend.multiprocessors();
    const bool is_wide = take_wide(call.rows, m.rows, processors);
    const int outs = is_wide ? wide : narrow;
    Maps maps;
    TRY(describe(tokens.codes, call.rows, in, tile, &maps.x));
    TRY(describe(m.codes, m.rows, in, outs, &maps.w));
    const std::int64_t tiles = up_to(call.rows, tile) * up_to(m.rows, outs);
    const bool alone = is_wide || tiles <= processors;
    const int stages = is_wide ? wide_stages : alone ? lone_stages : shared_stages;
    const int stage = is_wide ? stage_bytes<wide> : stage_bytes<narrow>;
    const int bytes = stages * stage + 1024;
    const Extra more{extra, call.too_many};
    const Kernel kernel =
        is_wide ? kernel_for<wide>(rule, more, beside) : kernel_for<narrow>(rule, more, beside);
    TRY(cuda_status(
        cudaFuncSetAttribute(
            kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
            std::max(lone_stages * stage_bytes<narrow>, wide_stages * stage_bytes<wide>) + 1024),
        "an 8-bit product's shared memory"));
    const auto blocks = static_cast<unsigned>(std::min(tiles, alone ? processors : 2 * processors));
    kernel<<<blocks, threads, static_cast<std::size_t>(bytes), call.backend.stream()>>>(
        maps, m, product_of(m, call, rule), tokens, more, static_cast<int>(tiles), stages);
    return cuda_status(cudaGetLastError(), "an 8-bit product");
}

}  // namespace bitsweep::quant
