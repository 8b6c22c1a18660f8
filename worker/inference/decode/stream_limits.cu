#include "worker/inference/decode/stream_limits.h"

#include "worker/inference/decode/stream_feed.cuh"

namespace bitsweep::decode {

std::size_t stream_shared_bytes(const Program& program, bool has_code_book) {
    return Layout::end(program, has_code_book);
}

}  // namespace bitsweep::decode
