// A block takes 128 activation rows by 128 outputs: one warp brings tiles of 128 inputs through a
// ring in shared memory, two warpgroups multiply 64 rows each and scale their sums in registers.
//
// Ladder (NVIDIA H100 80GB HBM3, the four matrices of a layer of Llama-3.1-8B at 512 rows, products
// with their scaling, eight calls in a row; beside it cuBLASLt's fp16: 330 us):
//   1  cuBLASLt's int8 sums in tiles of 16 MiB, then a scaling pass (int8_many.cu)        335 us
//   2  this kernel, scaling each sum with two divisions (predicted: 250 us) -> slower: up alone 335
//      against 197 us, since the divisions of a tile outlast its products
//   3  divisions once a row and an output, two results a store                            225 us
//   4  six outlier columns of LLM.int8() in plain arithmetic: up 133 -> 329 us with the wait for
//      their number; on tensor cores, whose fragment is that of the sums: 152 us
// At 2,048 rows the sums alone are 0.7 of cuBLASLt's rate: a tile of 128 x 128 reads each operand
// from shared memory twice as often as one of 128 x 256.
#include "worker/inference/quant/shared/int8_hopper.h"

#include "worker/inference/backend/cuda/cuda_error.h"
#include "worker/inference/quant/shared/hopper.cuh"
#include "worker/inference/quant/shared/int8_math.cuh"
#include "worker/inference/quant/shared/mma.cuh"

