#include "worker/inference/backend/cuda/cuda_backend.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstring>

#include "worker/inference/backend/cuda/cuda_error.h"

namespace bitsweep {
namespace {

// Copies larger than this are cut: two blocks keep the bus busy while the host fills the other.
constexpr std::size_t staging_bytes = CudaBackend::upload_floats * sizeof(float);

std::string mebibytes(std::uint64_t bytes) {
    return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MiB";
}

// Lives as long as the model does.
bool is_weight(MemoryCategory category) {
    return category == MemoryCategory::weight_codes || category == MemoryCategory::weight_scales ||
           category == MemoryCategory::embeddings || category == MemoryCategory::other_weights;
}

Result<int> ordinal_of(std::string_view device) {
    constexpr std::string_view prefix = "cuda:";
    int ordinal = -1;
    if (device.starts_with(prefix)) {
        const std::string_view digits = device.substr(prefix.size());
        const auto [end, error] =
            std::from_chars(digits.data(), digits.data() + digits.size(), ordinal);
        if (error != std::errc{} || end != digits.data() + digits.size()) {
            ordinal = -1;
        }
    }
    if (ordinal < 0) {
        return make_error(ErrorCode::invalid_input,
                          "device '" + std::string(device) + "'; write cpu or cuda:N");
    }
    return ordinal;
}

// `watcher` may be null. Not told of the end of a wait that fails.
template <class Wait>
Status waited(WaitWatcher* watcher, const Wait& wait) {
    if (watcher == nullptr) {
        return wait();
    }
    TRY(watcher->before_wait());
    TRY(wait());
    return watcher->after_wait();
}

}  // namespace

Result<PinnedBlock> PinnedBlock::allocate(std::size_t bytes) {
    void* memory = nullptr;
    const cudaError_t error = cudaMallocHost(&memory, bytes);
    if (error == cudaErrorMemoryAllocation) {
        cudaGetLastError();
        return make_error(ErrorCode::out_of_memory,
                          "page-locked host memory: " + mebibytes(bytes) + " are not to be had");
    }
    TRY(cuda_status(error, "page-locked host memory"));
    PinnedBlock block;
    block.memory_.reset(memory);
    block.bytes_ = bytes;
    return block;
}

struct CudaBackend::Ledger {
    std::array<std::atomic<std::uint64_t>, 7> live{};
};

class CudaBackend::Block : public Buffer {
 public:
    // `arena`: who owns the memory; nullptr: this block.
    Block(void* memory, std::size_t bytes, MemoryCategory category, std::shared_ptr<Ledger> ledger,
          std::shared_ptr<DeviceArena> arena)
        : memory_(memory),
          bytes_(bytes),
          category_(category),
          ledger_(std::move(ledger)),
          arena_(std::move(arena)) {
        ledger_->live[static_cast<std::size_t>(category_)] += bytes_;
    }
    ~Block() override {
        ledger_->live[static_cast<std::size_t>(category_)] -= bytes_;
        if (!arena_) {
            cudaFree(memory_);  // waits for what still uses it
        }
    }
    Block(const Block&) = delete;
    Block& operator=(const Block&) = delete;

    std::byte* data() const override { return static_cast<std::byte*>(memory_); }
    std::size_t bytes() const override { return bytes_; }

