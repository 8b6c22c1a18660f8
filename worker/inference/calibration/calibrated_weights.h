// What calibration decided about a model, and the model seen through it: a WeightSource that
// answers for the tensors that were decided on and passes every other question to the source below.
// A method that calibrates is therefore packed as any other, from other weights.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/status.h"
#include "worker/inference/weights.h"

namespace bitsweep {

// Decisions, by canonical tensor name. A weight [out, in] is read as
//   clamp(W[r, c] * columns[c] / rows[r], +-clip[r, c / group])    where these are not empty, or as
//   (codes[r, c] - offset) * grid[r, c / group]                    where there are codes.
struct CalibratedWeight {
    std::vector<float> columns;       // [in]
    std::vector<float> rows;          // [out]
    std::vector<float> clip;          // [out, groups]
    std::vector<std::uint8_t> codes;  // [out, in]
    std::vector<float> grid;          // [out, grid_width]
    std::int64_t grid_width = 0;
    std::int64_t group = 0;  // inputs of one entry of clip, or of grid beside codes
    int offset = 0;          // of codes
};

// Squared error of a linear's outputs, summed over the calibration tokens.
struct LayerError {
    double decided = 0;
    double nearest = 0;  // of rounding to nearest on the same grid
};

struct Calibration {
    std::map<std::string, CalibratedWeight> weights;    // "model.layers.0.mlp.up_proj.weight"
    std::map<std::string, std::vector<float>> vectors;  // norms, biases, input absmax: as a whole
    std::map<std::string, LayerError> errors;           // of gptq's weights; not kept on disk
    std::int64_t time_ns = 0;                           // what making it took
    std::uint64_t peak_bytes = 0;  // most memory of the backend's ledger meanwhile, statistics too
};

class CalibratedWeights : public WeightSource {
 public:
    // Both outlive this. corrupt: decisions whose sizes do not fit the tensors of `base`.
    static Result<std::unique_ptr<CalibratedWeights>> create(const WeightSource& base,
                                                             const Calibration& calibration);

    bool contains(std::string_view name) const override;
    Result<std::vector<std::int64_t>> shape(std::string_view name) const override;
    Status read_rows(std::string_view name, std::int64_t begin, std::int64_t end,
                     float* dst) const override;
    std::string stored_type(std::string_view name) const override;

 private:
    CalibratedWeights(const WeightSource& base, const Calibration& calibration)
        : base_(base), calibration_(calibration) {}

    const CalibratedWeight* weight_of_grid(std::string_view name) const;

    const WeightSource& base_;
    const Calibration& calibration_;
};

}  // namespace bitsweep
