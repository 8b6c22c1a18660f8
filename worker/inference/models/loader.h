// Builds the parts of a model from a weight source: layer by layer, so that never more than one
// dense layer exists beside the packed ones.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/catalog/memory.h"
#include "schemas/status.h"
#include "worker/inference/backend/backend.h"
#include "worker/inference/backend/cpu/threads.h"
#include "worker/inference/models/layers.h"
#include "worker/inference/models/model.h"
#include "worker/inference/weights.h"

namespace bitsweep {

// Counts everything allocated for weights as embeddings.
class EmbeddingBackend : public Backend {
 public:
    explicit EmbeddingBackend(Backend& backend) : backend_(backend) {}
    Result<std::unique_ptr<Buffer>> allocate(std::size_t bytes, MemoryCategory category) override;
    Status copy_to_device(Buffer& to, std::size_t offset, const void* from,
                          std::size_t bytes) override {
        return backend_.copy_to_device(to, offset, from, bytes);
    }
    Status copy_to_host(void* to, const Buffer& from, std::size_t offset,
                        std::size_t bytes) override {
        return backend_.copy_to_host(to, from, offset, bytes);
    }
    Status synchronize() override { return backend_.synchronize(); }
    MemoryBytes allocated() const override { return backend_.allocated(); }

 private:
    Backend& backend_;
};

struct LoaderOptions {
    MethodId method;
    double threshold = 0;
    int head_bits = 16;
};

// The token table and the head: one packed matrix when they are tied.
struct Embeddings {
    Table tokens;
    Projection head;
    std::unique_ptr<Linear> own_table;  // only where the head is not tied
    std::uint64_t row_bytes = 0;        // read by a look-up besides the head's own bytes
};

// Lives as long as loading; the parts it made do not refer to it. Checks shapes against what the
// config asks for (corrupt) and norms and biases for NaN and infinity (invalid_numbers).
class Loader {
 public:
    Loader(const ModelConfig& config, const WeightSource& weights, const LoaderOptions& options,
           Backend& backend, Backend& embedding_backend, ThreadPool& threads)
        : config_(config),
          weights_(weights),
          options_(options),
          backend_(backend),
          embedding_backend_(embedding_backend),
          threads_(threads) {}

    const ModelConfig& config() const { return config_; }

    // "<prefix><part>.weight" and, with `bias`, ".bias" of each part; `parts` share the input.
    struct PartSpec {
        std::string_view suffix;
        std::int64_t out_features = 0;
    };
    enum class Bias { no, yes };
    Result<Projection> projection(const std::string& name, const std::string& prefix,
                                  std::vector<PartSpec> parts, std::int64_t in_features, Bias bias);

    Result<Norm> rms_norm(const std::string& name);
    Result<Norm> layer_norm(const std::string& name);  // without weights: config.norm_affine false

    // A table of 16-bit rows (fp32 rows for method fp32): learned positions.
    Result<std::unique_ptr<Linear>> position_table(const std::string& name, std::int64_t rows);

    Result<Embeddings> embeddings(const std::string& token_table);

    // Every projection made so far, in order.
    std::vector<LinearInput> take_inputs() { return std::move(inputs_); }

    std::int64_t read_ns() const { return read_ns_; }
    std::int64_t pack_ns() const { return pack_ns_; }

 private:
    struct Piece {
        std::string name;  // of the weight tensor
        std::int64_t out_features = 0;
    };
    Status check_shape(const std::string& name, std::vector<std::int64_t> wanted) const;
    Result<std::vector<float>> read_vector(const std::string& name, std::int64_t width);
    Status read_joint(const std::vector<Piece>& pieces, std::int64_t in_features,
                      std::int64_t begin, std::int64_t end, float* dst);
    Result<std::unique_ptr<Linear>> pack(const std::string& name, const std::vector<Piece>& pieces,
                                         std::int64_t in_features, std::vector<float> bias,
                                         const MethodOptions& method, Backend& backend);
    Result<Norm> norm(Norm::Kind kind, const std::string& name, std::int64_t vectors);

    const ModelConfig& config_;
    const WeightSource& weights_;
    const LoaderOptions& options_;
    Backend& backend_;
    Backend& embedding_backend_;
    ThreadPool& threads_;
    std::mutex reading_;  // the pool serves one reader at a time
    std::vector<LinearInput> inputs_;
    std::atomic<std::int64_t> read_ns_{0};
    std::int64_t pack_ns_ = 0;
};

}  // namespace bitsweep
