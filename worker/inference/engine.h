// Engine: a loaded model on one device. Tokens in, logits out.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "schemas/catalog/layer_methods.h"
#include "schemas/catalog/memory.h"
#include "schemas/catalog/methods.h"
#include "schemas/status.h"
#include "worker/inference/model_files.h"
#include "worker/inference/trace.h"

namespace bitsweep {

// How a device decodes: by the streaming kernel where it serves the model (decode/), or step by
// step with one launch or more for each layer.
enum class DecodePath { automatic, steps };

struct EngineOptions {
    MethodId method;
    std::string device = "cpu";  // or "cuda:N", as CUDA numbers the cards of this process
    double threshold = 0;        // outlier threshold for methods that read it
    int head_bits = 16;  // 16 (fp16; fp32 for method fp32) | 8 (int8 per row) | 4 (int4-g64)
    KvFormat kv = KvFormat::bits16;
    int threads = 1;           // CPU threads, >= 1
    std::int64_t batch = 1;    // sequences held side by side
    std::int64_t context = 0;  // positions reserved per sequence (prompt + new tokens)
    // Most rows (batch x tokens) in one forward; longer inputs are chunked. 0: as many as suit the
    // device (schemas/catalog/memory.h).
    std::int64_t prefill_rows = 0;
    DecodePath decode_path = DecodePath::automatic;
    // Of method mixed: of every linear layer, by the names of linear_inputs (models/decoder.h).
    LayerMethods layers;
    LayerClock* clock = nullptr;  // told of every linear layer of a step; outlives the engine
};

// invalid_input: the method decides its codes from a text, and `files` are not what it made of one.
// Random weights need none: their codes serve speed and memory only.
Status check_calibration(const ModelFiles& files, const EngineOptions& options);

// Receives logits of consecutive positions: rows [count, vocabulary], valid during the call.
using LogitsSink =
    std::function<Status(std::int64_t first_row, std::int64_t count, const float* logits)>;

class Engine {
 public:
    virtual ~Engine() = default;

    // Forgets all sequences.
    virtual void reset() = 0;

    // Appends `ids` [batch, tokens] (row-major) to every sequence. Writes the logits of the last
    // position of each sequence to `last_logits` [batch, vocabulary] when not null.
    // invalid_input: ids outside the vocabulary, context exceeded.
    virtual Status forward(std::span<const std::int32_t> ids, std::int64_t tokens,
                           float* last_logits) = 0;

    // Logits of every position of one fresh sequence (batch 1); resets before and after. A window
    // longer than the options' context gets its own cache for the time of the call, so that the
    // ledger of decoding stays prompt + new tokens. Records
    // outliers of every linear layer's input when `outliers` is not null (threshold of the
    // options).
    virtual Status score(std::span<const std::int32_t> ids, const LogitsSink& sink,
                         std::vector<LayerOutliers>* outliers) = 0;

    // The ledger: what the backend really handed out, by category.
    virtual MemoryBytes memory() const = 0;

    // Bytes of weights, scales, norms and KV cache that one decode step at position `context`
    // reads.
    virtual std::uint64_t bytes_per_token(std::int64_t context) const = 0;
};

// Greedy choice: the smallest index among the largest logits.
std::int32_t argmax(std::span<const float> logits);

// Reads, packs, allocates. Fills `load` when not null. Errors as pack and open report them, plus
// out_of_memory with the ledger so far.
Result<std::unique_ptr<Engine>> load_engine(const ModelFiles& files, const EngineOptions& options,
                                            LoadTrace* load);

}  // namespace bitsweep
