// What the layers of all methods share on a CUDA device: storage counted in the ledger, the host's
// view for tests, and the pipeline that packs a dense weight chunk by chunk.
#pragma once

#include <cuda_runtime_api.h>

#include <functional>
#include <memory>
#include <string>

#include "schemas/status.h"
#include "worker/inference/quant/shared/device_linear.h"
#include "worker/inference/quant/shared/read_weight.h"

namespace bitsweep::quant {

using PackResult = Result<std::unique_ptr<Linear>>;

// Workspace slots of this room on a device.
enum DeviceSlot : int {
    slot_dense = 0,
    slot_tokens = 1,
    slot_sums32 = 2,
    slot_columns32 = 3,
    slot_flags = 4,
    slot_ranges = 5
};

struct DeviceBody {
    std::string name;
    DeviceMatrix matrix;
    std::unique_ptr<Buffer> codes;
    std::unique_ptr<Buffer> scales;  // null: the method has none
    std::unique_ptr<Buffer> bias;
    std::unique_ptr<Buffer> code_book;
    std::unique_ptr<Buffer> originals;  // llmint8-paper
    CudaBackend* backend = nullptr;
};

// What is packed into: kind, bits and group of the codes.
struct DeviceFormat {
    decode::Codes kind = decode::Codes::f16;
    int bits = 16;
    int group = 0;
    bool zeros = false;      // behind the scales, zeros (device_matrix.h)
    bool nested = false;     // scales of blocks in 8 bits (block_scales.h)
    bool one_scale = false;  // e4m3: for all rows
};

// Checks the shape (read_weight.h), allocates zero-filled codes and scales, copies the bias.
Result<DeviceBody> allocate_device_body(const DenseWeight& weight, const MethodOptions& options,
                                        CudaBackend& backend, const DeviceFormat& format);

// Consecutive rows of the dense weight on the device.
struct PackChunk {
    const float* values = nullptr;  // [rows][in]
    std::uint8_t* codes = nullptr;  // [rows][in], where the quantiser puts one code a byte
    std::int64_t first_row = 0;
    std::int64_t rows = 0;
    std::int64_t in = 0;
    // The smallest row * in + input of a value that the method cannot hold; all ones: none.
    unsigned long long* refused = nullptr;
    cudaStream_t stream = nullptr;
};

// Chooses codes and scales of a chunk. Queued.
using Quantiser = std::function<cudaError_t(const PackChunk& chunk, const DeviceBody& body)>;

// Reads every row, quantises and lays the codes out. `quantiser` null: a dense kind, values are
// rounded to it. `whole`: all rows in one chunk. Errors as for_each_row; what the quantiser refuses
// is invalid_numbers with `refusal`.
struct PackPlan {
    Element element = Element::f32;
    Quantiser quantiser;
    bool whole = false;
    std::string refusal;
};
Status pack_rows(const DenseWeight& weight, const PackPlan& plan, DeviceBody& body);

// A layer with its storage. forward() and dequantize_rows() take host pointers: they copy in and
// out, for tests; a device that fails leaves NaN.
class DeviceLayer : public DeviceLinear {
 public:
    explicit DeviceLayer(DeviceBody body) : body_(std::move(body)) {}

    Status forward(const LinearCall& call) const final;
    void dequantize_rows(std::int64_t begin, std::int64_t end, float* dst) const final;
    std::uint64_t bytes_per_call() const final;
    // The device's own order of codes (device_matrix.h).
    PackedExport export_packed() const final;
    const DeviceMatrix& matrix() const final { return body_.matrix; }

 protected:
    DeviceBody body_;
};

// y = bias, or y += bias, [rows][out]; nothing where there is no bias and nothing to clear.
cudaError_t start_with_bias(const DeviceMatrix& m, const DeviceCall& call);

// x as the input type of a layer, [rows][input_stride(in)] from [rows][in] floats.
cudaError_t convert_input(const float* x, std::int64_t rows, std::int64_t in, InputType type,
                          void* to, cudaStream_t stream);

}  // namespace bitsweep::quant
