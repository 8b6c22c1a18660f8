// The kernels for one instruction set. Every header stands before the target pragma: code that
// other files share must not be compiled for instructions their machine may lack.
#if defined(__x86_64__)

#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <utility>

#include "worker/inference/quant/fp8/e4m3.h"
#include "worker/inference/quant/shared/halves.h"
#include "worker/inference/quant/shared/kernels.h"

#define BITSWEEP_INLINE inline __attribute__((always_inline))
#define BITSWEEP_LAMBDA __attribute__((always_inline))
#define BITSWEEP_VNNI 1

// g++ 12 reports its own _mm512_undefined_* as uninitialised (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")
namespace bitsweep::quant::vnni {
// clang-format off
#include "worker/inference/quant/shared/lanes_avx512.inl"
#include "worker/inference/quant/shared/kernels.inl"
// clang-format on
}  // namespace bitsweep::quant::vnni
#pragma GCC pop_options

#endif
