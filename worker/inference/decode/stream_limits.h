// What a launch of the streaming kernel takes from the device.
#pragma once

#include <cstddef>

#include "worker/inference/decode/program.h"

namespace bitsweep::decode {

// Bytes of shared memory of each block.
std::size_t stream_shared_bytes(const Program& program, bool has_code_book);

}  // namespace bitsweep::decode
