// 8-bit products of a prefill on Hopper: exact sums and their scaling in one kernel.
#pragma once

#include "worker/inference/quant/shared/int8_device.h"

namespace bitsweep::quant {

// Whether the card is an sm_90 and the shape worth a tile of 128 rows.
bool hopper_serves(const DeviceMatrix& m, const DeviceCall& call);

// Outlier columns that hopper_rows takes itself.
inline constexpr std::int32_t most_beside_columns = 16;

// int8_many_rows, with the outlier columns' share from `extra` [rows][out] where it is not null,
// else from the first `columns` of `tokens`. unsupported: a driver without tile maps.
Status hopper_rows(const DeviceMatrix& m, const DeviceCall& call, const DeviceTokens& tokens,
                   const float* extra, std::int32_t columns, Int8Rule rule);

}  // namespace bitsweep::quant
