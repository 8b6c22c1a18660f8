// What a runner may write on its result descriptor, or what an outbox may hold after a crash.
#include <cstdint>
#include <string_view>

#include "schemas/codec.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace bitsweep;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const Result<RunResult> result = result_from_json(text);
    if (result) {
        const std::string written = to_json(*result);
        const Result<RunResult> again = result_from_json(written);
        ASSERT(again);
        ASSERT(to_json(*again) == written);
    }
    return 0;
}
