// The first half of every pack(): checked rows of a dense weight.
#pragma once

#include <functional>

#include "worker/inference/quant/method.h"

namespace bitsweep::quant {

// What one element becomes before a method sees it: float32 as read, or rounded to fp16 (as
// bitsandbytes does) with a check that nothing overflows.
enum class Element { f32, f16 };

// Called once per row, in order, with in_features finite values.
using RowSink = std::function<Status(std::int64_t row, const float* values)>;

// invalid_input: empty or absurd shapes, a bias of another length; invalid_numbers: a bias that is
// not finite. allocate_body() asks this first.
Status check_shape(const DenseWeight& weight);

// invalid_numbers for the first value of a row that no method holds; rounds to `element`.
Status check_values(const DenseWeight& weight, std::int64_t row, float* values, Element element);

// Reads `weight` in chunks of rows and hands each to `sink`. invalid_numbers: NaN or
// infinity (or fp16 overflow), naming layer, row and column.
Status for_each_row(const DenseWeight& weight, Element element, const RowSink& sink);

}  // namespace bitsweep::quant
