#include "worker/inference/ceilings/launches.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include "worker/inference/ceilings/kernels.h"

namespace bitsweep::ceilings {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int launches = 1000;  // below the driver's queue, which would make the host wait
constexpr int round_trips = 200;
constexpr int small_graph = 128;   // nodes; the difference of the two sizes cancels what a replay
constexpr int large_graph = 1152;  // itself costs
constexpr int repeats = 7;

double ns_since(Clock::time_point begin) {
    return std::chrono::duration<double, std::nano>(Clock::now() - begin).count();
}

struct Graph {
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t replay = nullptr;
    Graph() = default;
    Graph(const Graph&) = delete;
    Graph& operator=(const Graph&) = delete;
    ~Graph() {
        if (replay != nullptr) {
            cudaGraphExecDestroy(replay);
        }
        if (graph != nullptr) {
            cudaGraphDestroy(graph);
        }
    }
};

// Fastest replay of a chain of empty kernels, device time.
Result<double> graph_ns(Stopwatch& watch, int nodes) {
    Graph chain;
    TRY(checked(cudaStreamBeginCapture(watch.stream(), cudaStreamCaptureModeThreadLocal),
                "capturing a graph"));
    for (int i = 0; i < nodes; ++i) {
        empty(watch.stream());  // an error is sticky in the capture and reported by its end
    }
    TRY(checked(cudaStreamEndCapture(watch.stream(), &chain.graph), "capturing a graph"));
    TRY(checked(cudaGraphInstantiate(&chain.replay, chain.graph, 0), "instantiating a graph"));
    double best = std::numeric_limits<double>::infinity();
    for (int i = 0; i <= repeats; ++i) {
        const double ns = TRY(device_ns(watch, [&] {
            return checked(cudaGraphLaunch(chain.replay, watch.stream()), "replaying a graph");
        }));
        best = i == 0 ? best : std::min(best, ns);  // the first one uploads the graph
    }
    return best;
}

}  // namespace

Status measure_launches(Stopwatch& watch, DeviceCeilings& to) {
    double queued = std::numeric_limits<double>::infinity();
    for (int i = 0; i < repeats; ++i) {
        const auto begin = Clock::now();
        for (int k = 0; k < launches; ++k) {
            TRY(checked(empty(watch.stream()), "an empty kernel"));
        }
        TRY(checked(cudaStreamSynchronize(watch.stream()), "empty kernels"));
        queued = std::min(queued, ns_since(begin) / launches);
    }
    double waited = std::numeric_limits<double>::infinity();
    for (int i = 0; i < round_trips; ++i) {
        const auto begin = Clock::now();
        TRY(checked(empty(watch.stream()), "an empty kernel"));
        TRY(checked(cudaStreamSynchronize(watch.stream()), "an empty kernel"));
        waited = std::min(waited, ns_since(begin));
    }
    const double small = TRY(graph_ns(watch, small_graph));
    const double large = TRY(graph_ns(watch, large_graph));
    to.launch_ns = queued;
    to.round_trip_ns = waited;
    to.graph_node_ns = (large - small) / (large_graph - small_graph);
    return {};
}

}  // namespace bitsweep::ceilings
