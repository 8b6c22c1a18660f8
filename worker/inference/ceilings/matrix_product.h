// The largest matrix products that cuBLASLt reaches on the current device.
#pragma once

#include "schemas/status.h"
#include "worker/inference/ceilings/device_objects.h"

namespace bitsweep::ceilings {

enum class ProductType { fp16, int8 };  // sums in fp32, in int32

// Operations per second (2 n^3 a product) of n x n x n, the best of the library's first candidates.
// Random operands: zeros run faster than data.
Result<double> product_rate(Stopwatch& watch, ProductType type, int n);

}  // namespace bitsweep::ceilings
