#include "worker/inference/engine.h"

#include <algorithm>

#include "worker/inference/engine_parts.h"
#include "worker/inference/models/ops.h"

namespace bitsweep {
namespace {

// Logits that score() holds at once.
constexpr std::int64_t score_logits_bytes = std::int64_t{64} << 20;

Status check_options(const ModelConfig& config, const EngineOptions& options) {
    const auto refuse = [&config](const std::string& what) {
        return make_error(ErrorCode::invalid_input, config.name + ": " + what);
    };
    if (options.batch < 1 || options.threads < 1 || options.prefill_rows < 1) {
        return refuse("batch, threads and prefill rows must be at least 1");
    }
    if (options.context < 1 || options.context > config.positions) {
        return refuse("a context of " + std::to_string(options.context) +
                      " positions; this model takes 1 to " + std::to_string(config.positions));
    }
    if (options.head_bits != 16 && options.head_bits != 8 && options.head_bits != 4) {
        return refuse("head bits " + std::to_string(options.head_bits) + "; known: 16, 8, 4");
    }
    if (config.head_dim > max_head_dim) {
        return make_error(ErrorCode::unsupported, config.name + ": heads of " +
                                                      std::to_string(config.head_dim) +
                                                      " dimensions; attention here takes at most " +
                                                      std::to_string(max_head_dim));
    }
    // Row counts and offsets are 64-bit, but no machine holds more rows than this.
    if (options.batch > (std::int64_t{1} << 20)) {
        return refuse("a batch of " + std::to_string(options.batch) + "; at most 1048576");
    }
    return {};
}

}  // namespace

Status check_calibration(const ModelFiles& files, const EngineOptions& options) {
    const MethodId& method = options.method;
    const bool needed = method_row(method).calibrates && files.format != "random";
    if (needed && files.calibrated_for != method.text) {
        return make_error(ErrorCode::invalid_input,
                          files.config.name + ": " + method.text +
                              " needs a calibration on a text: run it as a job, or with "
                              "`bitsweep-runner perplexity`");
    }
    return {};
}

std::int64_t score_logits_rows(const ModelConfig& config) {
    return std::max(score_logits_bytes / (4 * config.vocabulary), std::int64_t{16});
}

Status check_ids(const ModelConfig& config, std::span<const std::int32_t> ids,
                 std::int64_t sequences, std::int64_t tokens) {
    if (tokens < 1 || static_cast<std::int64_t>(ids.size()) != sequences * tokens) {
        return make_error(ErrorCode::invalid_input,
                          config.name + ": " + std::to_string(ids.size()) + " token ids for " +
                              std::to_string(sequences) + " sequences of " +
                              std::to_string(tokens) + " tokens");
    }
    for (const std::int32_t id : ids) {
        if (id < 0 || id >= config.vocabulary) {
            return make_error(ErrorCode::invalid_input, config.name + ": token id " +
                                                            std::to_string(id) +
                                                            " is outside the vocabulary, 0 to " +
                                                            std::to_string(config.vocabulary - 1));
        }
    }
    return {};
}

Status check_logits(const ModelConfig& config, const EngineOptions& options, const float* logits,
                    std::int64_t rows, std::int64_t position) {
    for (std::int64_t row = 0; row < rows; ++row) {
        if (!ops().all_finite(logits + row * config.vocabulary, config.vocabulary)) {
            return make_error(ErrorCode::invalid_numbers,
                              config.name + ", " + options.method.text + ": logits at position " +
                                  std::to_string(position + row) +
                                  " hold NaN or infinity; a value left the range of its type");
        }
    }
    return {};
}

Status check_room(const ModelConfig& config, const EngineOptions& options, std::int64_t position,
                  std::int64_t tokens) {
    if (position + tokens > options.context) {
        return make_error(ErrorCode::invalid_input,
                          config.name + ": " + std::to_string(position) + " + " +
                              std::to_string(tokens) + " tokens exceed the " +
                              std::to_string(options.context) +
                              " positions reserved; ask for a longer context");
    }
    return {};
}

Status check_window(const ModelConfig& config, std::int64_t tokens) {
    if (tokens > config.positions) {
        return make_error(ErrorCode::invalid_input,
                          config.name + ": a window of " + std::to_string(tokens) +
                              " tokens exceeds the model's " + std::to_string(config.positions) +
                              " positions; use a shorter window");
    }
    return {};
}

void prepare_clock(const Decoder& decoder, LayerClock& clock) {
    clock.layers.clear();
    for (const LinearInput& input : decoder.linear_inputs) {
        clock.layers.push_back({input.name, 0, {}});
    }
    const auto note = [&](const Projection& projection) {
        clock.layers[projection.index].bytes = projection.bytes_per_call();
    };
    for (const DecoderLayer& layer : decoder.layers) {
        for (const Projection* linear : {&layer.qkv, &layer.o, &layer.up, &layer.down}) {
            note(*linear);
        }
    }
    for (const auto* projection : {&decoder.project_in, &decoder.project_out}) {
        if (*projection) {
            note(**projection);
        }
    }
    note(decoder.embeddings.head);
}

std::uint64_t step_bytes(const Decoder& decoder, const KvCache& kv, std::int64_t batch,
                         std::int64_t context) {
    const std::uint64_t per_key =
        kv.bytes_per_position() / static_cast<std::uint64_t>(kv.shape().layers);
    return decoder.bytes_per_token() +
           static_cast<std::uint64_t>(batch) *
               static_cast<std::uint64_t>(decoder.keys_per_token(context)) * per_key;
}

Status score_recorded(const Decoder& decoder, double threshold,
                      std::vector<LayerOutliers>* outliers,
                      const std::function<Status(std::vector<OutlierRecorder>*)>& score) {
    if (outliers == nullptr) {
        return score(nullptr);
    }
    std::vector<OutlierRecorder> recorders;
    for (const LinearInput& input : decoder.linear_inputs) {
        recorders.emplace_back(threshold, input.in_features);
    }
    TRY(score(&recorders));
    outliers->clear();
    for (std::size_t i = 0; i < recorders.size(); ++i) {
        outliers->push_back(recorders[i].report(decoder.linear_inputs[i].name));
    }
    return {};
}

Result<std::unique_ptr<Engine>> load_engine(const ModelFiles& files, const EngineOptions& options,
                                            LoadTrace* load) {
    EngineOptions exact = options;
    const bool cpu = options.device == "cpu";
    if (exact.prefill_rows == 0) {
        exact.prefill_rows = cpu ? cpu_prefill_rows : card_prefill_rows;
    }
    TRY(check_options(files.config, exact));
    TRY(check_calibration(files, exact));
    return cpu ? load_cpu_engine(files, exact, load) : load_cuda_engine(files, exact, load);
}

}  // namespace bitsweep
