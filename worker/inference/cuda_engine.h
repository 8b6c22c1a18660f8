// The engine on a CUDA card. Prefill, batches and scoring run layer by layer; a decode step is one
// replayed CUDA graph whose ids and position are data; a single sequence is decoded by the
// streaming kernel where it serves the model (decode/).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "worker/inference/backend/cuda/cuda_backend.h"
#include "worker/inference/decode/stream_decoder.h"
#include "worker/inference/engine.h"
#include "worker/inference/generate.h"
#include "worker/inference/models/cuda/device_decoder.h"
#include "worker/inference/models/loader.h"
#include "worker/inference/step_graph.h"
#include "worker/inference/stream_parts.h"

namespace bitsweep {

class CudaEngine : public Engine, public SequenceGenerator {
 public:
    CudaEngine(const ModelConfig& config, const EngineOptions& options,
               std::unique_ptr<CudaBackend> backend);

    Status load(const WeightSource& weights, LoadTrace* trace);

    void reset() override { position_ = 0; }
    Status forward(std::span<const std::int32_t> ids, std::int64_t tokens,
                   float* last_logits) override;
    Status score(std::span<const std::int32_t> ids, const LogitsSink& sink,
                 std::vector<LayerOutliers>* outliers) override;
    MemoryBytes memory() const override { return backend_->allocated(); }
    std::uint64_t bytes_per_token(std::int64_t context) const override;

    Result<Sequence> generate(const SequencePlan& plan, const TokenSink& sink) override;

 private:
    DevicePass pass() const {
        return {*backend_, workspace_, *kv_, angles_, act_, nullptr, nullptr};
    }
    Status open_stream();
    Status send(const DeviceActivations& act, std::span<const std::int32_t> ids,
                std::int64_t position);
    Status prefill(std::span<const std::int32_t> ids, std::int64_t tokens);
    Status prefill(std::span<const std::int32_t> ids, std::int64_t tokens, const DevicePass& pass);
    // Ids and position on the device -> logits_ and next_ids_ on the device.
    Status step();
    Status step_that_waits();
    // Of the last step; nullopt: not known.
    std::optional<HostWork> step_work() const;
    Status queue_step();
    Status queue_choice();
    Status read_layer_times();
    Status score_all(std::span<const std::int32_t> ids, const LogitsSink& sink,
                     std::vector<OutlierRecorder>* outliers);
    Status score_rows(const DevicePass& pass, std::int64_t first, std::int64_t rows,
                      const Buffer& logits, const LogitsSink& sink);
    Result<Sequence> generate_steps(const SequencePlan& plan, const TokenSink& sink);
    Status run_of_steps(std::int64_t count, Sequence& sequence);

    ModelConfig config_;
    EngineOptions options_;
    std::unique_ptr<CudaBackend> backend_;
    ThreadPool threads_;
    mutable Workspace workspace_;
    Decoder decoder_;
    std::optional<KvCache> kv_;
    DeviceAngles angles_;
    DeviceActivations act_;
    std::unique_ptr<Buffer> logits_;  // [batch, vocabulary]
    std::unique_ptr<Buffer> choice_;  // int32 next ids [batch], then 1 where logits were not finite
    std::unique_ptr<Buffer> choosing_;  // [batch] of the choice between its launches
    std::unique_ptr<Buffer> too_many_;  // int32, DeviceCall::too_many of a prefill
    bool counts_columns_ = false;       // a guess about outlier columns was wrong
    PinnedBlock pinned_;                // ids on their way in, chosen ids on their way out
    std::vector<float> host_logits_;
    StepGraph graph_;
    EventRow layer_events_;            // two for each linear layer, where a clock was given
    std::optional<HostWork> counted_;  // of a step that no graph holds, counted once
    int uncounted_steps_ = 0;
    std::unique_ptr<decode::StreamDecoder> stream_;
    StreamParts stream_parts_;
    std::string why_steps_;  // why the streaming kernel does not decode
    std::int64_t position_ = 0;
};

}  // namespace bitsweep
