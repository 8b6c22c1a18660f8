#include "worker/inference/ceilings/ceilings.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <map>
#include <mutex>

#include "worker/inference/ceilings/device_objects.h"
#include "worker/inference/ceilings/kernels.h"
#include "worker/inference/ceilings/launches.h"
#include "worker/inference/ceilings/matrix_product.h"

namespace bitsweep {
namespace {

using namespace ceilings;
using Clock = std::chrono::steady_clock;

constexpr std::uint64_t wanted_buffer = std::uint64_t{2} << 30;  // 40 x the L2 of an H100
constexpr std::uint64_t least_l2_multiple = 8;
constexpr int passes = 5;
constexpr int blocks_per_sm[] = {4, 8, 16};  // the best differs between cards
constexpr double warm_up_s = 0.15;           // an idle card raises its clocks within 0.1 s
constexpr int large_order = 8192, small_order = 4096;
constexpr std::uint64_t least_free_for_large = std::uint64_t{2} << 30;

struct Buffer {
    DeviceBlock block, sink;
    std::uint64_t bytes = 0;
};

Result<std::uint64_t> free_bytes() {
    std::size_t free = 0, total = 0;
    TRY(checked(cudaMemGetInfo(&free, &total), "free device memory"));
    return std::uint64_t{free};
}

Result<Buffer> filled_buffer(const DeviceIdentity& device, Stopwatch& watch) {
    Buffer buffer;
    const std::uint64_t free = TRY(free_bytes());
    buffer.bytes = std::min(wanted_buffer, free / 4) / (std::uint64_t{1} << 20) << 20;
    if (buffer.bytes < least_l2_multiple * device.l2_bytes || buffer.bytes == 0) {
        return make_error(ErrorCode::out_of_gpu_memory,
                          "the read bandwidth needs " +
                              std::to_string(4 * least_l2_multiple * device.l2_bytes >> 20) +
                              " MiB of free device memory, " + std::to_string(free >> 20) +
                              " MiB are free");
    }
    buffer.block = TRY(device_block(buffer.bytes));
    buffer.sink = TRY(device_block(sizeof(std::uint32_t)));
    TRY(checked(fill_words(buffer.block.get(), buffer.bytes, watch.stream()), "filling a buffer"));
    TRY(checked(cudaStreamSynchronize(watch.stream()), "filling a buffer"));
    return buffer;
}

Status read_once(const Buffer& buffer, int blocks, Stopwatch& watch) {
    return checked(read_all(buffer.block.get(), buffer.bytes, blocks,
                            static_cast<std::uint32_t*>(buffer.sink.get()), watch.stream()),
                   "the read kernel");
}

Status warm_up(const Buffer& buffer, const DeviceIdentity& device, Stopwatch& watch) {
    const auto begin = Clock::now();
    while (std::chrono::duration<double>(Clock::now() - begin).count() < warm_up_s) {
        TRY(read_once(buffer, 8 * device.multiprocessors, watch));
        TRY(checked(cudaStreamSynchronize(watch.stream()), "the read kernel"));
    }
    return {};
}

Result<double> best_read(const Buffer& buffer, const DeviceIdentity& device, Stopwatch& watch) {
    double best = std::numeric_limits<double>::infinity();
    for (const int blocks : blocks_per_sm) {
        for (int i = 0; i < passes; ++i) {
            best = std::min(best, TRY(device_ns(watch, [&] {
                                return read_once(buffer, blocks * device.multiprocessors, watch);
                            })));
        }
    }
    return static_cast<double>(buffer.bytes) / best * 1e9;
}

// The better of a kernel and the driver's own copy.
Result<double> best_copy(const Buffer& buffer, const DeviceIdentity& device, Stopwatch& watch) {
    const std::uint64_t half = buffer.bytes / 2;
    auto* const to = static_cast<std::byte*>(buffer.block.get()) + half;
    double best = std::numeric_limits<double>::infinity();
    const auto keep = [&](auto queue) -> Status {
        for (int i = 0; i < passes; ++i) {
            best = std::min(best, TRY(device_ns(watch, queue)));
        }
        return {};
    };
    for (const int blocks : blocks_per_sm) {
        TRY(keep([&] {
            return checked(copy_all(buffer.block.get(), to, half, blocks * device.multiprocessors,
                                    watch.stream()),
                           "the copy kernel");
        }));
    }
    TRY(keep([&] {
        return checked(
            cudaMemcpyAsync(to, buffer.block.get(), half, cudaMemcpyDeviceToDevice, watch.stream()),
            "a copy");
    }));
    return static_cast<double>(2 * half) / best * 1e9;
}

// A product that a card or its library does not have is no reason to lose the other ceilings.
Status product_or_note(Stopwatch& watch, ProductType type, double& to, std::string& notes) {
    const int order = TRY(free_bytes()) >= least_free_for_large ? large_order : small_order;
    const Result<double> rate = product_rate(watch, type, order);
    if (rate) {
        to = *rate;
        return {};
    }
    notes += (notes.empty() ? "" : "; ") + rate.error().message;
    return rate.error().code == ErrorCode::gpu_fault ? Status(rate.error()) : Status();
}

Result<DeviceCeilings> measure(int ordinal, std::string& notes) {
    const auto begin = Clock::now();
    const DeviceIdentity device = TRY(device_identity(ordinal));
    const auto watch = TRY(Stopwatch::on(ordinal));
    DeviceCeilings found;
    {
        const Buffer buffer = TRY(filled_buffer(device, *watch));
        TRY(warm_up(buffer, device, *watch));
        found.read_bandwidth = TRY(best_read(buffer, device, *watch));
        found.copy_bandwidth = TRY(best_copy(buffer, device, *watch));
    }
    TRY(measure_launches(*watch, found));
    TRY(product_or_note(*watch, ProductType::fp16, found.fp16_flops, notes));
    TRY(product_or_note(*watch, ProductType::int8, found.int8_ops, notes));
    found.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    return found;
}

}  // namespace

int device_count() {
    int count = 0;
    return checked(cudaGetDeviceCount(&count), "counting devices").ok() ? count : 0;
}

Result<DeviceIdentity> device_identity(int ordinal) {
    const int count = device_count();
    if (ordinal < 0 || ordinal >= count) {
        return make_error(ErrorCode::unsupported,
                          "there is no device cuda:" + std::to_string(ordinal) + "; CUDA sees " +
                              std::to_string(count));
    }
    cudaDeviceProp facts{};
    TRY(checked(cudaGetDeviceProperties(&facts, ordinal), "the device's properties"));
    DeviceIdentity device;
    device.ordinal = ordinal;
    device.name = facts.name;
    device.sm = facts.major * 10 + facts.minor;
    device.multiprocessors = facts.multiProcessorCount;
    device.memory_bytes = facts.totalGlobalMem;
    device.l2_bytes = static_cast<std::uint64_t>(facts.l2CacheSize);
    char bus_id[32] = {};
    TRY(checked(cudaDeviceGetPCIBusId(bus_id, sizeof bus_id, ordinal), "the device's PCI id"));
    device.pci_bus_id = bus_id;
    TRY(checked(cudaDriverGetVersion(&device.driver), "the driver's version"));
    TRY(checked(cudaRuntimeGetVersion(&device.runtime), "the runtime's version"));
    return device;
}

Result<DeviceCeilings> measured_ceilings(int ordinal, std::string* notes) {
    struct Kept {
        DeviceCeilings ceilings;
        std::string notes;
    };
    static std::mutex lock;
    static std::map<int, Kept> kept;
    const std::scoped_lock guard(lock);
    auto found = kept.find(ordinal);
    if (found == kept.end()) {
        Kept fresh;
        fresh.ceilings = TRY(measure(ordinal, fresh.notes));
        found = kept.emplace(ordinal, std::move(fresh)).first;
    }
    if (notes != nullptr && !found->second.notes.empty()) {
        *notes += (notes->empty() ? "" : "; ") + found->second.notes;
    }
    return found->second.ceilings;
}

Result<double> read_bandwidth_now(int ordinal) {
    const DeviceIdentity device = TRY(device_identity(ordinal));
    const auto watch = TRY(Stopwatch::on(ordinal));
    const Buffer buffer = TRY(filled_buffer(device, *watch));
    TRY(read_once(buffer, blocks_per_sm[0] * device.multiprocessors, *watch));
    return best_read(buffer, device, *watch);
}

Result<std::uint64_t> device_used_bytes(int ordinal) {
    const auto watch = TRY(Stopwatch::on(ordinal));
    std::size_t free = 0, total = 0;
    TRY(checked(cudaMemGetInfo(&free, &total), "used device memory"));
    return std::uint64_t{total - free};
}

}  // namespace bitsweep
