// What one card reaches at best, as measured on it in this process: the denominators of every share
// that is reported. Plain numbers, std only, read by worker/metrics.
#pragma once

#include <cstdint>

namespace bitsweep {

// 0: not measured (the card or the library could not; ceilings.h says why).
struct DeviceCeilings {
    double read_bandwidth = 0;  // B/s, reads of a buffer far larger than the L2 cache
    double copy_bandwidth = 0;  // B/s, bytes read and bytes written both counted
    double launch_ns = 0;       // per empty kernel when many are queued on one stream
    double round_trip_ns = 0;   // one empty kernel launched and waited for
    double graph_node_ns = 0;   // per empty kernel in a chain of a replayed CUDA graph
    double fp16_flops = 0;      // FLOP/s, fp16 in, fp32 sums, large square product
    double int8_ops = 0;        // OP/s, int8 in, int32 sums, likewise
    double seconds = 0;         // what measuring took
};

}  // namespace bitsweep
