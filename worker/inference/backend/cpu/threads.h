// A small pool for loops that are shorter than a wake-up: workers spin briefly, then sleep.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace bitsweep {

class ThreadPool {
 public:
    // `threads` >= 1 counts the calling thread.
    explicit ThreadPool(int threads);
    ~ThreadPool();
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    int threads() const;

    // Calls body(begin, end) for disjoint ranges that cover [0, count), each begin a multiple of
    // `grain`; returns when all are done. The caller takes part. Not re-entrant.
    void parallel_for(std::int64_t count, std::int64_t grain,
                      const std::function<void(std::int64_t, std::int64_t)>& body);

 private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace bitsweep
