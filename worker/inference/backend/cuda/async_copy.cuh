// Copies from global to shared memory that nobody waits for until they are asked about. They need
// sm_80; before it they are plain ones, and what waits for them has nothing to do.
#pragma once

#include <cstdint>

namespace bitsweep::device {

__device__ __forceinline__ std::uint32_t shared_address(const void* p) {
    return static_cast<std::uint32_t>(__cvta_generic_to_shared(p));
}

// 16 bytes, aligned so.
__device__ __forceinline__ void copy16(void* to, const void* from) {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(to)), "l"(from)
                 : "memory");
#else
    *static_cast<uint4*>(to) = __ldg(static_cast<const uint4*>(from));
#endif
}

// 16 bytes, or zeros where there are none; `from` is an address in any case.
__device__ __forceinline__ void copy16_or_zeros(void* to, const void* from, bool real) {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"(shared_address(to)), "l"(from), "r"(real ? 16 : 0)
                 : "memory");
#else
    *static_cast<uint4*>(to) = real ? *static_cast<const uint4*>(from) : uint4{0, 0, 0, 0};
#endif
}

__device__ __forceinline__ void copy4(void* to, const void* from) {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(shared_address(to)), "l"(from)
                 : "memory");
#else
    *static_cast<unsigned*>(to) = __ldg(static_cast<const unsigned*>(from));
#endif
}

// What this thread copied since the last call is a group.
__device__ __forceinline__ void end_of_copies() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits for all of this thread's copies but those of its last `younger` groups.
template <int younger>
__device__ __forceinline__ void wait_for_copies() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(younger) : "memory");
#endif
}

}  // namespace bitsweep::device
