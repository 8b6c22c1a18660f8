#include "worker/inference/backend/cpu/arena.h"

#include <sys/mman.h>

#include <cstdint>

namespace bitsweep {
namespace {

constexpr std::size_t huge_page = std::size_t{2} << 20;
// What a model may waste at the end of its last chunk, in address space only: pages that nobody
// touches cost nothing.
constexpr std::size_t chunk_bytes = std::size_t{32} << 20;
constexpr std::size_t alignment = 64;

std::size_t round_up(std::size_t value, std::size_t to) {
    return (value + to - 1) / to * to;
}

}  // namespace

struct HugePageArena::Chunk {
    std::byte* data = nullptr;  // at a huge page boundary
    std::size_t bytes = 0;

    Chunk() = default;
    Chunk(const Chunk&) = delete;
    Chunk& operator=(const Chunk&) = delete;
    ~Chunk() {
        if (data != nullptr) {
            munmap(data, bytes);
        }
    }

    // `wanted` bytes, a multiple of the huge page; data stays null when the system refuses.
    explicit Chunk(std::size_t wanted) {
        void* mapped = mmap(nullptr, wanted + huge_page, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (mapped == MAP_FAILED) {
            return;
        }
        const auto begin = reinterpret_cast<std::uintptr_t>(mapped);
        const std::size_t before = round_up(begin, huge_page) - begin;
        data = static_cast<std::byte*>(mapped) + before;
        bytes = wanted;
        if (before > 0) {
            munmap(mapped, before);
        }
        munmap(data + wanted, huge_page - before);
        madvise(data, wanted, MADV_HUGEPAGE);  // a refusal changes speed only
    }
};

std::shared_ptr<std::byte> HugePageArena::allocate(std::size_t bytes) {
    const std::size_t wanted = round_up(bytes > 0 ? bytes : 1, alignment);
    const std::lock_guard lock(mutex_);
    if (current_ == nullptr || wanted > current_->bytes - used_) {
        const bool large = wanted > chunk_bytes / 4;
        auto chunk = std::make_shared<Chunk>(large ? round_up(wanted, huge_page) : chunk_bytes);
        if (chunk->data == nullptr) {
            return nullptr;
        }
        if (large) {  // a chunk of its own; the current one keeps its rest for small blocks
            return {chunk, chunk->data};
        }
        current_ = std::move(chunk);
        used_ = 0;
    }
    std::byte* block = current_->data + used_;
    used_ += wanted;
    return {current_, block};
}

}  // namespace bitsweep
