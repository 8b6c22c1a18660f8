#include "worker/inference/launch_counter.h"

#include "worker/inference/backend/cuda/cuda_error.h"

namespace bitsweep {
namespace {

class PieceByPiece final : public WaitWatcher {
 public:
    explicit PieceByPiece(CudaBackend& backend) : backend_(backend) { backend_.watch_waits(this); }
    ~PieceByPiece() override { backend_.watch_waits(nullptr); }
    PieceByPiece(const PieceByPiece&) = delete;
    PieceByPiece& operator=(const PieceByPiece&) = delete;

    // Relaxed: a buffer may still grow, between two pieces.
    Status begin() {
        return cuda_status(cudaStreamBeginCapture(backend_.stream(), cudaStreamCaptureModeRelaxed),
                           "counting a step's launches");
    }

    Status end() {
        const CapturedWork piece = TRY(end_capture(backend_.stream()));
        work_.launches += piece.operations;
        const cudaError_t launched = cudaGraphLaunch(piece.run, backend_.stream());
        cudaGraphExecDestroy(piece.run);  // what was launched still runs to its end
        return cuda_status(launched, "counting a step's launches");
    }

    Status before_wait() override {
        ++work_.syncs;
        return end();
    }
    Status after_wait() override { return begin(); }

    const HostWork& work() const { return work_; }

 private:
    CudaBackend& backend_;
    HostWork work_;
};

// A failed step leaves its capture open.
void abandon_capture(cudaStream_t stream) {
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    if (cudaStreamIsCapturing(stream, &status) == cudaSuccess &&
        status != cudaStreamCaptureStatusNone) {
        cudaGraph_t graph = nullptr;
        cudaStreamEndCapture(stream, &graph);
        if (graph != nullptr) {
            cudaGraphDestroy(graph);
        }
    }
    cudaGetLastError();
}

}  // namespace

Result<CapturedWork> end_capture(cudaStream_t stream) {
    cudaGraph_t graph = nullptr;
    TRY(cuda_status(cudaStreamEndCapture(stream, &graph), "capturing a decode step"));
    CapturedWork work;
    std::size_t nodes = 0;
    cudaError_t error = cudaGraphGetNodes(graph, nullptr, &nodes);
    if (error == cudaSuccess) {
        error = cudaGraphInstantiate(&work.run, graph, 0);
    }
    cudaGraphDestroy(graph);
    TRY(cuda_status(error, "capturing a decode step"));
    work.operations = static_cast<std::int64_t>(nodes);
    return work;
}

Result<HostWork> count_host_work(CudaBackend& backend, const std::function<Status()>& queue) {
    PieceByPiece pieces(backend);
    Status status = pieces.begin();
    if (status) {
        status = queue();
    }
    if (status) {
        status = pieces.end();
    }
    if (!status) {
        abandon_capture(backend.stream());
        return status.error();
    }
    return pieces.work();
}

}  // namespace bitsweep
