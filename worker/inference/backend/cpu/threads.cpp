#include "worker/inference/backend/cpu/threads.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "schemas/status.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace bitsweep {
namespace {

// Two decode kernels follow each other within some 10 us; a futex wake-up costs about 50 us on a
// virtual machine. 4,000 pauses are 50-150 us: long enough to stay awake inside one token, short
// enough to leave the core to others between tokens.
constexpr int spins_before_sleep = 4000;

void pause_cpu() {
#if defined(__x86_64__)
    _mm_pause();
#else
    std::this_thread::yield();
#endif
}

// True on a thread that is inside a body: a nested loop then runs on that thread alone.
thread_local bool inside_body = false;

}  // namespace

struct ThreadPool::State {
    int threads = 1;
    std::vector<std::thread> workers;

    // The loop at hand; written before `generation` moves, read after.
    std::int64_t count = 0;
    std::int64_t grain = 1;
    const std::function<void(std::int64_t, std::int64_t)>* body = nullptr;

    alignas(64) std::atomic<std::uint32_t> generation{0};
    alignas(64) std::atomic<int> pending{0};
    std::atomic<bool> stop{false};

    void run_share(int index) const {
        const std::int64_t grains = (count + grain - 1) / grain;
        const std::int64_t begin = std::min(count, grains * index / threads * grain);
        const std::int64_t end = std::min(count, grains * (index + 1) / threads * grain);
        if (begin < end) {
            inside_body = true;
            (*body)(begin, end);
            inside_body = false;
        }
    }

    void work(int index) {
        std::uint32_t seen = 0;
        for (;;) {
            int spins = 0;
            while (generation.load(std::memory_order_acquire) == seen) {
                if (++spins < spins_before_sleep) {
                    pause_cpu();
                } else {
                    generation.wait(seen, std::memory_order_acquire);
                }
            }
            seen = generation.load(std::memory_order_acquire);
            if (stop.load(std::memory_order_acquire)) {
                return;
            }
            run_share(index);
            pending.fetch_sub(1, std::memory_order_acq_rel);
        }
    }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
    ASSERT(threads >= 1);
    state_->threads = threads;
    for (int index = 1; index < threads; ++index) {
        state_->workers.emplace_back([state = state_.get(), index] { state->work(index); });
    }
}

ThreadPool::~ThreadPool() {
    state_->stop.store(true, std::memory_order_release);
    state_->generation.fetch_add(1, std::memory_order_release);
    state_->generation.notify_all();
    for (std::thread& worker : state_->workers) {
        worker.join();
    }
}

int ThreadPool::threads() const {
    return state_->threads;
}

void ThreadPool::parallel_for(std::int64_t count, std::int64_t grain,
                              const std::function<void(std::int64_t, std::int64_t)>& body) {
    ASSERT(grain >= 1);
    if (count <= 0) {
        return;
    }
    State& state = *state_;
    if (state.threads == 1 || count <= grain || inside_body) {
        body(0, count);
        return;
    }
    state.count = count;
    state.grain = grain;
    state.body = &body;
    state.pending.store(state.threads - 1, std::memory_order_relaxed);
    state.generation.fetch_add(1, std::memory_order_release);
    state.generation.notify_all();
    state.run_share(0);
    int spins = 0;
    while (state.pending.load(std::memory_order_acquire) != 0) {
        // A worker that lost its core would otherwise wait for the very core that spins here.
        if (++spins < spins_before_sleep) {
            pause_cpu();
        } else {
            std::this_thread::yield();
        }
    }
}

}  // namespace bitsweep
