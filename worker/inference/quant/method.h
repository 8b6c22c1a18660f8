// A quantization method: packs a dense weight and multiplies from the packed form. One folder per
// method, one row in table.cpp. The effective weight of a layer is what dequantize_rows returns.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "schemas/catalog/methods.h"
#include "schemas/status.h"
#include "worker/inference/backend/backend.h"
#include "worker/inference/backend/cpu/threads.h"
#include "worker/inference/trace.h"

namespace bitsweep {

// Supplies rows [begin, end) of W[out, in] as float32.
using RowReader = std::function<Status(std::int64_t begin, std::int64_t end, float* dst)>;

struct DenseWeight {
    std::string name;  // "model.layers.3.mlp.down_proj"
    std::int64_t out_features = 0;
    std::int64_t in_features = 0;
    RowReader rows;
    std::vector<float> bias;  // [out_features] or empty

    // Only from a calibration (calibration/README.md). `grid`: what it fixed of the grid of each
    // row's codes, [rows, grid_width] in the meaning of the method's README; null: pack() chooses.
    RowReader grid;
    std::int64_t grid_width = 0;
    float input_absmax = 0;  // static scale of the inputs; 0: none
};

// Scratch that a forward pass may use; grows once, is counted as workspace, holds nothing between
// calls.
class Workspace {
 public:
    explicit Workspace(Backend& backend) : backend_(backend) {}
    // At least `bytes` bytes, 64-byte aligned, valid until the next call with the same slot.
    Result<std::byte*> reserve(int slot, std::size_t bytes);

 private:
    Backend& backend_;
    std::vector<std::unique_ptr<Buffer>> slots_;
};

// Collects which input features reached the threshold; null where nobody asked.
class OutlierRecorder {
 public:
    OutlierRecorder(double threshold, std::int64_t in_features);
    void add(const float* x, std::int64_t rows);  // x [rows, in_features]
    LayerOutliers report(std::string layer) const;

 private:
    double threshold_;
    std::vector<std::uint8_t> seen_;
    std::int64_t rows_ = 0;
    std::int64_t hits_ = 0;
    double max_abs_ = 0;
};

struct LinearCall {
    const float* x = nullptr;  // [rows, in_features], row-major
    float* y = nullptr;        // [rows, out_features], overwritten, bias added
    std::int64_t rows = 1;     // 1: decode (the GEMV path); more: prefill or a batch
    ThreadPool& threads;
    Workspace& workspace;
    OutlierRecorder* outliers = nullptr;
};

// What `bitsweep-runner quantize` writes: the canonical form, independent of the CPU layout.
struct PackedExport {
    std::vector<std::uint8_t> codes;  // packed as the method's README says
    std::vector<float> scales;
    std::vector<std::int64_t> codes_shape;
    std::vector<std::int64_t> scales_shape;
    std::string layout;  // one line that says how to read codes
};

// A packed linear layer on one device. Immutable after pack(); forward is const and re-entrant as
// long as workspaces differ.
class Linear {
 public:
    virtual ~Linear() = default;
    virtual Status forward(const LinearCall& call) const = 0;
    // Effective weights, rows [begin, end) of [out, in].
    virtual void dequantize_rows(std::int64_t begin, std::int64_t end, float* dst) const = 0;
    // Bytes that one forward with rows == 1 reads from weights: codes + scales + bias.
    virtual std::uint64_t bytes_per_call() const = 0;
    virtual PackedExport export_packed() const = 0;
};

struct MethodOptions {
    MethodId method;
    double threshold = 0;  // outlier threshold; read by llmint8 only; 0: no decomposition
    // Counts codes and scales under this category instead of weight_codes / weight_scales: for the
    // output head and the embedding, which the ledger keeps apart.
    std::optional<MemoryCategory> category = std::nullopt;
};

// Packs for the CPU. invalid_input for shapes a method cannot hold (the message says what instead),
// invalid_numbers for NaN or infinity in the weight (names layer and position), out_of_memory.
using PackCpu = Result<std::unique_ptr<Linear>> (*)(const DenseWeight& weight,
                                                    const MethodOptions& options, Backend& backend);

struct MethodImplementation {
    MethodFamily family;
    PackCpu pack_cpu;
};

// The visible table; nullptr-free, one row per family (quant/table.cpp).
std::span<const MethodImplementation> method_implementations();

// Packs `weight` by `options.method` through the table.
Result<std::unique_ptr<Linear>> pack_linear(const DenseWeight& weight, const MethodOptions& options,
                                            Backend& backend);

// Which vector code runs here: "avx512-vnni", "avx512", "avx2", "generic". Chosen once at run time;
// BITSWEEP_ISA=generic|avx2|avx512 lowers it (tests compare all of them).
std::string vector_isa();

}  // namespace bitsweep
