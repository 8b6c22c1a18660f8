// The JSON of one cell, as a submission carries it and a database keeps it.
#include <cstdint>
#include <string_view>

#include "schemas/codec.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace bitsweep;
    const Result<JobSpec> spec =
        job_from_json(std::string_view(reinterpret_cast<const char*>(data), size));
    if (spec) {
        const std::string written = to_json(*spec);
        const Result<JobSpec> again = job_from_json(written);
        ASSERT(again);
        ASSERT(to_json(*again) == written);
        ASSERT(spec_key(*again) == spec_key(*spec));  // what was stored is found again
    }
    return 0;
}
