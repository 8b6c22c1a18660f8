// Ctrl-C and SIGTERM as flags. Installed once by a command that has something to put in order.
#pragma once

#include <atomic>

namespace bitsweep {

struct Interrupts {
    std::atomic<int> count{0};   // SIGINT and SIGTERM so far
    std::atomic<int> signal{0};  // the first of them
    std::atomic<bool> any{false};
};

// The one instance; the first call installs the handlers.
Interrupts& interrupts();

// Another flag that the first signal sets too; must live until the program ends.
void also_set(std::atomic<int>& counter);

}  // namespace bitsweep
