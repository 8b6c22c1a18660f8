// The ceiling of decoding: how fast this machine reads memory right now. It moves (a factor of two
// on shared hosts), so it is read beside each measurement and never once for all.
#pragma once

#include <cstddef>
#include <memory>

#include "schemas/status.h"

namespace bitsweep {

class BandwidthMeter {
 public:
    // Takes and touches the buffer: 0.1 s for the default, which is far beyond any cache.
    // out_of_memory when it is not to be had.
    static Result<std::unique_ptr<BandwidthMeter>> create(int threads,
                                                          std::size_t bytes = default_bytes);
    ~BandwidthMeter();
    BandwidthMeter(const BandwidthMeter&) = delete;
    BandwidthMeter& operator=(const BandwidthMeter&) = delete;

    // Bytes per second of a sum with eight accumulators per thread over huge pages (where the
    // kernel grants them); the fastest of `passes`, since it is a ceiling.
    double read(int passes = 3);

    static constexpr std::size_t default_bytes = std::size_t{512} << 20;

 private:
    BandwidthMeter(void* data, std::size_t part, std::size_t threads)
        : data_(data), part_(part), threads_(threads) {}

    void* data_;
    std::size_t part_;  // bytes of each thread
    std::size_t threads_;
};

}  // namespace bitsweep
