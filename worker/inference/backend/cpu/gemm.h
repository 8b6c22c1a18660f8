// Dense float32 products through libtorch (MKL): the only door from CPU code to torch's GEMM.
#pragma once

#include <cstdint>

#include "worker/inference/backend/cpu/threads.h"

namespace bitsweep {

// y[rows, out] (leading dimension ldy) = x[rows, in] * w[out, in]^T. Overwrites y. Uses as many
// threads as set_gemm_threads said. Exact for integer-valued inputs while every partial sum stays
// below 2^24.
void gemm_f32(const float* x, const float* w, float* y, std::int64_t rows, std::int64_t out,
              std::int64_t in, std::int64_t ldy);

// The same, split by output columns over `pool`, one single-threaded product per pool thread.
// Preferred wherever a pool is at hand: torch's own OpenMP workers keep spinning for milliseconds
// after a product and take the core from the pool's workers. Inside a body of the pool it runs on
// the calling thread alone.
void gemm_f32(ThreadPool& pool, const float* x, const float* w, float* y, std::int64_t rows,
              std::int64_t out, std::int64_t in, std::int64_t ldy);

// Tells torch how many threads one GEMM may use, whichever thread calls it; 1 until told. The
// engine tells it 1 and splits over its pool.
void set_gemm_threads(int threads);

}  // namespace bitsweep
