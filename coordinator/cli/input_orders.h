// Orders of whoever started this worker, a word a line on standard input: "drain", "stop".
#pragma once

#include <thread>

#include "worker/agent/agent_loop.h"

namespace bitsweep {

// Listens until it is destroyed. The end of the input is no order: a launcher whose connection
// broke leaves its worker alone.
class InputOrders {
 public:
    explicit InputOrders(agent::StopFlags& flags);

 private:
    std::jthread thread_;
};

}  // namespace bitsweep
