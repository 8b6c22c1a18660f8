// Where weights come from: a Hugging Face folder, a GGUF file, or a seeded generator. Consumers see
// one naming scheme and float32 rows; the files stay memory-mapped and are never trusted.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/status.h"
#include "worker/inference/config.h"

namespace bitsweep {

// Names are Hugging Face's, without the optional "transformer." / "model.decoder." / "model."
// prefixes resolved by the source: ask for the full canonical names listed in models/<family>.cpp.
// A linear weight is always [out_features, in_features], whatever the file stores (GPT-2's Conv1D
// [in, out] and GGUF's interleaved rotary rows of q and k are undone by the source).
class WeightSource {
 public:
    virtual ~WeightSource() = default;

    virtual bool contains(std::string_view name) const = 0;

    // Logical shape of a tensor. not_found names the nearest tensor of the file.
    virtual Result<std::vector<std::int64_t>> shape(std::string_view name) const = 0;

    // Rows [begin, end) of a tensor seen as [rows, columns] (1-D: one row), as float32 into
    // dst[(end - begin) * columns]. Thread-safe.
    virtual Status read_rows(std::string_view name, std::int64_t begin, std::int64_t end,
                             float* dst) const = 0;

    // The stored type of a tensor as its file calls it: "F16", "Q4_1"; for provenance.
    virtual std::string stored_type(std::string_view name) const = 0;
};

// Beside a weight tensor NAME a calibrated source (calibration/) holds: rows [out, n] that fix the
// grid of its codes, and [1] the static absmax of its input. Each is there or not (contains).
std::string grid_name(std::string_view weight);
std::string input_absmax_name(std::string_view weight);

// safetensors, single file or sharded with model.safetensors.index.json. `config` gives the family
// (Conv1D orientation, prefixes). Checks: header length, offsets in range, no overlap, no hole,
// dtype size x shape == bytes, duplicate names. corrupt / not_found / unsupported.
Result<std::unique_ptr<WeightSource>> open_safetensors(const std::filesystem::path& folder,
                                                       const ModelConfig& config);

// Seeded random weights of a shape: N(0, 0.02)-like rows (of `up`, smaller in wide models, so that
// what `down` reads is as large as in trained ones), with `outlier_columns` input features per
// layer that make activations exceed `outlier_magnitude` (0 columns: none). Deterministic in (seed,
// name). Raise the generation when the weights of any shape change: it is part of their digest.
inline constexpr int random_weights_generation = 2;
struct RandomWeightsOptions {
    std::uint64_t seed = 0;
    int outlier_columns = 6;
    double outlier_magnitude = 8.0;
};
std::unique_ptr<WeightSource> random_weights(const ModelConfig& config,
                                             const RandomWeightsOptions& options);

}  // namespace bitsweep
