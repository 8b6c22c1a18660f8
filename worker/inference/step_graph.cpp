#include "worker/inference/step_graph.h"

#include "worker/inference/backend/cuda/cuda_error.h"
#include "worker/inference/launch_counter.h"

namespace bitsweep {
namespace {

constexpr int calls_before_capture = 2;

}  // namespace

StepGraph::~StepGraph() {
    forget();
}

void StepGraph::forget() {
    if (graph_ != nullptr) {
        cudaGraphExecDestroy(graph_);
        graph_ = nullptr;
    }
    nodes_ = 0;
    calls_ = 0;
}

Status StepGraph::run(cudaStream_t stream, std::uint64_t memory,
                      const std::function<Status()>& queue) {
    if (memory != memory_) {
        forget();
        memory_ = memory;
    }
    if (graph_ == nullptr) {
        if (calls_++ < calls_before_capture) {
            return queue();
        }
        TRY(capture(stream, queue));
    }
    return cuda_status(cudaGraphLaunch(graph_, stream), "a decode step");
}

Status StepGraph::capture(cudaStream_t stream, const std::function<Status()>& queue) {
    TRY(cuda_status(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal),
                    "capturing a decode step"));
    const Status status = queue();
    if (!status.ok()) {
        cudaGraph_t graph = nullptr;
        cudaStreamEndCapture(stream, &graph);
        cudaGetLastError();
        if (graph != nullptr) {
            cudaGraphDestroy(graph);
        }
        return status;
    }
    const CapturedWork work = TRY(end_capture(stream));
    graph_ = work.run;
    nodes_ = work.operations;
    return {};
}

EventRow::~EventRow() {
    for (cudaEvent_t event : events_) {
        cudaEventDestroy(event);
    }
}

Status EventRow::create(std::int64_t count) {
    while (std::ssize(events_) < count) {
        cudaEvent_t event = nullptr;
        TRY(cuda_status(cudaEventCreate(&event), "an event"));
        events_.push_back(event);
    }
    return {};
}

Status EventRow::record(std::int64_t index, cudaStream_t stream) {
    cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
    TRY(cuda_status(cudaStreamIsCapturing(stream, &capture), "an event"));
    // The flag is refused outside a capture; without it a captured event only orders streams.
    const unsigned flags =
        capture == cudaStreamCaptureStatusActive ? cudaEventRecordExternal : cudaEventRecordDefault;
    return cuda_status(
        cudaEventRecordWithFlags(events_[static_cast<std::size_t>(index)], stream, flags),
        "an event");
}

Result<std::int64_t> EventRow::between_ns(std::int64_t first, std::int64_t second) const {
    float ms = 0;
    TRY(cuda_status(cudaEventElapsedTime(&ms, events_[static_cast<std::size_t>(first)],
                                         events_[static_cast<std::size_t>(second)]),
                    "the time of a step"));
    return static_cast<std::int64_t>(static_cast<double>(ms) * 1e6);
}

}  // namespace bitsweep
