// 8-bit activations times 8-bit weights on a CUDA device: what w8a8 and llmint8 share. Everything
// is queued on the call's stream; the CPU's tokens.h is the specification.
#pragma once

#include <cstdint>

#include "worker/inference/quant/shared/device_layer.h"

namespace bitsweep::quant {

// Activations of one call as 8-bit codes, and which input columns are outliers, in the workspace.
struct DeviceTokens {
    std::int8_t* codes = nullptr;     // [rows][row_chunks * 16], padding is zero
    float* scale = nullptr;           // [rows] absmax of what was quantised
    std::int32_t* zeros = nullptr;    // [rows] of codes with zero points; null: they have none
    std::int32_t* sums = nullptr;     // [rows] of codes with zero points
    std::uint8_t* flags = nullptr;    // [in] 1: an outlier in some row; all 0 between calls
    std::int32_t* columns = nullptr;  // [in] ascending
    std::int32_t* count = nullptr;    // [1] of columns
};

// Their memory, without contents; zeros and sums where the matrix has zeros, flags, columns and
// count where it has a threshold.
Result<DeviceTokens> reserve_tokens(const DeviceMatrix& m, const DeviceCall& call);

// columns and count from the flags, which it clears. Queued.
cudaError_t list_columns(const DeviceMatrix& m, const DeviceTokens& tokens, cudaStream_t stream);

// codes and scale of every row (quantize_token). With a threshold: the columns that reach it in any
// row, their codes cleared in all rows.
Result<DeviceTokens> quantise_tokens(const DeviceMatrix& m, const DeviceCall& call, InputType type);

// Codes of all rows once more, by one absmax: `absmax`, or where that is 0 the largest of the
// rows'. A row whose own is not finite keeps NaN, so that the output says so (quantize_token_by).
Status rescale_tokens(const DeviceMatrix& m, const DeviceCall& call, InputType type, float absmax,
                      const DeviceTokens& tokens);

// Outlier columns that int8_many_rows takes on tensor cores; more take a slower path.
inline constexpr std::int32_t most_gathered_columns = 512;

enum class Int8Rule {
    w8a8,     // acc * (absmax(x) / 127 * absmax(w) / 127) + bias, float32
    llmint8,  // bitsandbytes: rounded to half before and after the outlier sum is added
};

// Up to eight rows in one pass over the weight, outlier columns included.
Status int8_few_rows(const DeviceMatrix& m, const DeviceCall& call, const DeviceTokens& tokens,
                     Int8Rule rule);

// Any number of rows: exact sums on tensor cores, scaled tile by tile. The outlier columns' share
// comes from `extra` [rows][out] where it is not null, else from the columns of `tokens`.
Status int8_many_rows(const DeviceMatrix& m, const DeviceCall& call, const DeviceTokens& tokens,
                      const float* extra, Int8Rule rule);

// bitsandbytes' second product: gathers the `count` outlier columns of x and of the weight
// (dequantised and rounded to half, or the originals) and multiplies them. [rows][out].
Result<const float*> outlier_product(const DeviceMatrix& m, const DeviceCall& call,
                                     const DeviceTokens& tokens, std::int32_t count);

// dequantize_rows of a row-scaled 8-bit matrix.
Status look_up_int8(const DeviceMatrix& m, Int8Rule rule, const std::int32_t* ids,
                    std::int64_t first, std::int64_t count, float* y, std::int64_t stride,
                    cudaStream_t stream);

}  // namespace bitsweep::quant