namespace bitsweep::quant {
namespace {

constexpr int tile = 128;  // rows, outputs and inputs of a step
constexpr int operand_bytes = tile * tile, stage_bytes = 2 * operand_bytes;
constexpr int warpgroups = 2, consumer_warps = 4 * warpgroups;
constexpr int threads = 32 * (consumer_warps + 1);
// Steps in flight: two blocks share a multiprocessor, or one has it alone.
constexpr int shared_stages = 3, lone_stages = 6;
constexpr std::int64_t least_rows = 65;  // fewer: a tile would be mostly empty

// Outlier columns that a block takes beside its sums; more come as `extra`.
constexpr int most_beside = most_beside_columns;

struct Maps {
    CUtensorMap x, w;
};

struct Extra {
    const float* sums;  // [rows][out] or null
    int columns;        // of the tokens' outlier columns to be added here, at most most_beside
};

// Where the outlier columns' share comes from.
enum class More { none, sums, columns };

// Of the block's outputs, for all of its rows.
struct Columns {
    float side[tile], bias[tile];
};

// Operands of the outlier columns: activations and weights as the halves they are.
struct Beside {
    __half x[tile][most_beside + 2];  // + 2: a fragment spreads over the banks
    __half w[tile][most_beside + 2];
};

// A thread takes one column of eight rows and eight outputs, all on their way at once.
[[maybe_unused]] __device__ __forceinline__ void load_beside(Beside& to, const DeviceMatrix& m,
                                                             const Product& p,
                                                             const DeviceTokens& tokens,
                                                             int columns, int first_row,
                                                             int first_out) {
    constexpr int at_once = 32 * consumer_warps / most_beside;
    const int c = static_cast<int>(threadIdx.x) % most_beside;
    const int first = static_cast<int>(threadIdx.x) / most_beside;
    const bool real = c < columns;
    const int column = real ? tokens.columns[c] : 0;
    const auto* halves = static_cast<const __half*>(p.x);
    const __half zero = __float2half_rn(0.0f);
#pragma unroll
    for (int i = 0; i < tile / at_once; ++i) {
        const int at = first + i * at_once;
        const std::int64_t row = min(first_row + at, p.rows - 1);
        const std::int64_t o = min(first_out + at, static_cast<int>(m.rows) - 1);
        const __half x = halves[row * p.x_stride + column];
        const float weight = outlier_weight(m, o, column);
        to.x[at][c] = real ? x : zero;
        to.w[at][c] = real ? __float2half_rn(weight) : zero;
    }
}

template <Int8Rule rule, More more>
__global__ void __launch_bounds__(threads, 2)
    hopper_kernel(const __grid_constant__ Maps maps, DeviceMatrix m, Product p, DeviceTokens tokens,
                  Extra extra, int stages) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    extern __shared__ unsigned char raw[];
    __shared__ std::uint64_t full[lone_stages], empty[lone_stages];
    __shared__ Columns outputs;
    __shared__ Beside beside;
    unsigned char* ring = raw + (1024 - device::shared_address(raw) % 1024) % 1024;
    const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    const int first_row = static_cast<int>(blockIdx.x) * tile;
    const int first_out = static_cast<int>(blockIdx.y) * tile;
    const int steps = (m.row_chunks * 16 + tile - 1) / tile;
    if (threadIdx.x == 0) {
        for (int s = 0; s < stages; ++s) {
            device::barrier_init(&full[s], 1);
            device::barrier_init(&empty[s], consumer_warps);
        }
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
        asm volatile("fence.proxy.async;" ::: "memory");
    }
    __syncthreads();
    // 1. The last warp brings tiles. What lies beyond the matrices arrives as zeros.
    if (warp == consumer_warps) {
        if (lane == 0) {
            for (int i = 0, s = 0, turn = 0; i < steps; ++i) {
                device::barrier_wait(&empty[s], 1 - turn);
                device::barrier_expect(&full[s], stage_bytes);
                unsigned char* to = ring + s * stage_bytes;
                device::copy_tile(to, &maps.x, i * tile, first_row, &full[s]);
                device::copy_tile(to + operand_bytes, &maps.w, i * tile, first_out, &full[s]);
                if (++s == stages) {
                    s = 0, turn = 1 - turn;
                }
            }
        }
        return;
    }
    // Waited for by the barrier before the results.
    if (threadIdx.x < tile) {
        const std::int64_t o =
            min(first_out + static_cast<int>(threadIdx.x), static_cast<int>(m.rows) - 1);
        outputs.side[threadIdx.x] = side_of_factor(rule, static_cast<const float*>(m.scales)[o]);
        outputs.bias[threadIdx.x] = m.bias != nullptr ? m.bias[o] : 0.0f;
    }
    if constexpr (more == More::columns) {
        load_beside(beside, m, p, tokens, extra.columns, first_row, first_out);
    }
    // 2. Sums. A stage is free when the products that read it are done: one step later.
    int sum[64] = {};
    device::settle(sum);
    const int group = warp / 4;
    for (int i = 0, s = 0, turn = 0, before = 0; i < steps; ++i) {
        device::barrier_wait(&full[s], turn);
        const unsigned char* x = ring + s * stage_bytes + group * 64 * tile;
        const unsigned char* w = ring + s * stage_bytes + operand_bytes;
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
    // 3. Results, two neighbours at once where y allows it.
    asm volatile("bar.sync 1, %0;" ::"n"(32 * consumer_warps) : "memory");
    const int inside = 16 * warp + lane / 4, row = first_row + inside;
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
    for (int j = 0; j < tile / 8; ++j) {
        float shares[4] = {};  // of the outlier columns: the fragment of `sum`
        if constexpr (more == More::columns) {
            const __half* w = &beside.w[8 * j + lane / 4][2 * (lane % 4)];
            device::multiply_tile(shares, x_beside, pair_at(w), pair_at(w + 8));
        }
        const int at = 8 * j + 2 * (lane % 4);
        const std::int64_t o = first_out + at, left = m.rows - o;
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
                v[e] = scaled_sum(rule, sum[4 * j + 2 * h + e],
                                  __fmul_rn(x_side[h], outputs.side[at + e]), outputs.bias[at + e],
                                  shares[2 * h + e]);
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
#else
    asm volatile(
        "trap;");  // built for sm_90 without its own instructions: a fault, no silent zeros
#endif
}

using Encode = decltype(&cuTensorMapEncodeTiled);

// Found through the runtime, so that the program starts where there is no driver; null: none.
Encode find_encode() {
    void* entry = nullptr;
    cudaDriverEntryPointQueryResult found{};
    constexpr unsigned version = 12000;
    if (cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry, version,
                                         cudaEnableDefault, &found) != cudaSuccess ||
        found != cudaDriverEntryPointSuccess) {
        cudaGetLastError();
        return nullptr;
    }
    return reinterpret_cast<Encode>(entry);
}

// Tiles of 128 x 128 of [rows][in] bytes.
Status describe(Encode encode, const void* codes, std::int64_t rows, std::int64_t in,
                CUtensorMap* map) {
    const cuuint64_t sizes[2] = {static_cast<cuuint64_t>(in), static_cast<cuuint64_t>(rows)};
    const cuuint64_t strides[1] = {static_cast<cuuint64_t>(in)};
    const cuuint32_t box[2] = {tile, tile}, steps[2] = {1, 1};
    const CUresult made =
        encode(map, CU_TENSOR_MAP_DATA_TYPE_UINT8, 2, const_cast<void*>(codes), sizes, strides, box,
               steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
               CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    return made == CUDA_SUCCESS
               ? Status{}
               : make_error(ErrorCode::gpu_fault, "a tile map of " + std::to_string(rows) + " x " +
                                                      std::to_string(in) + " bytes was refused");
}

}  // namespace

bool hopper_serves(const DeviceMatrix& m, const DeviceCall& call) {
    static const Encode encode = find_encode();
    return encode != nullptr && call.rows >= least_rows && m.row_chunks * 16 >= tile &&
           call.backend.compute_capability() == 90;
}

Status hopper_rows(const DeviceMatrix& m, const DeviceCall& call, const DeviceTokens& tokens,
                   const float* extra, std::int32_t columns, Int8Rule rule) {
    ASSERT(columns <= most_beside);
    static const Encode encode = find_encode();
    if (encode == nullptr) {
        return make_error(ErrorCode::unsupported, "this driver has no tile maps");
    }
    const std::int64_t in = std::int64_t{m.row_chunks} * 16;
    Maps maps;
    TRY(describe(encode, tokens.codes, call.rows, in, &maps.x));
    TRY(describe(encode, m.codes, m.rows, in, &maps.w));
    const dim3 grid(static_cast<unsigned>((call.rows + tile - 1) / tile),
                    static_cast<unsigned>((m.rows + tile - 1) / tile));
    const bool alone =
        std::int64_t{grid.x} * grid.y <= std::int64_t{call.backend.multiprocessors()};
    const int stages = alone ? lone_stages : shared_stages;
    const int bytes = stages * stage_bytes + 1024;
    auto* kernel = rule == Int8Rule::w8a8 ? hopper_kernel<Int8Rule::w8a8, More::none>
                   : extra != nullptr     ? hopper_kernel<Int8Rule::llmint8, More::sums>
                   : columns > 0          ? hopper_kernel<Int8Rule::llmint8, More::columns>
                                          : hopper_kernel<Int8Rule::llmint8, More::none>;
    TRY(cuda_status(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                         lone_stages * stage_bytes + 1024),
                    "an 8-bit product's shared memory"));
    kernel<<<grid, threads, static_cast<std::size_t>(bytes), call.backend.stream()>>>(
        maps, m, product_of(m, call, rule), tokens, Extra{extra, columns}, stages);
    return cuda_status(cudaGetLastError(), "an 8-bit product");
}

}  // namespace bitsweep::quant
