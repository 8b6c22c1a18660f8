#include "coordinator/cli/interrupt.h"

#include <csignal>

namespace bitsweep {

namespace {

Interrupts state;
std::atomic<std::atomic<int>*> other{nullptr};

static_assert(std::atomic<int>::is_always_lock_free);  // or a handler could not touch it

void note(int number) {
    int none = 0;
    state.signal.compare_exchange_strong(none, number);
    ++state.count;
    state.any = true;
    if (std::atomic<int>* counter = other.load()) {
        ++*counter;
    }
}

}  // namespace

Interrupts& interrupts() {
    static const bool installed = [] {
        struct sigaction action {};
        action.sa_handler = note;  // no SA_RESTART: poll() is to come back at once
        sigemptyset(&action.sa_mask);
        sigaction(SIGINT, &action, nullptr);
        sigaction(SIGTERM, &action, nullptr);
        return true;
    }();
    (void)installed;
    return state;
}

void also_set(std::atomic<int>& counter) {
    other = &counter;
}

}  // namespace bitsweep
