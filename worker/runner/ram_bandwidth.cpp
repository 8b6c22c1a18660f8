#include "worker/runner/ram_bandwidth.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define BITSWEEP_READ_CLONES __attribute__((target_clones("default", "avx2")))
#else
#define BITSWEEP_READ_CLONES
#endif

namespace bitsweep {
namespace {

using Words = std::uint64_t __attribute__((vector_size(32)));
constexpr std::size_t stride = 8 * sizeof(Words);

// Eight independent sums: enough loads in flight to be limited by memory, not by latency.
BITSWEEP_READ_CLONES
std::uint64_t sum_of(const std::byte* from, std::size_t bytes) {
    Words sums[8] = {};
    for (std::size_t i = 0; i + stride <= bytes; i += stride) {
        const auto* words = reinterpret_cast<const Words*>(from + i);
        for (int k = 0; k < 8; ++k) {
            sums[k] += words[k];
        }
    }
    std::uint64_t total = 0;
    for (const Words& sum : sums) {
        total += sum[0] + sum[1] + sum[2] + sum[3];
    }
    return total;
}

}  // namespace

Result<std::unique_ptr<BandwidthMeter>> BandwidthMeter::create(int threads, std::size_t bytes) {
    const auto count = static_cast<std::size_t>(std::max(threads, 1));
    const std::size_t part = bytes / count / 4096 * 4096;
    void* data =
        ::mmap(nullptr, part * count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) {
        return make_error(ErrorCode::out_of_memory, "no " + std::to_string(bytes >> 20) +
                                                        " MiB for reading the memory bandwidth");
    }
    ::madvise(data, part * count, MADV_HUGEPAGE);
    // Untouched pages would all be the one zero page, which stays in cache.
    std::memset(data, 1, part * count);
    return std::unique_ptr<BandwidthMeter>(new BandwidthMeter(data, part, count));
}

BandwidthMeter::~BandwidthMeter() {
    ::munmap(data_, part_ * threads_);
}

double BandwidthMeter::read(int passes) {
    using Clock = std::chrono::steady_clock;
    std::atomic<std::uint64_t> sink{0};
    std::vector<Clock::time_point> times(static_cast<std::size_t>(std::max(passes, 1)) + 1);
    std::size_t arrived = 0;
    std::barrier together(static_cast<std::ptrdiff_t>(threads_),
                          [&]() noexcept { times[arrived++] = Clock::now(); });
    const auto work = [&](std::size_t thread) {
        together.arrive_and_wait();
        for (std::size_t i = 1; i < times.size(); ++i) {
            sink += sum_of(static_cast<const std::byte*>(data_) + thread * part_, part_);
            together.arrive_and_wait();
        }
    };
    std::vector<std::jthread> others;
    for (std::size_t t = 1; t < threads_; ++t) {
        others.emplace_back(work, t);
    }
    work(0);
    others.clear();
    double fastest = std::numeric_limits<double>::infinity();
    for (std::size_t i = 1; i < times.size(); ++i) {
        fastest = std::min(fastest, std::chrono::duration<double>(times[i] - times[i - 1]).count());
    }
    return static_cast<double>(part_ * threads_) / fastest;
}

}  // namespace bitsweep
