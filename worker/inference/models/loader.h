// Builds the parts of a model from a weight source: layer by layer, so that never more than one
// dense layer exists beside the packed ones.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/catalog/layer_methods.h"
#include "schemas/catalog/memory.h"
#include "schemas/status.h"
#include "worker/inference/backend/backend.h"
#include "worker/inference/backend/cpu/threads.h"
#include "worker/inference/models/decoder.h"
#include "worker/inference/weights.h"

namespace bitsweep {

// Packs one dense layer for the device that the model is loaded for.
using Packer = std::function<Result<std::unique_ptr<Linear>>(const DenseWeight& weight,
                                                             const MethodOptions& options)>;

// How the rows of a projection are ordered where the device works on pairs of neighbours: element i
// of a head beside element i + head_dim / 2 (what a rotation takes together), gate beside up.
enum class RowOrder { natural, head_halves, gate_up };
enum class PairRows { no, yes };

struct LoaderOptions {
    MethodId method;
    double threshold = 0;
    int head_bits = 16;
    PairRows pair_rows = PairRows::no;
    LayerMethods layers;  // of every projection, where the method is mixed
};

// Lives as long as loading; the parts it made do not refer to it. Checks shapes against what the
// config asks for (corrupt) and norms and biases for NaN and infinity (invalid_numbers).
class Loader {
 public:
    Loader(const ModelConfig& config, const WeightSource& weights, const LoaderOptions& options,
           Backend& backend, Packer packer, ThreadPool& threads)
        : config_(config),
          weights_(weights),
          options_(options),
          backend_(backend),
          packer_(std::move(packer)),
          threads_(threads) {}

    const ModelConfig& config() const { return config_; }

    // "<prefix><part>.weight" and, with `bias`, ".bias" of each part; `parts` share the input.
    // `order` counts only where the device pairs rows and the parts can be packed as one.
    struct PartSpec {
        std::string_view suffix;
        std::int64_t out_features = 0;
    };
    enum class Bias { no, yes };
    Result<Projection> projection(const std::string& name, const std::string& prefix,
                                  std::vector<PartSpec> parts, std::int64_t in_features, Bias bias,
                                  RowOrder order = RowOrder::natural);

    Result<Norm> rms_norm(const std::string& name);
    Result<Norm> layer_norm(const std::string& name);  // without weights: config.norm_affine false

    // A table of 16-bit rows (fp32 rows for method fp32).
    Result<PositionTable> position_table(const std::string& name, std::int64_t rows,
                                         std::int64_t offset);

    Result<Embeddings> embeddings(const std::string& token_table);

    // Every projection made so far, in order.
    std::vector<LinearInput> take_inputs() { return std::move(inputs_); }

    // invalid_input: the policy names a layer that no projection had (with the nearest that one
    // has).
    Status check_layers(const std::vector<LinearInput>& inputs) const;

    std::int64_t read_ns() const { return read_ns_; }
    std::int64_t pack_ns() const { return pack_ns_; }

 private:
    struct Piece {
        std::string name;  // of the weight tensor
        std::int64_t out_features = 0;
    };
    // One matrix out of one or more tensors that share the input.
    struct Joint {
        std::string name;
        std::vector<Piece> pieces;
        std::int64_t in_features = 0;
        RowOrder order = RowOrder::natural;

        std::int64_t out_features() const;
    };
    // Of the projection of that name; invalid_input where a policy does not say.
    Result<MethodOptions> method_of(const std::string& name) const;
    Status check_shape(const std::string& name, std::vector<std::int64_t> wanted) const;
    Result<std::vector<float>> read_vector(const std::string& name, std::int64_t width);
    std::int64_t source_row(const Joint& joint, std::int64_t row) const;
    Status read_joint(const Joint& joint, std::int64_t begin, std::int64_t end, float* dst);
    Status read_ordered(const Joint& joint, std::int64_t begin, std::int64_t end, float* dst);
    Result<std::unique_ptr<Linear>> pack(const Joint& joint, std::vector<float> bias,
                                         const MethodOptions& method);
    Status add_calibration(const Joint& joint, DenseWeight& weight);
    Result<Norm> norm(Norm::Kind kind, const std::string& name, std::int64_t vectors);

    const ModelConfig& config_;
    const WeightSource& weights_;
    const LoaderOptions& options_;
    Backend& backend_;
    Packer packer_;
    ThreadPool& threads_;
    std::mutex reading_;  // the pool serves one reader at a time
    std::vector<LinearInput> inputs_;
    std::atomic<std::int64_t> read_ns_{0};
    std::int64_t pack_ns_ = 0;
};

}  // namespace bitsweep
