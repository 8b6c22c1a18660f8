#include "worker/inference/backend/cpu/gemm.h"

#include <ATen/Parallel.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/mm.h>
#include <c10/core/InferenceMode.h>

#include <atomic>

#include "schemas/status.h"

namespace bitsweep {
namespace {

std::atomic<int> gemm_threads{1};

// torch keeps MKL's thread count per calling thread: a pool worker that was never told would start
// an OpenMP team of its own for every product.
void tell_torch() {
    thread_local int told = 0;
    const int wanted = gemm_threads.load(std::memory_order_relaxed);
    if (told != wanted) {
        at::set_num_threads(wanted);
        told = wanted;
    }
}

}  // namespace

void gemm_f32(const float* x, const float* w, float* y, std::int64_t rows, std::int64_t out,
              std::int64_t in, std::int64_t ldy) {
    ASSERT(ldy >= out);
    if (rows == 0 || out == 0) {
        return;
    }
    tell_torch();
    const c10::InferenceMode no_autograd;
    // from_blob wants mutable pointers; mm reads its operands only.
    const at::Tensor left = at::from_blob(const_cast<float*>(x), {rows, in}, at::kFloat);
    const at::Tensor right = at::from_blob(const_cast<float*>(w), {out, in}, at::kFloat);
    at::Tensor result = at::from_blob(y, {rows, out}, {ldy, 1}, at::kFloat);
    at::mm_out(result, left, right.t());
}

namespace {

struct SplitGemm {
    const float* x;
    const float* w;
    float* y;
    std::int64_t rows;
    std::int64_t in;
    std::int64_t ldy;
};

}  // namespace

void gemm_f32(ThreadPool& pool, const float* x, const float* w, float* y, std::int64_t rows,
              std::int64_t out, std::int64_t in, std::int64_t ldy) {
    const SplitGemm job{x, w, y, rows, in, ldy};
    // Multiples of 48 columns keep MKL's micro-kernels (16 x N) whole.
    pool.parallel_for(out, 48, [&job](std::int64_t begin, std::int64_t end) {
        gemm_f32(job.x, job.w + begin * job.in, job.y + begin, job.rows, end - begin, job.in,
                 job.ldy);
    });
}

void set_gemm_threads(int threads) {
    ASSERT(threads >= 1);
    gemm_threads.store(threads, std::memory_order_relaxed);
}

}  // namespace bitsweep
