// What the engines of all devices share: checks with their words, and the loaders that load_engine
// chooses from.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "schemas/status.h"
#include "worker/inference/engine.h"
#include "worker/inference/kv_cache.h"
#include "worker/inference/models/decoder.h"

namespace bitsweep {

// Both expect options that load_engine has checked.
Result<std::unique_ptr<Engine>> load_cpu_engine(const ModelFiles& files,
                                                const EngineOptions& options, LoadTrace* load);
// unsupported where this build or machine has no such device.
Result<std::unique_ptr<Engine>> load_cuda_engine(const ModelFiles& files,
                                                 const EngineOptions& options, LoadTrace* load);

// Rows of logits that score() holds at once: at most 64 MiB, at least 16 rows. A head that is
// dequantised tile by tile wants many rows for each tile (schemas/catalog/memory.cpp counts it).
std::int64_t score_logits_rows(const ModelConfig& config);

// invalid_input: not sequences x tokens ids, or ids outside the vocabulary.
Status check_ids(const ModelConfig& config, std::span<const std::int32_t> ids,
                 std::int64_t sequences, std::int64_t tokens);
// invalid_input: more positions than the options reserve.
Status check_room(const ModelConfig& config, const EngineOptions& options, std::int64_t position,
                  std::int64_t tokens);
// invalid_input: more than the model has positions.
Status check_window(const ModelConfig& config, std::int64_t tokens);
// invalid_numbers: rows of logits, the first at `position`, that are not finite.
Status check_logits(const ModelConfig& config, const EngineOptions& options, const float* logits,
                    std::int64_t rows, std::int64_t position);

// Names and bytes of the clock's layers, every linear layer of the decoder; no times yet.
void prepare_clock(const Decoder& decoder, LayerClock& clock);

// Engine::bytes_per_token of a decoder and its cache.
std::uint64_t step_bytes(const Decoder& decoder, const KvCache& kv, std::int64_t batch,
                         std::int64_t context);

// Calls score with a recorder for each linear input and reports what they saw in `outliers`; with
// null where nobody asked.
Status score_recorded(const Decoder& decoder, double threshold,
                      std::vector<LayerOutliers>* outliers,
                      const std::function<Status(std::vector<OutlierRecorder>*)>& score);

}  // namespace bitsweep
