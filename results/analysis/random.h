// The one source of randomness of the analysis: seeded, and equal on every platform (the standard
// library's distributions are not).
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>

namespace bitsweep {

// Recorded with every interval that is computed by resampling.
inline constexpr std::uint64_t default_seed = 20'250'101;

class Random {
 public:
    explicit Random(std::uint64_t seed) : engine_(seed) {}
    // Of 0 .. count - 1. The bias of the remainder is below count / 2^64.
    std::size_t index(std::size_t count) { return static_cast<std::size_t>(engine_() % count); }
    // Of [0, 1), 53 bits.
    double uniform() { return static_cast<double>(engine_() >> 11) * 0x1p-53; }

 private:
    std::mt19937_64 engine_;
};

}  // namespace bitsweep
