// Which vector code a layer uses. Read when a layer is packed, kept in it.
#pragma once

#include "schemas/status.h"

namespace bitsweep::quant {

// Each level includes the ones before it. avx512: F, BW, VL, DQ; vnni: AVX512_VNNI on top.
enum class Isa { generic, avx2, avx512, vnni };

// What this machine can do.
Isa machine_isa();

// The machine's level, lowered by BITSWEEP_ISA=generic|avx2|avx512|avx512-vnni. invalid_input: any
// other word. A level above the machine's is lowered to it.
Result<Isa> chosen_isa();

}  // namespace bitsweep::quant
