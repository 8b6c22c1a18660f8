#include "worker/runner/process_memory.h"

#include <malloc.h>

#include <fstream>
#include <string>

namespace bitsweep {
namespace {

std::uint64_t status_bytes(const std::string& key) {
    std::ifstream status("/proc/self/status");
    std::string word;
    while (status >> word) {
        if (word == key) {
            std::uint64_t kib = 0;
            status >> kib;
            return kib * 1024;
        }
    }
    return 0;
}

}  // namespace

std::uint64_t resident_bytes() {
    return status_bytes("VmRSS:");
}

std::uint64_t peak_resident_bytes() {
    return status_bytes("VmHWM:");
}

bool reset_peak_resident() {
    std::ofstream clear("/proc/self/clear_refs");
    clear << "5" << std::flush;  // proc(5): resets the peak resident set size
    return clear.good();
}

void return_freed_memory() {
    ::malloc_trim(0);
}

}  // namespace bitsweep
