#include "worker/inference/quant/shared/kernels.h"

namespace bitsweep::quant {

const Kernels* kernels(Isa isa) {
#if defined(__x86_64__)
    if (isa > machine_isa()) {
        return nullptr;
    }
    switch (isa) {
        case Isa::generic:
            return nullptr;
        case Isa::avx2:
            return &avx2::table();
        case Isa::avx512:
            return &avx512::table();
        case Isa::vnni:
            return &vnni::table();
    }
#endif
    (void)isa;
    return nullptr;
}

}  // namespace bitsweep::quant
