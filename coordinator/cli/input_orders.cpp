#include "coordinator/cli/input_orders.h"

#include <poll.h>
#include <unistd.h>

#include <string>

namespace bitsweep {

namespace {

constexpr int glance_ms = 100;
constexpr std::size_t longest_order = 100;

void obey(const std::string& order, agent::StopFlags& flags) {
    if (order == "drain") {
        flags.drain = true;
    } else if (order == "stop") {
        ++flags.stop;
    }
}

void listen(const std::stop_token& stop, agent::StopFlags& flags) {
    std::string line;
    while (!stop.stop_requested()) {
        pollfd item{STDIN_FILENO, POLLIN, 0};
        if (poll(&item, 1, glance_ms) <= 0) {
            continue;
        }
        char byte = 0;
        if (read(STDIN_FILENO, &byte, 1) <= 0) {
            return;
        }
        if (byte == '\n') {
            obey(line, flags);
            line.clear();
        } else if (line.size() < longest_order) {
            line.push_back(byte);
        }
    }
}

}  // namespace

InputOrders::InputOrders(agent::StopFlags& flags)
    : thread_([&flags](const std::stop_token& stop) { listen(stop, flags); }) {}

}  // namespace bitsweep
