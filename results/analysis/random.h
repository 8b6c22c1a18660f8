// The one source of randomness of the analysis: seeded, and equal on every platform (the standard
// library's distributions are not).
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <utility>

namespace bitsweep {

// Recorded with every interval that is computed by resampling.
inline constexpr std::uint64_t default_seed = 20'250'101;

class Random {
 public:
    explicit Random(std::uint64_t seed) : engine_(seed) {}
    // Of 0 .. count - 1, biased by less than count / 2^64. The upper half of a product: a remainder
    // costs several times as much (Lemire, ACM TOMACS 29(1), 2019).
    std::size_t index(std::size_t count) { return index_and_part(count).first; }
    // That, and of [0, 1) how far into it the draw fell.
    std::pair<std::size_t, double> index_and_part(std::size_t count) {
        const auto product = static_cast<unsigned __int128>(engine_()) * count;
        return {static_cast<std::size_t>(product >> 64),
                static_cast<double>(static_cast<std::uint64_t>(product) >> 11) * 0x1p-53};
    }
    // Of [0, 1), 53 bits.
    double uniform() { return static_cast<double>(engine_() >> 11) * 0x1p-53; }

 private:
    std::mt19937_64 engine_;
};

}  // namespace bitsweep