 private:
    void* memory_;
    std::size_t bytes_;
    MemoryCategory category_;
    std::shared_ptr<Ledger> ledger_;
    std::shared_ptr<DeviceArena> arena_;
};

CudaBackend::CudaBackend(int ordinal) : ordinal_(ordinal), ledger_(std::make_shared<Ledger>()) {}

Result<std::unique_ptr<CudaBackend>> CudaBackend::open(std::string_view device) {
    const int ordinal = TRY(ordinal_of(device));
    int count = 0;
    TRY(cuda_status(cudaGetDeviceCount(&count), "looking for CUDA devices"));
    if (ordinal >= count) {
        return make_error(ErrorCode::unsupported, "no " + std::string(device) + ": CUDA sees " +
                                                      std::to_string(count) +
                                                      (count == 1 ? " device" : " devices"));
    }
    std::unique_ptr<CudaBackend> backend(new CudaBackend(ordinal));
    TRY(backend->open_device());
    return backend;
}

Status CudaBackend::make_current() {
    return cuda_status(cudaSetDevice(ordinal_), "choosing the device");
}

Status CudaBackend::open_device() {
    TRY(make_current());
    TRY(cuda_status(
        cudaDeviceGetAttribute(&multiprocessors_, cudaDevAttrMultiProcessorCount, ordinal_),
        "the number of multiprocessors"));
    int major = 0, minor = 0;
    TRY(cuda_status(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, ordinal_),
                    "the device's architecture"));
    TRY(cuda_status(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, ordinal_),
                    "the device's architecture"));
    compute_capability_ = 10 * major + minor;
    TRY(cuda_status(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "a stream"));
    for (std::size_t i = 0; i < copied_.size(); ++i) {
        TRY(cuda_status(cudaEventCreateWithFlags(&copied_[i], cudaEventDisableTiming), "an event"));
        staging_[i] = TRY(PinnedBlock::allocate(staging_bytes));
    }
    weights_ = DeviceArena::create(ordinal_);
    gemm_ = TRY(Gemm::create(*this, stream_));
    return {};
}

CudaBackend::~CudaBackend() {
    gemm_.reset();
    for (cudaEvent_t event : copied_) {
        if (event != nullptr) {
            cudaEventDestroy(event);
        }
    }
    if (stream_ != nullptr) {
        cudaStreamDestroy(stream_);
    }
}

Result<std::unique_ptr<Buffer>> CudaBackend::allocate(std::size_t bytes, MemoryCategory category) {
    void* memory = nullptr;
    const std::shared_ptr<DeviceArena> arena = is_weight(category) ? weights_ : nullptr;
    const std::size_t wanted = std::max<std::size_t>(bytes, 256);
    const cudaError_t error = arena ? arena->take(&memory, wanted) : cudaMalloc(&memory, wanted);
    if (error == cudaErrorMemoryAllocation) {
        cudaGetLastError();
        std::size_t free = 0, total = 0;
        TRY(cuda_status(cudaMemGetInfo(&free, &total), "the device's free memory"));
        return make_error(ErrorCode::out_of_gpu_memory,
                          "device memory: wanted " + mebibytes(bytes) + ", " + mebibytes(free) +
                              " of " + mebibytes(total) + " are free and " +
                              mebibytes(allocated().total()) +
                              " are held by this model; use a smaller model, batch or context, or "
                              "fewer bits");
    }
    TRY(cuda_status(error, "device memory of " + mebibytes(bytes)));
    std::unique_ptr<Buffer> block =
        std::make_unique<Block>(memory, bytes, category, ledger_, arena);
    TRY(cuda_status(cudaMemsetAsync(memory, 0, wanted, stream_), "clearing device memory"));
    return block;
}

Status CudaBackend::copy_to_device(Buffer& to, std::size_t offset, const void* from,
                                   std::size_t bytes) {
    ASSERT(offset + bytes <= to.bytes());
    const auto* source = static_cast<const std::byte*>(from);
    std::byte* target = to.data() + offset;
    for (std::size_t done = 0, slot = 0; done < bytes; slot = 1 - slot) {
        const std::size_t now = std::min(bytes - done, staging_bytes);
        TRY(cuda_status(cudaEventSynchronize(copied_[slot]), "a copy to the device"));
        std::memcpy(staging_[slot].as<std::byte>(), source + done, now);
        TRY(cuda_status(cudaMemcpyAsync(target + done, staging_[slot].as<void>(), now,
                                        cudaMemcpyHostToDevice, stream_),
                        "a copy to the device"));
        TRY(cuda_status(cudaEventRecord(copied_[slot], stream_), "a copy to the device"));
        done += now;
    }
    return synchronize();
}

