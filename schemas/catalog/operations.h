// Arithmetic of a forward pass, counted from the shape: the numerator of achieved throughput.
#pragma once

#include <cstdint>

#include "schemas/catalog/shapes.h"

namespace bitsweep {

// Multiplications and additions (2 a pair) of the matrix products of a prefill: linear layers over
// every token, the head over the last token of each sequence, attention's two products over the
// causal half (the convention of PaLM's appendix B without its doubling of the masked half).
// Norms, activations and softmax are left out: they do not run on tensor cores.
double prefill_operations(const ModelShape& shape, std::int64_t batch, std::int64_t tokens);

}  // namespace bitsweep
