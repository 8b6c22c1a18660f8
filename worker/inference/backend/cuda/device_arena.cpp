#include "worker/inference/backend/cuda/device_arena.h"

#include <cuda.h>

#include <cstdlib>
#include <cstring>

namespace bitsweep {
namespace {

constexpr std::size_t alignment = 256;     // what cudaMalloc promises
constexpr unsigned entry_version = 12000;  // all of these are older
constexpr const char* variable = "BITSWEEP_DEVICE_ARENA";

std::size_t rounded_up(std::size_t bytes, std::size_t unit) {
    return (bytes + unit - 1) / unit * unit;
}

cudaError_t runtime_error(CUresult result) {
    if (result == CUDA_SUCCESS) {
        return cudaSuccess;
    }
    return result == CUDA_ERROR_OUT_OF_MEMORY ? cudaErrorMemoryAllocation : cudaErrorUnknown;
}

CUmemAllocationProp properties(int ordinal) {
    CUmemAllocationProp wanted{};
    wanted.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    wanted.location = {};
    wanted.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    wanted.location.id = ordinal;
    return wanted;
}

template <class Function>
bool find(const char* name, Function& to) {
    void* entry = nullptr;
    cudaDriverEntryPointQueryResult found{};
    if (cudaGetDriverEntryPointByVersion(name, &entry, entry_version, cudaEnableDefault, &found) !=
            cudaSuccess ||
        found != cudaDriverEntryPointSuccess) {
        cudaGetLastError();
        return false;
    }
    to = reinterpret_cast<Function>(entry);
    return true;
}

}  // namespace

// The driver's calls, found through the runtime: the same program starts where there is no driver.
struct DeviceArena::Driver {
    decltype(&cuMemGetAllocationGranularity) granularity = nullptr;
    decltype(&cuMemAddressReserve) reserve = nullptr;
    decltype(&cuMemAddressFree) free_addresses = nullptr;
    decltype(&cuMemCreate) create = nullptr;
    decltype(&cuMemRelease) release = nullptr;
    decltype(&cuMemMap) map = nullptr;
    decltype(&cuMemUnmap) unmap = nullptr;
    decltype(&cuMemSetAccess) set_access = nullptr;

    bool load() {
        return find("cuMemGetAllocationGranularity", granularity) &&
               find("cuMemAddressReserve", reserve) && find("cuMemAddressFree", free_addresses) &&
               find("cuMemCreate", create) && find("cuMemRelease", release) &&
               find("cuMemMap", map) && find("cuMemUnmap", unmap) &&
               find("cuMemSetAccess", set_access);
    }
};

std::shared_ptr<DeviceArena> DeviceArena::create(int ordinal) {
    const char* wish = std::getenv(variable);
    if (wish != nullptr && std::strcmp(wish, "off") == 0) {
        return nullptr;
    }
    std::shared_ptr<DeviceArena> arena(new DeviceArena);
    arena->ordinal_ = ordinal;
    arena->driver_ = std::make_unique<Driver>();
    return arena->driver_->load() && arena->reserve() ? arena : nullptr;
}

// Addresses cost nothing: twice the card's memory never runs out before the memory does.
bool DeviceArena::reserve() {
    const CUmemAllocationProp wanted = properties(ordinal_);
    std::size_t free = 0, total = 0;
    CUdeviceptr base = 0;
    if (driver_->granularity(&page_, &wanted, CU_MEM_ALLOC_GRANULARITY_MINIMUM) != CUDA_SUCCESS ||
        cudaMemGetInfo(&free, &total) != cudaSuccess) {
        cudaGetLastError();
        return false;
    }
    const std::size_t bytes = rounded_up(2 * total, page_);
    if (driver_->reserve(&base, bytes, 0, 0, 0) != CUDA_SUCCESS) {
        return false;
    }
    base_ = base;
    reserved_ = bytes;
    return true;
}

DeviceArena::~DeviceArena() {
    if (reserved_ == 0) {
        return;
    }
    cudaSetDevice(ordinal_);
    cudaDeviceSynchronize();  // as cudaFree: what still reads the pages ends first
    for (const Page& page : pages_) {
        driver_->unmap(base_ + page.at, page.bytes);
        driver_->release(page.handle);
    }
    driver_->free_addresses(base_, reserved_);
}

cudaError_t DeviceArena::grow(std::size_t bytes) {
    const CUmemAllocationProp wanted = properties(ordinal_);
    Page page{0, mapped_, rounded_up(bytes, page_)};
    if (page.bytes > reserved_ - mapped_) {
        return cudaErrorMemoryAllocation;
    }
    CUmemGenericAllocationHandle handle = 0;
    if (const CUresult made = driver_->create(&handle, page.bytes, &wanted, 0);
        made != CUDA_SUCCESS) {
        return runtime_error(made);
    }
    page.handle = handle;
    if (const CUresult shown = driver_->map(base_ + page.at, page.bytes, 0, handle, 0);
        shown != CUDA_SUCCESS) {
        driver_->release(handle);
        return runtime_error(shown);
    }
    pages_.push_back(page);
    mapped_ += page.bytes;
    CUmemAccessDesc access{};
    access.location = wanted.location;
    access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
    return runtime_error(driver_->set_access(base_ + page.at, page.bytes, &access, 1));
}

cudaError_t DeviceArena::take(void** to, std::size_t bytes) {
    const std::size_t wanted = rounded_up(bytes, alignment);
    if (wanted > mapped_ - used_) {
        if (const cudaError_t error = grow(wanted - (mapped_ - used_)); error != cudaSuccess) {
            return error;
        }
    }
    *to = reinterpret_cast<void*>(base_ + used_);
    used_ += wanted;
    return cudaSuccess;
}

}  // namespace bitsweep