Status CudaBackend::upload(float* to, std::size_t count,
                           const std::function<Status(float* to)>& fill) {
    ASSERT(count <= upload_floats);
    const std::size_t slot = next_upload_;
    next_upload_ = 1 - slot;
    TRY(cuda_status(cudaEventSynchronize(copied_[slot]), "an upload"));
    TRY(fill(staging_[slot].as<float>()));
    TRY(cuda_status(cudaMemcpyAsync(to, staging_[slot].as<float>(), count * sizeof(float),
                                    cudaMemcpyHostToDevice, stream_),
                    "an upload"));
    return cuda_status(cudaEventRecord(copied_[slot], stream_), "an upload");
}

Status CudaBackend::copy_to_host(void* to, const Buffer& from, std::size_t offset,
                                 std::size_t bytes) {
    ASSERT(offset + bytes <= from.bytes());
    return copy_from(to, from.data() + offset, bytes);
}

Status CudaBackend::copy_from(void* to, const void* from, std::size_t bytes) {
    return waited(watcher_, [&] { return copy_in_pieces(to, from, bytes); });
}

Result<std::int32_t> CudaBackend::read_number(const std::int32_t* from,
                                              const std::function<Status()>& meanwhile) {
    // `meanwhile` may upload, which takes the other slot first.
    const std::size_t slot = 1 - next_upload_;
    auto* number = staging_[slot].as<std::int32_t>();
    TRY(cuda_status(cudaEventSynchronize(copied_[slot]), "a number of the device"));
    TRY(cuda_status(cudaMemcpyAsync(number, from, sizeof *number, cudaMemcpyDeviceToHost, stream_),
                    "a number of the device"));
    TRY(cuda_status(cudaEventRecord(copied_[slot], stream_), "a number of the device"));
    TRY(meanwhile());
    TRY(waited(watcher_, [&] {
        return cuda_status(cudaEventSynchronize(copied_[slot]), "a number of the device");
    }));
    return *number;
}

Status CudaBackend::copy_in_pieces(void* to, const void* from, std::size_t bytes) {
    struct Pending {
        std::size_t at = 0, bytes = 0;
    };
    std::array<Pending, 2> pending;
    const auto finish = [&](std::size_t slot) -> Status {
        if (pending[slot].bytes > 0) {
            TRY(cuda_status(cudaEventSynchronize(copied_[slot]), "a copy from the device"));
            std::memcpy(static_cast<std::byte*>(to) + pending[slot].at,
                        staging_[slot].as<std::byte>(), pending[slot].bytes);
            pending[slot].bytes = 0;
        }
        return {};
    };
    std::size_t slot = 0;
    for (std::size_t done = 0; done < bytes; slot = 1 - slot) {
        TRY(finish(slot));
        pending[slot] = {done, std::min(bytes - done, staging_bytes)};
        TRY(cuda_status(
            cudaMemcpyAsync(staging_[slot].as<void>(), static_cast<const std::byte*>(from) + done,
                            pending[slot].bytes, cudaMemcpyDeviceToHost, stream_),
            "a copy from the device"));
        TRY(cuda_status(cudaEventRecord(copied_[slot], stream_), "a copy from the device"));
        done += pending[slot].bytes;
    }
    TRY(finish(slot));
    return finish(1 - slot);
}

Status CudaBackend::synchronize() {
    return waited(watcher_, [&] {
        return cuda_status(cudaStreamSynchronize(stream_), "waiting for the device");
    });
}

MemoryBytes CudaBackend::allocated() const {
    const auto live = [this](MemoryCategory category) {
        return ledger_->live[static_cast<std::size_t>(category)].load();
    };
    return {.weight_codes = live(MemoryCategory::weight_codes),
            .weight_scales = live(MemoryCategory::weight_scales),
            .embeddings = live(MemoryCategory::embeddings),
            .other_weights = live(MemoryCategory::other_weights),
            .kv_cache = live(MemoryCategory::kv_cache),
            .activations = live(MemoryCategory::activations),
            .workspace = live(MemoryCategory::workspace)};
}

}  // namespace bitsweep
