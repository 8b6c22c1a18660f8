// Device services of one CUDA card: memory by category, copies through pinned memory, one stream.
// One thread at a time. Device pointers in Buffer::data().
#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "schemas/status.h"
#include "worker/inference/backend/backend.h"
#include "worker/inference/backend/cuda/device_arena.h"
#include "worker/inference/backend/cuda/gemm.h"

namespace bitsweep {

// Page-locked host memory.
class PinnedBlock {
 public:
    static Result<PinnedBlock> allocate(std::size_t bytes);
    template <class T>
    T* as() const {
        return static_cast<T*>(memory_.get());
    }
    std::size_t bytes() const { return bytes_; }

 private:
    struct Free {
        void operator()(void* memory) const { cudaFreeHost(memory); }
    };
    std::unique_ptr<void, Free> memory_;
    std::size_t bytes_ = 0;
};

// Told when the host is about to wait for the stream and when it has waited: for who counts
// (launch_counter.h).
class WaitWatcher {
 public:
    virtual ~WaitWatcher() = default;
    virtual Status before_wait() = 0;
    virtual Status after_wait() = 0;
};

class CudaBackend : public Backend {
 public:
    // "cuda:N". unsupported: no such device, no driver, or no code for its architecture;
    // invalid_input: another word.
    static Result<std::unique_ptr<CudaBackend>> open(std::string_view device);
    ~CudaBackend() override;
    CudaBackend(const CudaBackend&) = delete;
    CudaBackend& operator=(const CudaBackend&) = delete;

    Result<std::unique_ptr<Buffer>> allocate(std::size_t bytes, MemoryCategory category) override;
    // Both return when the copy is done.
    Status copy_to_device(Buffer& to, std::size_t offset, const void* from,
                          std::size_t bytes) override;
    Status copy_to_host(void* to, const Buffer& from, std::size_t offset,
                        std::size_t bytes) override;
    Status synchronize() override;
    MemoryBytes allocated() const override;

    // Floats that one upload takes at most.
    static constexpr std::size_t upload_floats = std::size_t{1} << 20;
    // Queues `count` floats to a device address; `fill` writes them into pinned memory, while the
    // device still works on what was queued before.
    Status upload(float* to, std::size_t count, const std::function<Status(float* to)>& fill);

    // copy_to_host from any device address.
    Status copy_from(void* to, const void* from, std::size_t bytes);
    // A number of the device as it is now. `meanwhile` queues what runs while the host waits for
    // it.
    Result<std::int32_t> read_number(const std::int32_t* from,
                                     const std::function<Status()>& meanwhile);

    // Of synchronize() and copies to the host; null: nobody is told. Not owned.
    void watch_waits(WaitWatcher* watcher) { watcher_ = watcher; }

    // For the calling thread.
    Status make_current();

    int ordinal() const { return ordinal_; }
    cudaStream_t stream() const { return stream_; }
    int multiprocessors() const { return multiprocessors_; }
    int compute_capability() const { return compute_capability_; }  // 90: 9.0
    Gemm& gemm() { return *gemm_; }

 private:
    struct Ledger;
    class Block;

    explicit CudaBackend(int ordinal);
    Status open_device();
    Status copy_in_pieces(void* to, const void* from, std::size_t bytes);

    int ordinal_ = 0;
    int multiprocessors_ = 0;
    int compute_capability_ = 0;
    cudaStream_t stream_ = nullptr;
    std::array<cudaEvent_t, 2> copied_{};
    std::array<PinnedBlock, 2> staging_;
    std::size_t next_upload_ = 0;
    WaitWatcher* watcher_ = nullptr;
    std::shared_ptr<Ledger> ledger_;
    std::shared_ptr<DeviceArena> weights_;  // nullptr: each weight has its own cudaMalloc
    std::unique_ptr<Gemm> gemm_;
};

}  // namespace bitsweep
