// Kernels behind the ceilings. Pointers are device memory, 16-byte aligned; every call queues on
// `stream` and returns the launch's error.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace bitsweep::ceilings {

inline constexpr int threads_per_block = 256;

// Pseudo-random words: zeros read faster and draw less power than data does.
cudaError_t fill_words(void* to, std::uint64_t bytes, cudaStream_t stream);
// fp16 in [-1, 1).
cudaError_t fill_halves(void* to, std::uint64_t count, cudaStream_t stream);

// Reads all of `from` once, 16 bytes a load, eight loads in flight a thread. `sink` takes a word
// that no data makes, so that the loads cannot be optimised away.
cudaError_t read_all(const void* from, std::uint64_t bytes, int blocks, std::uint32_t* sink,
                     cudaStream_t stream);
// Copies with 16-byte loads and stores, four in flight a thread.
cudaError_t copy_all(const void* from, void* to, std::uint64_t bytes, int blocks,
                     cudaStream_t stream);

cudaError_t empty(cudaStream_t stream);

}  // namespace bitsweep::ceilings
