// The weight queue: every lane keeps its own next 16-byte chunks in flight (cp.async into shared
// memory), in the fixed order of the program. Weights do not depend on activations, so the queue
// runs ahead over stage and token boundaries while the lanes wait for inputs.
#pragma once

#include <cstdint>

#include "worker/inference/backend/cuda/async_copy.cuh"
#include "worker/inference/decode/program.h"
#include "worker/inference/decode/stream_kernel.h"

namespace bitsweep::decode {

inline constexpr int stream_warps = stream_threads / 32;
inline constexpr int step_chunks = 32 * stream_chunks;  // of a row, that a warp takes at a step
inline constexpr int step_columns = 16 * step_chunks;   // inputs of a step at 8 bits

// What the producer needs of a product; a whole model's list lies in shared memory.
struct Feed {
    const std::uint8_t* codes;
    const std::uint8_t* scales;  // group scales; null: none streamed
    std::int32_t rows;
    std::int32_t row_chunks;
    std::int32_t rows_per_unit;  // 1 or 2
    std::int32_t first_warp;     // which warp of the grid takes unit 0, so that remainders even out
    std::int32_t scale_bytes;    // 2 (half) or 4 (float) per group; 0: no group scales
    std::int32_t scale_shift;    // log2 of chunks per scale
    std::int32_t scales_per_row;
    const float* row_scales;  // one float a row, or null
    const float* bias;        // one float a row, or null
};

// Shared memory of a block, in this order. The first four parts have fixed places, so that their
// addresses cost no register.
extern __shared__ __align__(128) std::uint8_t stream_memory[];

struct Layout {
    static constexpr std::size_t scale_ring = stream_depth * stream_chunks * stream_threads * 16;
    static constexpr std::size_t row_ring =
        scale_ring + stream_depth * stream_chunks * stream_threads * 4;
    static constexpr std::size_t scratch = row_ring + stream_depth * stream_warps * 8;
    static constexpr std::size_t x = scratch + 256;

    // Room for the inputs: halves, or 8-bit codes and what of them are outliers (OutlierInputs).
    static __host__ __device__ std::size_t outlier_values(const Program& p) {
        return x + (p.max_in_features + 63) / 16 * 16;
    }
    static __host__ __device__ std::size_t outlier_columns(const Program& p) {
        return outlier_values(p) + (p.max_in_features + 15) / 16 * 32;
    }
    static __host__ __device__ std::size_t outlier_bits(const Program& p) {
        return outlier_columns(p) + steps_of(p) * step_columns * 2;
    }
    static __host__ __device__ std::size_t outlier_counts(const Program& p) {
        return outlier_bits(p) + steps_of(p) * step_columns / 8;
    }
    static __host__ __device__ std::size_t steps_of(const Program& p) {
        return (static_cast<std::size_t>(p.max_in_features) + step_columns - 1) / step_columns;
    }
    static __host__ __device__ std::size_t head_sums(const Program& p) {
        const std::size_t n = static_cast<std::size_t>(p.max_in_features);
        return p.outliers ? (outlier_counts(p) + steps_of(p) * 4 + 63) / 64 * 64
                          : x + (n * 2 + 63) / 64 * 64 + 512;
    }
    static __host__ __device__ std::size_t feeds(const Program& p) {
        return head_sums(p) + stream_warps * (p.head_dim + 2) * sizeof(float);
    }
    static __host__ __device__ std::size_t lut(const Program& p) {
        return (feeds(p) + p.stage_count * sizeof(Feed) + 15) / 16 * 16;
    }
    static __host__ __device__ std::size_t end(const Program& p, bool has_lut) {
        return lut(p) + (has_lut ? 256 * 32 * sizeof(std::uint32_t) : 0);
    }
};

template <class T>
__device__ __forceinline__ T* shared_at(std::size_t offset) {
    return reinterpret_cast<T*>(stream_memory + offset);
}
__device__ __forceinline__ uint4* ring() {
    return shared_at<uint4>(0);
}  // [depth][chunks][threads]
__device__ __forceinline__ std::uint32_t* scale_ring() {  // [depth][chunks][threads] group scales
    return shared_at<std::uint32_t>(Layout::scale_ring);
}
__device__ __forceinline__ float* row_ring() {  // [depth][warps][2] scale and bias of a row
    return shared_at<float>(Layout::row_ring);
}
__device__ __forceinline__ float* scratch() {
    return shared_at<float>(Layout::scratch);
}  // [64]
__device__ __forceinline__ int* any_outlier() {
    return shared_at<int>(Layout::scratch) + 63;
}
__device__ __forceinline__ uint4* x_words() {
    return shared_at<uint4>(Layout::x);
}

// Where block 0's time goes: appends (clock, mark) pairs when a buffer is given.
__device__ __forceinline__ void stamp(const Program& p, std::uint64_t mark) {
    if (p.stamps != nullptr && blockIdx.x == 0 && threadIdx.x == 0) {
        const std::uint64_t at = p.stamps[0]++;
        if (at < 4000) {
            p.stamps[1 + at] = static_cast<std::uint64_t>(clock64()) << 8 | mark;
        }
    }
}

__device__ __forceinline__ int grid_warps() {
    return gridDim.x * stream_warps;
}

// The first unit of a warp of this block, at or beyond the number of units when it has none. A
// warp's later ones are grid_warps() apart.
__device__ __forceinline__ int first_unit(const Feed& feed, int warp) {
    const int unit = blockIdx.x * stream_warps + warp - feed.first_warp;
    return unit < 0 ? unit + grid_warps() : unit;
}

__device__ __forceinline__ int units_of(const Feed& feed) {
    return feed.rows >> (feed.rows_per_unit - 1);
}

// The producer half of a lane: walks the program's chunks in order, `stream_depth` steps ahead.
// What it does at every step is a fifth of the kernel's instructions at 4 bits, so it only adds:
// products belong to the beginning of a feed.
struct Producer {
    const Feed* feeds;
    int gemvs;        // feeds in the list
    int tokens_left;  // tokens still to stream
    int feed = 0;
    int units_left = 0;  // of this warp in the feed, the present one included
    int rows_left = 0;   // of the unit, the present one included
    int steps_left = 0;  // of the row; 0: all is streamed
    int left = 0;        // chunks of this row from this lane's next one on; <= 0: none
    bool first_step = true;
    const std::uint8_t* next = nullptr;   // this lane's next chunk
    const std::uint8_t* scale = nullptr;  // its group's scale
    int scale_step = 0;                   // bytes of scales in a step; 0: none
    const float* constant = nullptr;      // lanes 0 and 1: the row's scale and bias, or null

