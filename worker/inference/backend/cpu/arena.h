// Memory for weights on huge pages. Layers of small models are smaller than one 2 MiB page, so each
// alone would lie on 4 KiB pages, and those read at 16 instead of 29 GB/s (AMD EPYC Zen 4 guest,
// 256 MiB, one thread; on a fresh guest the gap was 9 %). Blocks are therefore cut from large
// aligned chunks, one after the other; a chunk returns to the system with its last block.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>

namespace bitsweep {

class HugePageArena {
 public:
    // A zero-filled block at a multiple of 64 bytes, alive as long as the pointer; null when the
    // system has no memory. Thread-safe.
    std::shared_ptr<std::byte> allocate(std::size_t bytes);

 private:
    struct Chunk;

    std::mutex mutex_;
    std::shared_ptr<Chunk> current_;
    std::size_t used_ = 0;
};

}  // namespace bitsweep
