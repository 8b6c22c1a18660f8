// A block takes 128 queries of one head, 64 a warpgroup, over tiles of 128 keys: one warp brings
// keys and values through two rings in shared memory, a warpgroup multiplies a tile's scores while
// its weighted values of the tile before are still being added up (FlashAttention-3, arXiv
// 2407.08608, algorithm 2, without its turns of the warpgroups). Queries and weights are rounded to
// half, sums are float32: prefill_attention.cu is the same on every card.
//
// Ladder (NVIDIA H200; 2,048 queries at position 0, 32 heads of 128 over 8, a layer):
//   prefill_attention.cu, version 2                                                       394 us
//   1  this kernel (predicted: 100 us, 350 TFLOP/s)                                       107 us
//   2  results stored a pair at a time                                                     91 us
// 376 TFLOP/s; torch 2.11's scaled_dot_product_attention there 88 us. With heads of 64 265 TFLOP/s
// (65 us, 190 before). The whole prompt of Llama-3.1-8B: fp16 32,370 -> 41,630 token/s.
#include "worker/inference/models/cuda/hopper_attention.h"

#include "worker/inference/backend/cuda/warp.cuh"
#include "worker/inference/models/cuda/powers.cuh"
#include "worker/inference/models/cuda/typed_store.cuh"
#include "worker/inference/quant/shared/hopper.cuh"
#include "worker/inference/quant/shared/mma.cuh"
#include "worker/inference/quant/shared/tile_map.h"

namespace bitsweep::device {
namespace {

constexpr int keys = 128, queries = 128;  // of a tile
constexpr int panel = 64;                 // halves in 128 bytes, as far as a swizzled row goes
constexpr int warpgroups = 2, consumer_warps = 4 * warpgroups;
constexpr int consumers = 32 * consumer_warps, threads = consumers + 128;
// Of a thread: a kernel of 384 has 168, and the warpgroup that only copies gives its own away.
[[maybe_unused]] constexpr int copying_registers = 24, multiplying_registers = 240;
constexpr int stages = 2;
constexpr std::int64_t least_tokens = 256;

template <int dim>
struct Tiles {
    __half q[dim / panel][queries][panel];
    __half k[stages][dim / panel][keys][panel];
    __half v[stages][dim / panel][keys][panel];
};

struct Maps {
    CUtensorMap k, v;
};

// Where tiles of keys lie for a block, and what its rows see of them.
struct Reach {
    int begin, end;  // keys, from the first tile's on
    int position;    // of the sequence's first query in this call
    int first_token, tokens, window;
};

[[maybe_unused]] __device__ __forceinline__ void wait_for_consumers() {
    asm volatile("bar.sync 1, %0;" ::"n"(consumers) : "memory");
}

// What was written with plain stores is seen by the products that begin behind wait_for_consumers.
[[maybe_unused]] __device__ __forceinline__ void show_to_products() {
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    wait_for_consumers();
}

// Eight halves of a row stand at their place of a panel swizzled by 128 bytes.
[[maybe_unused]] __device__ __forceinline__ uint4* run_of(__half (*rows)[panel], int row, int d) {
    return reinterpret_cast<uint4*>(&rows[row][(d / 8 ^ row % 8) * 8]);
}

// Queries of the block's tokens as halves, scaled so that exponentials are powers of two.
template <int dim>
[[maybe_unused]] __device__ __forceinline__ void load_queries(Tiles<dim>& tiles,
                                                              const AttentionCall& call,
                                                              const Reach& reach, int head) {
    const float scale = call.shape.scale * log2_e;
    const std::int64_t stride = call.shape.heads * dim;
    const float* from =
        call.q + (static_cast<std::int64_t>(blockIdx.z) * reach.tokens) * stride + head * dim;
    constexpr int runs = dim / 8;
    for (int i = static_cast<int>(threadIdx.x); i < queries * runs; i += consumers) {
        const int row = i / runs, d = i % runs * 8;
        const int token = min(reach.first_token + row, reach.tokens - 1);
        const auto* values = reinterpret_cast<const float4*>(from + token * stride + d);
        const float4 a = values[0], b = values[1];
        *run_of(tiles.q[d / panel], row, d % panel) =
            uint4{pack_halves(a.x * scale, a.y * scale), pack_halves(a.z * scale, a.w * scale),
                  pack_halves(b.x * scale, b.y * scale), pack_halves(b.z * scale, b.w * scale)};
    }
    show_to_products();
}

// Rows that no token has written are zeros: a weight of 0 times what lies there may be no 0.
template <int dim>
[[maybe_unused]] __device__ __forceinline__ void clear_unwritten(
    __half (&v)[dim / panel][keys][panel], int written) {
    if (written >= keys) {
        return;
    }
    constexpr int runs = dim / 8;
    for (int i = static_cast<int>(threadIdx.x); i < (keys - written) * runs; i += consumers) {
        const int row = written + i / runs, d = i % runs * 8;
        *run_of(v[d / panel], row, d % panel) = uint4{0, 0, 0, 0};
    }
    show_to_products();
}

// sum = queries of this warpgroup times the keys of a tile, queued.
template <int dim>
[[maybe_unused]] __device__ __forceinline__ void multiply_keys(
    float (&sum)[keys / 2], const __half (&q)[dim / panel][queries][panel],
    const __half (&k)[dim / panel][keys][panel], int group) {
#pragma unroll
    for (int d = 0; d < dim; d += 16) {
        multiply_halves(sum, operand_of(&q[d / panel][64 * group][d % panel]),
                        operand_of(&k[d / panel][0][d % panel]), d > 0);
    }
    products_end();
}

// sum += weights times the values of a tile, queued.
template <int dim>
[[maybe_unused]] __device__ __forceinline__ void multiply_values(
    float (&sum)[dim / 2], const std::uint32_t (&weights)[keys / 4],
    const __half (&v)[dim / panel][keys][panel]) {
#pragma unroll
    for (int k = 0; k < keys; k += 16) {
        add_product<Along::columns>(sum, weights + k / 4, columns_of(&v[0][k][0], sizeof v[0]));
    }
    products_end();
}

// One softmax that goes on over tiles, of the two rows of a thread: what is known so far.
struct Softmax {
    float top[2] = {-1e30f, -1e30f}, total[2] = {0, 0};

