// Weights of one model side by side in device memory. cudaMalloc gives whole pages of 2 MiB, which
// a layer of 2.25 MiB half wastes: on an H100, NVML counted 48 MiB more than the ledger for GPT-2
// 124M at int8, 22 MiB for Llama-3.2-1B at int4-g128, 5 MiB at int8. Here a range of addresses is
// reserved once and pages are mapped behind it as it fills: less than one page is wasted in all.
// With it (the same card, 7 cells): at most 4.5 MB more than the ledger, and loading takes 0.7
// to 1.0 of the time (GPT-2 fp16 59 -> 4.5 MB, 128 -> 106 ms; int4-g128 at 1B 22.7 -> 3.8 MB, 922
// -> 635 ms).
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace bitsweep {

class DeviceArena {
 public:
    // nullptr (one cudaMalloc a buffer) where BITSWEEP_DEVICE_ARENA=off asks for it or the driver
    // cannot map memory by pages. compute-sanitizer sees the end of each buffer only without it.
    static std::shared_ptr<DeviceArena> create(int ordinal);
    ~DeviceArena();  // waits for the device, then gives everything back
    DeviceArena(const DeviceArena&) = delete;
    DeviceArena& operator=(const DeviceArena&) = delete;

    // 256-byte aligned, valid as long as the arena. cudaErrorMemoryAllocation as cudaMalloc.
    cudaError_t take(void** to, std::size_t bytes);

 private:
    struct Driver;
    struct Page {
        std::uint64_t handle;
        std::size_t at, bytes;
    };

    DeviceArena() = default;
    bool reserve();
    cudaError_t grow(std::size_t bytes);

    int ordinal_ = 0;
    std::unique_ptr<Driver> driver_;
    std::size_t page_ = 0;  // smallest unit that can be mapped
    std::uint64_t base_ = 0;
    std::size_t reserved_ = 0, mapped_ = 0, used_ = 0;
    std::vector<Page> pages_;
};

}  // namespace bitsweep
