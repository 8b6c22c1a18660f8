// Methods llmint8-bnb, -fused and -paper and the ablations of the paper; see README.md here.
#pragma once

#include <span>

#include "worker/inference/quant/llmint8/scales.h"
#include "worker/inference/quant/shared/layer.h"

namespace bitsweep::quant {

// invalid_input: a threshold that is none, a layer too wide for exact sums.
Status check_llmint8_options(const DenseWeight& weight, const MethodOptions& options);

// Of all the weight as halves. Errors as for_each_row.
Result<Range> range_of(const DenseWeight& weight);

// Room for the fp16 weights where the method keeps them, else null.
Result<std::unique_ptr<Buffer>> allocate_originals(const DenseWeight& weight,
                                                   const MethodOptions& options, Backend& backend);

// A layer from codes that somebody else chose (a bitsandbytes checkpoint: CB row-major [out, in],
// SCB [out]). `weight.rows` is not called.
Result<std::unique_ptr<Linear>> llmint8_from_codes(const DenseWeight& weight,
                                                   std::span<const std::int8_t> cb,
                                                   std::span<const float> scb,
                                                   const MethodOptions& options, Backend& backend);

struct LlmInt8Parts {
    double threshold = 0;
    Int8Scales scales;
    std::unique_ptr<Buffer>
        originals;  // fp16 weights [in][out] that outliers meet; null: the codes
};

// `body` holds 8-bit codes in tile order, float32 scales [out] (absmax of the fp16 row or tensor)
// and a bias of fp16 values. With zero points: half ranges [out], int32 zeros [out] and int32 sums
// of codes [out] in the place of the scales.
std::unique_ptr<Linear> make_llmint8(LayerBody body, LlmInt8Parts parts);

// f16(f32(f32(code * scb) * 7.874015718698502e-3f)): the weight that meets an outlier activation.
float outlier_weight(int code, float scb);

}  // namespace bitsweep::quant
