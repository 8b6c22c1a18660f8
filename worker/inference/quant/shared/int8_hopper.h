// 8-bit products of a prefill on Hopper: exact sums and their scaling in one kernel.
#pragma once

#include "worker/inference/quant/shared/int8_device.h"

namespace bitsweep::quant {

// Whether the card is an sm_90 and the shape worth a tile of 128 rows.
bool hopper_serves(const DeviceMatrix& m, const DeviceCall& call);

// Outlier columns that hopper_rows takes itself.
inline constexpr std::int32_t most_beside_columns = 16;

enum class Beside {
    none,       // no outlier columns but those in `extra`
    where_few,  // those of `tokens`; where they are more than most_beside_columns y stays as it is
};

// int8_many_rows, with the outlier columns' share from `extra` [rows][out] where it is not null.
// unsupported: a driver without tile maps.
Status hopper_rows(const DeviceMatrix& m, const DeviceCall& call, const DeviceTokens& tokens,
                   const float* extra, Beside beside, Int8Rule rule);

}  // namespace bitsweep::quant
