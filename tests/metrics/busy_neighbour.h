// Another process on this thread's core, for as long as it lives: what a window must not share.
#pragma once

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>

namespace bitsweep {

class BusyNeighbour {
 public:
    // Ties this thread and its neighbour to the core that it runs on.
    BusyNeighbour() {
        sched_getaffinity(0, sizeof before_, &before_);
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(sched_getcpu(), &one);
        sched_setaffinity(0, sizeof one, &one);
        child_ = fork();
        if (child_ == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            for (volatile unsigned count = 0;;) {
                count = count + 1;
            }
        }
    }
    ~BusyNeighbour() {
        if (child_ > 0) {
            kill(child_, SIGKILL);
            waitpid(child_, nullptr, 0);
        }
        sched_setaffinity(0, sizeof before_, &before_);
    }
    BusyNeighbour(const BusyNeighbour&) = delete;
    BusyNeighbour& operator=(const BusyNeighbour&) = delete;

 private:
    cpu_set_t before_ = {};
    pid_t child_ = -1;
};

inline void compute_for(std::chrono::milliseconds time) {
    const auto end = std::chrono::steady_clock::now() + time;
    for (volatile unsigned count = 0; std::chrono::steady_clock::now() < end;) {
        count = count + 1;
    }
}

}  // namespace bitsweep
