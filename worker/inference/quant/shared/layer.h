// What the layers of all methods share on the CPU: storage counted in the ledger, the choice
// between the decode path (few rows, packed codes) and the prefill path (a dequantised tile and a
// dense product), and the readable reference.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "worker/inference/quant/method.h"
#include "worker/inference/quant/shared/isa.h"
#include "worker/inference/quant/shared/kernels.h"

namespace bitsweep::quant {

// Up to this many activation rows are multiplied from the packed codes: a decode step of a batch.
// From here on one dequantised tile is used by enough rows to pay for itself.
inline constexpr std::int64_t few_rows = 8;

// Workspace slots of this room.
enum Slot : int { slot_digits = 0, slot_tile = 1, slot_sums = 2, slot_columns = 3 };

struct LayerBody {
    std::string name;
    std::int64_t out = 0;
    std::int64_t in = 0;
    Isa isa = Isa::generic;
    std::unique_ptr<Buffer> codes;
    std::unique_ptr<Buffer> scales;  // null: the method has none
    std::unique_ptr<Buffer> bias;    // float32 [out], null: none

    const float* bias_or_null() const { return bias ? bias->as<float>() : nullptr; }
    std::uint64_t bytes() const {
        return codes->bytes() + (scales ? scales->bytes() : 0) + (bias ? bias->bytes() : 0);
    }
};

// Allocates codes and scales as packed_bytes(options.method) says and copies the bias.
Result<LayerBody> allocate_body(const DenseWeight& weight, const MethodOptions& options,
                                Backend& backend);

// y = x W^T + bias for outputs [begin, end), in double precision from the effective weights. The
// specification of every weight-only kernel.
void reference_product(const Linear& layer, const LayerBody& body, const LinearCall& call,
                       std::int64_t begin, std::int64_t end);

// A method whose activations stay in floating point.
class WeightOnlyLayer : public Linear {
 public:
    explicit WeightOnlyLayer(LayerBody body);

    Status forward(const LinearCall& call) const final;
    std::uint64_t bytes_per_call() const final { return body_.bytes(); }

 protected:
    // y for 1..few_rows rows by vector code; only called when kernels_ is not null.
    virtual Status few(const LinearCall& call) const = 0;

    LayerBody body_;
    const Kernels* kernels_ = nullptr;

 private:
    Status many(const LinearCall& call) const;
};

// Calls kernel(tile, y[rows][16]) for every full tile of 16 outputs, in parallel, and adds the bias
// on the way to call.y; the last, narrower tile takes the reference.
using TileKernel = std::function<void(std::int64_t tile, float* y)>;
void product_by_tiles(const Linear& layer, const LayerBody& body, const LinearCall& call,
                      const TileKernel& kernel);

// Activations as digits (kernels.h), in the call's workspace.
struct Digits {
    DigitsJob job;
};
Result<Digits> make_digits(const LayerBody& body, const LinearCall& call, const Kernels& kernels,
                           std::int64_t group, int code_offset);

// The grouped kernel over all tiles; `scales` and `zeros` in tile order or null. Rows are scaled by
// row_scale [out] when it is not null.
struct GroupedWeights {
    int bits = 8;
    std::int64_t group = 0;
    const std::uint16_t* scales = nullptr;
    const std::uint16_t* zeros = nullptr;
    const float* row_scale = nullptr;
};
Status grouped_product(const Linear& layer, const LayerBody& body, const LinearCall& call,
                       const Kernels& kernels, const GroupedWeights& weights);

}  // namespace bitsweep::quant
