// What this card reaches, what NVML says of it, and whether watching it costs anything: the parts
// that every GPU measurement rests on, alone.
//
// usage: bench_gpu_ceilings [--device N] [--seconds S] [--json]
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "worker/inference/ceilings/ceilings.h"
#include "worker/metrics/device_monitor.h"
#include "worker/metrics/device_notes.h"
#include "worker/metrics/metric.h"
#include "worker/metrics/statistics.h"

namespace {

using namespace bitsweep;
using Clock = std::chrono::steady_clock;

struct Options {
    int device = 0;
    double seconds = 5;
    bool json = false;
};

double seconds_since(Clock::time_point begin) {
    return std::chrono::duration<double>(Clock::now() - begin).count();
}

// Readings of the bandwidth one after the other: a load that keeps the card's memory busy.
Result<std::vector<double>> read_for(int device, double seconds) {
    std::vector<double> rates;
    const auto begin = Clock::now();
    while (seconds_since(begin) < seconds) {
        rates.push_back(TRY(read_bandwidth_now(device)));
    }
    return rates;
}

void print_rows(const std::vector<Measurement>& rows) {
    for (const Measurement& row : rows) {
        std::printf("  %-28s %16.6g %s\n", row.metric.c_str(), row.value, row.unit.c_str());
    }
}

void print_json(const std::vector<Measurement>& rows) {
    std::string text;
    for (const Measurement& row : rows) {
        char value[64];
        std::snprintf(value, sizeof value, "\"%s\": %.9g", row.metric.c_str(), row.value);
        text += (text.empty() ? "" : ", ") + std::string(value);
    }
    std::printf("{%s}\n", text.c_str());
}

Status bench(const Options& options) {
    const DeviceIdentity device = TRY(device_identity(options.device));
    std::printf("%s, sm_%d, %d SMs, %.1f GiB, L2 %.0f MiB, PCI %s, CUDA %d (driver %d)\n",
                device.name.c_str(), device.sm, device.multiprocessors,
                static_cast<double>(device.memory_bytes) / (1 << 30),
                static_cast<double>(device.l2_bytes) / (1 << 20), device.pci_bus_id.c_str(),
                device.runtime, device.driver);
    std::string notes;
    const DeviceCeilings ceilings = TRY(measured_ceilings(options.device, &notes));
    std::printf(
        "ceilings: read %.1f GB/s, copy %.1f GB/s, launch %.2f us, round trip %.2f us, "
        "graph node %.3f us, fp16 %.1f TFLOP/s, int8 %.1f TOP/s; %.2f s%s%s\n",
        ceilings.read_bandwidth / 1e9, ceilings.copy_bandwidth / 1e9, ceilings.launch_ns / 1e3,
        ceilings.round_trip_ns / 1e3, ceilings.graph_node_ns / 1e3, ceilings.fp16_flops / 1e12,
        ceilings.int8_ops / 1e12, ceilings.seconds, notes.empty() ? "" : "; ", notes.c_str());

    DeviceMonitor monitor(device.pci_bus_id);
    monitor.note_context();
    const auto alone = TRY(read_for(options.device, options.seconds / 2));
    monitor.note_loaded();
    monitor.begin();
    const auto watched = TRY(read_for(options.device, options.seconds));
    const DeviceRecord record = monitor.end(static_cast<std::int64_t>(watched.size()));
    std::printf("read bandwidth alone %.1f GB/s (%zu readings), watched %.1f GB/s (%zu)\n",
                *median(alone) / 1e9, alone.size(), *median(watched) / 1e9, watched.size());
    for (const auto& [name, words] : device_notes(record)) {
        std::printf("  %-28s %s\n", name.c_str(), words.c_str());
    }
    const Trace trace;
    const auto rows = measure({.trace = trace,
                               .read_bandwidth = ceilings.read_bandwidth,
                               .device = &record,
                               .ceilings = &ceilings});
    print_rows(rows);
    if (options.json) {
        print_json(rows);
    }
    return {};
}

}  // namespace

int main(int count, char** words) {
    Options options;
    for (int i = 1; i < count; ++i) {
        const bool more = i + 1 < count;
        if (std::strcmp(words[i], "--json") == 0) {
            options.json = true;
        } else if (std::strcmp(words[i], "--device") == 0 && more) {
            options.device = std::atoi(words[++i]);
        } else if (std::strcmp(words[i], "--seconds") == 0 && more) {
            options.seconds = std::atof(words[++i]);
        } else {
            std::fprintf(stderr, "usage: bench_gpu_ceilings [--device N] [--seconds S] [--json]\n");
            return 2;
        }
    }
    const Status done = bench(options);
    if (!done) {
        std::fprintf(stderr, "bench_gpu_ceilings: %s\n", done.error().message.c_str());
        return 1;
    }
    return 0;
}