    // Scores become weights; `keep` is what earlier sums are worth beside them.
    [[maybe_unused]] __device__ __forceinline__ void add(float (&s)[keys / 2], float (&keep)[2]) {
        float best[2] = {top[0], top[1]};
#pragma unroll
        for (int i = 0; i < keys / 2; ++i) {
            best[i / 2 % 2] = fmaxf(best[i / 2 % 2], s[i]);
        }
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            best[r] = max_over_quad(best[r]);
            keep[r] = power_of_two(top[r] - best[r]);
            top[r] = best[r];
            total[r] *= keep[r];
        }
#pragma unroll
        for (int i = 0; i < keys / 2; ++i) {
            s[i] = power_of_two(s[i] - top[i / 2 % 2]);
            total[i / 2 % 2] += s[i];
        }
    }
};

// Keys that a row must not see count as nothing. first: of the tile.
[[maybe_unused]] __device__ __forceinline__ void mask(float (&s)[keys / 2], const Reach& reach,
                                                      int first, int row) {
    const int warp_begin = row / 16 * 16;
    if (reach.window == 0 && first + keys <= reach.position + reach.first_token + warp_begin + 1) {
        return;
    }
    const int t = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
    for (int i = 0; i < keys / 2; ++i) {
        const int key = first + 8 * (i / 4) + 2 * t + i % 2;
        const int at = reach.position + reach.first_token + row + (i / 2 % 2) * 8;
        const bool seen = key <= at && (reach.window == 0 || key > at - reach.window);
        s[i] = seen ? s[i] : -INFINITY;
    }
}

[[maybe_unused]] __device__ __forceinline__ void pack_weights(const float (&s)[keys / 2],
                                                              std::uint32_t (&p)[keys / 4]) {
#pragma unroll
    for (int i = 0; i < keys / 4; ++i) {
        p[i] = pack_halves(s[2 * i], s[2 * i + 1]);
    }
}

[[maybe_unused]] __device__ __forceinline__ Reach reach_of(const AttentionCall& call) {
    Reach reach;
    reach.tokens = static_cast<int>(call.stretch.tokens);
    reach.position = *call.stretch.position;
    reach.window = static_cast<int>(call.shape.window);
    // Heavy tiles first.
    reach.first_token = static_cast<int>(gridDim.y - 1 - blockIdx.y) * queries;
    reach.end = reach.position + min(reach.tokens, reach.first_token + queries);
    const int oldest = reach.position + reach.first_token + 1 - reach.window;
    reach.begin = reach.window > 0 ? max(0, oldest) / keys * keys : 0;
    return reach;
}

template <int dim>
__global__ void __launch_bounds__(threads, 1)
    hopper_attention_kernel(const __grid_constant__ Maps maps, AttentionCall call) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    extern __shared__ unsigned char raw[];
    __shared__ std::uint64_t k_full[stages], k_empty[stages], v_full[stages], v_empty[stages];
    auto& tiles = *reinterpret_cast<Tiles<dim>*>(raw + (1024 - shared_address(raw) % 1024) % 1024);
    const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    const int head = static_cast<int>(blockIdx.x);
    const int per_kv = static_cast<int>(call.shape.heads / call.shape.kv_heads);
    const Reach reach = reach_of(call);
    const int steps = (reach.end - reach.begin + keys - 1) / keys;
    if (threadIdx.x == 0) {
        for (int s = 0; s < stages; ++s) {
            barrier_init(&k_full[s], 1);
            barrier_init(&v_full[s], 1);
            barrier_init(&k_empty[s], consumer_warps);
            barrier_init(&v_empty[s], consumer_warps);
        }
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
        asm volatile("fence.proxy.async;" ::: "memory");
    }
    __syncthreads();
    // 1. A warp of the last warpgroup brings keys and values.
    if (warp >= consumer_warps) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(copying_registers));
        const int kv_head = static_cast<int>(blockIdx.z * call.shape.kv_heads) + head / per_kv;
        const int row = kv_head * static_cast<int>(call.kv.head_stride / dim) + reach.begin;
        const auto bring = [&](__half(&to)[dim / panel][keys][panel], const CUtensorMap* map, int i,
                               std::uint64_t* full, std::uint64_t* empty) {
            barrier_wait(empty, 1 - i / stages % 2);
            barrier_expect(full, sizeof to);
            for (int d = 0; d < dim / panel; ++d) {
                copy_tile(to[d], map, d * panel, row + i * keys, full);
            }
        };
        for (int i = 0; threadIdx.x == consumers && i < steps; ++i) {
            const int s = i % stages;
            bring(tiles.k[s], &maps.k, i, &k_full[s], &k_empty[s]);
            bring(tiles.v[s], &maps.v, i, &v_full[s], &v_empty[s]);
        }
        return;
    }
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(multiplying_registers));
    const int group = warp / 4, row = 16 * warp + lane / 4;  // and 8 rows on
    const auto leave = [&](std::uint64_t* empty) {
        if (lane == 0) {
            barrier_arrive(empty);
        }
    };
    load_queries(tiles, call, reach, head);
    // 2. Scores of the first tile.
    float s[keys / 2], out[dim / 2] = {}, keep[2];
    std::uint32_t weights[keys / 4];
    Softmax softmax;
    barrier_wait(&k_full[0], 0);
    products_begin();
    multiply_keys<dim>(s, tiles.q, tiles.k[0], group);
    products_wait<0>();
    settle(s);
    leave(&k_empty[0]);
    mask(s, reach, reach.begin, row);
    softmax.add(s, keep);
    pack_weights(s, weights);
    settle(out);
    // 3. Scores of a tile while the values of the one before are added up.
    for (int i = 1; i < steps; ++i) {
        const int now = i % stages, before = (i - 1) % stages;
        settle(weights);
        barrier_wait(&k_full[now], i / stages % 2);
        products_begin();
        multiply_keys<dim>(s, tiles.q, tiles.k[now], group);
        barrier_wait(&v_full[before], (i - 1) / stages % 2);
        products_begin();
        multiply_values<dim>(out, weights, tiles.v[before]);
        products_wait<1>();
        settle(s);
        leave(&k_empty[now]);
        mask(s, reach, reach.begin + i * keys, row);
        softmax.add(s, keep);
        products_wait<0>();
        settle(out);
        settle(weights);
        leave(&v_empty[before]);
#pragma unroll
        for (int j = 0; j < dim / 2; ++j) {
            out[j] *= keep[j / 2 % 2];
        }
        pack_weights(s, weights);
    }
    // 4. Values of the last tile, which may reach beyond what has been written.
    const int last = steps - 1;
    barrier_wait(&v_full[last % stages], last / stages % 2);
    clear_unwritten<dim>(tiles.v[last % stages],
                         reach.position + reach.tokens - (reach.begin + last * keys));
    settle(out);
    settle(weights);
    products_begin();
    multiply_values<dim>(out, weights, tiles.v[last % stages]);
    products_wait<0>();
    settle(out);
    // 5. Results.
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        const float total = sum_over_quad(softmax.total[r]);
        const int token = reach.first_token + row + 8 * r;
        const std::int64_t to = static_cast<std::int64_t>(blockIdx.z) * reach.tokens + token;
        const float share = 1.0f / total;
        if (token < reach.tokens) {
#pragma unroll
            for (int j = 0; j < dim / 8; ++j) {
                const std::int64_t at = head * dim + 8 * j + 2 * (lane % 4);
                alignas(8) const float pair[2] = {out[4 * j + 2 * r] * share,
                                                  out[4 * j + 2 * r + 1] * share};
                store_run(call.out, to, at, pair);
            }
        }
    }
