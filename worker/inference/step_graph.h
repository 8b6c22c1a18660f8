// One decode step as a CUDA graph: captured once, replayed for every token.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "schemas/status.h"

namespace bitsweep {

class StepGraph {
 public:
    StepGraph() = default;
    ~StepGraph();
    StepGraph(const StepGraph&) = delete;
    StepGraph& operator=(const StepGraph&) = delete;

    // Queues one step. `queue` queues it kernel by kernel: that is what happens at the first two
    // calls, which let buffers grow and kernels be chosen; the third captures it. `memory` is a
    // number that changes when a buffer that the step uses has moved: then it is captured again.
    Status run(cudaStream_t stream, std::uint64_t memory, const std::function<Status()>& queue);

    // Operations of one replay; 0: the last step was queued kernel by kernel.
    std::int64_t nodes() const { return nodes_; }

 private:
    Status capture(cudaStream_t stream, const std::function<Status()>& queue);
    void forget();

    cudaGraphExec_t graph_ = nullptr;
    std::int64_t nodes_ = 0;
    std::uint64_t memory_ = 0;
    int calls_ = 0;  // with the present memory
};

// Events in order, for the time of each step on the device's clock.
class EventRow {
 public:
    EventRow() = default;
    ~EventRow();
    EventRow(const EventRow&) = delete;
    EventRow& operator=(const EventRow&) = delete;

    Status create(std::int64_t count);
    // Inside a capture it becomes part of the graph: each replay records it anew.
    Status record(std::int64_t index, cudaStream_t stream);
    // After the device has passed both.
    Result<std::int64_t> between_ns(std::int64_t first, std::int64_t second) const;

 private:
    std::vector<cudaEvent_t> events_;
};

}  // namespace bitsweep
