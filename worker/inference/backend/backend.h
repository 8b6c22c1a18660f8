// Device services, nothing else: memory by category, copies, synchronisation. Kernels live with
// their quantization method.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "schemas/catalog/memory.h"
#include "schemas/status.h"

namespace bitsweep {

enum class MemoryCategory {
    weight_codes,
    weight_scales,
    embeddings,
    other_weights,
    kv_cache,
    activations,
    workspace,
};

// A block of device memory, 64-byte aligned, owned. Returns itself to the backend's count on
// destruction.
class Buffer {
 public:
    virtual ~Buffer() = default;
    virtual std::byte* data() const = 0;
    virtual std::size_t bytes() const = 0;  // as asked for

    template <class T>
    T* as() const {
        return reinterpret_cast<T*>(data());
    }
};

class Backend {
 public:
    virtual ~Backend() = default;

    // Zero-filled. out_of_memory / out_of_gpu_memory say how much was wanted and how much is free.
    virtual Result<std::unique_ptr<Buffer>> allocate(std::size_t bytes,
                                                     MemoryCategory category) = 0;

    virtual Status copy_to_device(Buffer& to, std::size_t offset, const void* from,
                                  std::size_t bytes) = 0;
    virtual Status copy_to_host(void* to, const Buffer& from, std::size_t offset,
                                std::size_t bytes) = 0;

    // Waits for everything queued; reports sticky errors as gpu_fault.
    virtual Status synchronize() = 0;

    // Live bytes by category, summed from every buffer handed out and not yet freed: the ledger.
    virtual MemoryBytes allocated() const = 0;
};

// CPU: libtorch's allocator, huge pages advised.
std::unique_ptr<Backend> make_cpu_backend();

}  // namespace bitsweep
