#include "worker/inference/models/ops.h"

#include "worker/inference/quant/method.h"

namespace bitsweep {
namespace {

const Ops& choose() {
    const std::string isa = vector_isa();
    if (isa.starts_with("avx512") && ops_avx512() != nullptr) {
        return *ops_avx512();
    }
    if (isa != "generic" && ops_avx2() != nullptr) {
        return *ops_avx2();
    }
    return *ops_generic();
}

}  // namespace

const Ops& ops() {
    static const Ops& chosen = choose();
    return chosen;
}

}  // namespace bitsweep