    __device__ __forceinline__ void open_feed() {
        const int lane = threadIdx.x % 32;
        for (;; ++feed) {
            if (feed == gemvs) {
                feed = 0;
                if (--tokens_left <= 0) {
                    return;
                }
            }
            const Feed& f = feeds[feed];
            const int unit = first_unit(f, threadIdx.x / 32), units = units_of(f);
            if (unit >= units) {
                continue;
            }
            units_left = (units - 1 - unit) / grid_warps() + 1;
            const std::int64_t row = unit * f.rows_per_unit;
            next = f.codes + (row * f.row_chunks + lane) * 16;
            scale_step = (step_chunks >> f.scale_shift) * f.scale_bytes;
            scale = f.scales + (row * f.scales_per_row + (lane >> f.scale_shift)) * f.scale_bytes;
            constant = lane == 0 ? f.row_scales : lane == 1 ? f.bias : nullptr;
            constant += constant != nullptr ? row : 0;
            rows_left = f.rows_per_unit;
            open_row(f);
            return;
        }
    }

    __device__ __forceinline__ void open_row(const Feed& f) {
        steps_left = (f.row_chunks + step_chunks - 1) / step_chunks;
        left = f.row_chunks - static_cast<int>(threadIdx.x % 32);
        first_step = true;
    }

    __device__ __forceinline__ void next_row() {
        const Feed& f = feeds[feed];
        int rows = 1;
        if (--rows_left == 0) {
            if (--units_left == 0) {
                ++feed;
                open_feed();
                return;
            }
            rows_left = f.rows_per_unit;
            rows += (grid_warps() - 1) * f.rows_per_unit;
        }
        open_row(f);
        next += static_cast<std::int64_t>(rows) * f.row_chunks * 16 - steps_left * step_chunks * 16;
        scale += rows * f.scales_per_row * f.scale_bytes - steps_left * scale_step;
        constant += constant != nullptr ? rows : 0;
    }

    // Group scales of the chunks of one step lie an even number of scales apart (groups of at most
    // 512 weights), so the half of a word that a lane needs is the same along a row.
    __device__ __forceinline__ void issue(int slot) {
        if (steps_left != 0) {
            const int at = slot * stream_chunks * stream_threads + threadIdx.x;
#pragma unroll
            for (int c = 0; c < stream_chunks; ++c) {
                if (left > 32 * c) {
                    device::copy16(&ring()[at + c * stream_threads], next + c * 512);
                    if (scale_step != 0) {
                        const auto word = reinterpret_cast<std::uintptr_t>(
                                              scale + c * (scale_step / stream_chunks)) &
                                          ~std::uintptr_t{3};
                        device::copy4(&scale_ring()[at + c * stream_threads],
                                      reinterpret_cast<const void*>(word));
                    }
                }
            }
            if (first_step && constant != nullptr) {
                device::copy4(
                    &row_ring()[(slot * stream_warps + threadIdx.x / 32) * 2 + threadIdx.x % 32],
                    constant);
            }
            first_step = false;
            next += step_chunks * 16;
            scale += scale_step;
            left -= step_chunks;
            if (--steps_left == 0) {
                next_row();
            }
        }
        device::end_of_copies();
    }
};

}  // namespace bitsweep::decode
