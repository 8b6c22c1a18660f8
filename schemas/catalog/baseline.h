// Which methods speed-ups are over.
#pragma once

#include <string_view>

namespace bitsweep {

// A 16-bit method that packs nothing. job_specs.baseline says the same in the database, for jobs
// from before it by 009_shared_specs.sql.
constexpr bool is_baseline(std::string_view method) {
    return method == "fp16" || method == "bf16";
}

}  // namespace bitsweep
