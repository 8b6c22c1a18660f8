// Everything between two weight products on a CUDA device. Pointers are device pointers, work is
// queued on `stream`, the position is data, so that a captured graph serves every step. The CPU's
// ops.h and layers.h are the specification; the residual stream is float32.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "worker/inference/config.h"
#include "worker/inference/models/layers.h"
#include "worker/inference/quant/shared/device_linear.h"

namespace bitsweep::device {

// Rows that a linear layer will read: [rows][stride] of `type`; elements beyond the width stay
// zero.
struct Rows {
    void* data = nullptr;
    std::int64_t stride = 0;
    InputType type = InputType::f16;
};

// A forward pass over `sequences` equal stretches of `tokens`; row = sequence * tokens + token.
struct Stretch {
    std::int64_t sequences = 1;
    std::int64_t tokens = 1;
    const std::int32_t* position = nullptr;  // [1] of the first token of every sequence
    std::int64_t rows() const { return sequences * tokens; }
};

// How a kernel follows what is queued before it. `early`: its blocks may take their places, and
// read what no kernel of this pass writes, before the kernel ahead is done. That one must be a
// kernel.
enum class Follow { complete, early };

// ids[row] = position of the row + offset.
cudaError_t position_ids(const Stretch& stretch, std::int64_t offset, std::int32_t* ids,
                         cudaStream_t stream);

// x += y, [count].
cudaError_t add(float* x, const float* y, std::int64_t count, cudaStream_t stream);

// norm(x) into `typed` (data null: not wanted) and `same` (null: not wanted; may be x).
struct NormCall {
    Norm::Kind kind = Norm::Kind::rms;
    const float* weight = nullptr;  // with a layer norm's bias behind it; null: plain
    double eps = 1e-5;
    const float* x = nullptr;  // [rows][width]
    std::int64_t rows = 0;
    std::int64_t width = 0;
    Rows typed;
    float* same = nullptr;
    Follow follow = Follow::complete;
};
cudaError_t norm(const NormCall& call, cudaStream_t stream);

// x [rows][width] as a layer reads it.
cudaError_t convert(const float* x, std::int64_t rows, std::int64_t width, const Rows& to,
                    cudaStream_t stream);

// One layer's keys and values: [position][head_dim] of each head, heads of one sequence after
// another `head_stride` elements apart.
struct KvLayer {
    void* keys = nullptr;
    void* values = nullptr;
    std::int64_t head_stride = 0;
    KvType type = KvType::f16;
    float* key_scales = nullptr;  // of i8: [position] of each head, `scale_stride` apart
    float* value_scales = nullptr;
    std::int64_t scale_stride = 0;
};

struct AttentionCall {
    AttentionShape shape;
    Stretch stretch;
    KvLayer kv;
    float* q = nullptr;          // [rows][heads * head_dim]
    Rows out;                    // [rows][heads * head_dim]
    float* partial = nullptr;    // [rows][heads][splits][head_dim + 2]; null: one split
    std::int64_t splits = 1;     // most of them
    int compute_capability = 0;  // of the card, 90: 9.0
    Follow follow = Follow::complete;
};

// What the product of q, k and v left: rows [rows][(heads + 2 kv_heads) * head_dim].
struct QkvRows {
    const float* rows = nullptr;
    bool paired = false;         // RowOrder::head_halves
    const float* cos = nullptr;  // [positions][head_dim / 2], and sin; null: no rotation
    const float* sin = nullptr;
};

// qkv -> call.q and the cache, in the order of the files.
cudaError_t store_qkv(const AttentionCall& call, const QkvRows& qkv, cudaStream_t stream);

// Attention of call.q over the cache. head_dim <= max_device_head_dim.
inline constexpr std::int64_t max_device_head_dim = 256;
cudaError_t attend(const AttentionCall& call, cudaStream_t stream);

// Both; one kernel where a step decodes from halves, which leaves call.q alone.
cudaError_t store_and_attend(const AttentionCall& call, const QkvRows& qkv, cudaStream_t stream);

// act(y) -> to, y [rows][width].
cudaError_t activate(Activation activation, const float* y, std::int64_t rows, std::int64_t width,
                     const Rows& to, cudaStream_t stream);

// act(gate) * up -> to, y [rows][2 width]: pairs (gate, up), or all gates and then all ups.
cudaError_t gate(Activation activation, const float* y, bool paired, std::int64_t rows,
                 std::int64_t width, const Rows& to, cudaStream_t stream,
                 Follow follow = Follow::complete);

// y[i] = x[(i + 1) * tokens - 1]: the last row of each sequence.
cudaError_t last_rows(const float* x, const Stretch& stretch, std::int64_t width, float* y,
                      cudaStream_t stream);

// What the blocks of a row share: zero before the first argmax, which leaves zeros behind.
struct ArgmaxState {
    unsigned long long best;
    unsigned arrived;
};

// ids[row] = the smallest index among the largest of logits [rows][vocabulary], 0 where all are
// NaN; *not_finite becomes 1 where one of them is NaN or infinite. states [rows].
cudaError_t argmax(const float* logits, std::int64_t rows, std::int64_t vocabulary,
                   ArgmaxState* states, std::int32_t* ids, std::int32_t* not_finite,
                   cudaStream_t stream);

// ++*position, ids = chosen [rows].
cudaError_t advance(std::int32_t* position, std::int32_t* ids, const std::int32_t* chosen,
                    std::int64_t rows, cudaStream_t stream);

}  // namespace bitsweep::device