#else
    asm volatile("trap;");  // built for sm_90 without its own instructions: a fault
#endif
}

template <int dim>
cudaError_t launch(const AttentionCall& call, cudaStream_t stream) {
    const std::int64_t rows =
        call.stretch.sequences * call.shape.kv_heads * (call.kv.head_stride / dim);
    const std::int64_t before_values =
        (static_cast<const __half*>(call.kv.values) - static_cast<const __half*>(call.kv.keys)) /
        dim;
    Maps maps;
    const TiledMatrix k{call.kv.keys, TileElement::half, rows, dim, keys};
    const TiledMatrix v{call.kv.values, TileElement::half, rows - before_values, dim, keys};
    if (!map_tiles(k, &maps.k) || !map_tiles(v, &maps.v)) {
        return cudaErrorInvalidValue;
    }
    constexpr int bytes = sizeof(Tiles<dim>) + 1024;
    if (const cudaError_t error = cudaFuncSetAttribute(
            hopper_attention_kernel<dim>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
        error != cudaSuccess) {
        return error;
    }
    const dim3 grid(static_cast<unsigned>(call.shape.heads),
                    static_cast<unsigned>((call.stretch.tokens + queries - 1) / queries),
                    static_cast<unsigned>(call.stretch.sequences));
    hopper_attention_kernel<dim><<<grid, threads, bytes, stream>>>(maps, call);
    return cudaGetLastError();
}

}  // namespace

bool hopper_attends(const AttentionCall& call) {
    const std::int64_t dim = call.shape.head_dim;
    return call.compute_capability == 90 && call.kv.type == KvType::f16 &&
           (dim == 64 || dim == 128) && call.stretch.tokens >= least_tokens && has_tile_maps();
}

cudaError_t attend_hopper(const AttentionCall& call, cudaStream_t stream) {
    return call.shape.head_dim == 64 ? launch<64>(call, stream) : launch<128>(call, stream);
}

}  // namespace bitsweep::device
