#include "worker/agent/kernel_oom.h"

#include <fstream>
#include <string>

namespace bitsweep::agent {

namespace {

std::uint64_t counter(const std::string& file, const std::string& name) {
    std::ifstream stream(file);
    std::string word;
    std::uint64_t value = 0;
    while (stream >> word >> value) {
        if (word == name) {
            return value;
        }
    }
    return 0;
}

std::string control_group() {
    std::ifstream stream("/proc/self/cgroup");
    std::string line;
    while (std::getline(stream, line)) {
        if (line.rfind("0::", 0) == 0) {
            return line.substr(3);
        }
    }
    return "/";
}

}  // namespace

std::uint64_t kernel_oom_kills() {
    return counter("/proc/vmstat", "oom_kill") +
           counter("/sys/fs/cgroup" + control_group() + "/memory.events", "oom_kill");
}

}  // namespace bitsweep::agent
