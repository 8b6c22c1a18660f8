// The forward pass of a Decoder whose parts lie on a CUDA device. decoder.cpp is its specification.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "schemas/status.h"
#include "worker/inference/kv_cache.h"
#include "worker/inference/models/cuda/device_ops.h"
#include "worker/inference/models/decoder.h"

namespace bitsweep {

// Cosines and sines [positions][head_dim / 2], as the CPU computes them; null without RoPE.
struct DeviceAngles {
    std::unique_ptr<Buffer> buffer;
    const float* cos = nullptr;
    const float* sin = nullptr;

    static Result<DeviceAngles> create(Backend& backend, const Decoder& decoder,
                                       std::int64_t positions);
};

struct DeviceRowCounts {
    std::int64_t rows = 1;     // most of one pass
    std::int64_t batch = 1;    // sequences of a decode step
    std::int64_t context = 1;  // positions of the cache
};

// What linear layers read, once in each type that one of them wants: layers of a policy may differ.
// Each type has rows of its own, because what lies behind a row's end must stay zero.
class LayerInput {
 public:
    device::Rows& of(InputType type) { return rows_[static_cast<std::size_t>(type)]; }
    // As `projection` reads them; one that was planned for (DeviceActivations::create).
    const device::Rows& of(const Projection& projection) const;

 private:
    std::array<device::Rows, 3> rows_;  // by InputType; data null: nobody reads that type
};

// The buffers of one forward pass over at most `rows` rows.
struct DeviceActivations {
    std::int64_t rows = 0;
    float* x = nullptr;    // residual stream [rows, width]
    float* e = nullptr;    // [rows, max(width, embed_width)]
    float* qkv = nullptr;  // [rows, q + 2 kv]
    float* q = nullptr;    // [rows, q]
    float* mlp = nullptr;  // [rows, ffn], or [rows, 2 ffn] with a gate
    LayerInput in_width, in_attention, in_mlp, in_embed, in_head;
    float* partial = nullptr;  // of the attention's splits
    std::int64_t splits = 1;
    std::int64_t partial_rows = 0;  // most rows whose attention may be split
    static constexpr std::int64_t ids_offset = 64;
    std::int32_t* position = nullptr;  // [1]
    std::int32_t* ids = nullptr;       // [rows], ids_offset elements behind position
    std::int32_t* position_ids = nullptr;
    std::unique_ptr<Buffer> buffer;

    static Result<DeviceActivations> create(CudaBackend& backend, const ModelConfig& config,
                                            const Decoder& decoder, const DeviceRowCounts& counts);
};

// What one forward pass works with; owned by the engine.
struct DevicePass {
    CudaBackend& backend;
    Workspace& workspace;
    const KvCache& kv;  // on the device
    const DeviceAngles& angles;
    const DeviceActivations& act;
    // One recorder for each Projection (by its index), or null. Recording waits for the device.
    std::vector<OutlierRecorder>* outliers = nullptr;
    std::int32_t* too_many = nullptr;  // DeviceCall::too_many of every layer
    // Told on the stream before (2 x Projection::index) and behind (one more) each product; or
    // null.
    const std::function<Status(std::int64_t)>* mark = nullptr;
    // Of norms, attention and gates behind the products. Early: only kernels are queued, without
    // marks.
    device::Follow follow = device::Follow::complete;
};

// Embeds act.ids and runs every layer at *act.position; the residual rows stay in act.x.
Status run_decoder(const Decoder& decoder, const DevicePass& pass, std::int64_t sequences,
                   std::int64_t tokens);

// Final norm and head: residual rows x [rows, width] -> out [rows, vocabulary] on the device.
// x may be act.x or act.e.
Status decoder_logits(const Decoder& decoder, const DevicePass& pass, const float* x,
                      std::int64_t rows, float* out);

// Whether a pass over so many rows only queues work, so that a CUDA graph may hold it.
bool queues_only(const Decoder& decoder, std::int64_t rows);

}  // namespace bitsweep
