#include "worker/inference/quant/shared/isa.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string>
#include <string_view>

#include "worker/inference/quant/method.h"

namespace bitsweep::quant {
namespace {

constexpr std::array<std::string_view, 4> names{"generic", "avx2", "avx512", "avx512-vnni"};

}  // namespace

Isa machine_isa() {
#if defined(__x86_64__)
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                      __builtin_cpu_supports("f16c");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                        __builtin_cpu_supports("avx512dq");
    if (avx512) {
        return __builtin_cpu_supports("avx512vnni") ? Isa::vnni : Isa::avx512;
    }
    return avx2 ? Isa::avx2 : Isa::generic;
#else
    return Isa::generic;
#endif
}

Result<Isa> chosen_isa() {
    const char* wanted = std::getenv("BITSWEEP_ISA");
    if (wanted == nullptr || *wanted == '\0') {
        return machine_isa();
    }
    const auto found = std::ranges::find(names, std::string_view(wanted));
    if (found == names.end()) {
        return make_error(ErrorCode::invalid_input,
                          "BITSWEEP_ISA='" + std::string(wanted).substr(0, 40) +
                              "': use generic, avx2, avx512 or avx512-vnni");
    }
    return std::min(machine_isa(), static_cast<Isa>(found - names.begin()));
}

}  // namespace bitsweep::quant

namespace bitsweep {

std::string vector_isa() {
    const auto isa = quant::chosen_isa();
    return std::string(quant::names[static_cast<std::size_t>(isa ? *isa : quant::machine_isa())]);
}

}  // namespace bitsweep
