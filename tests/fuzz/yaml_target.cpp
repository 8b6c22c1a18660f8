// An experiment file: cells, or one line that says what is wrong.
#include <cstdint>
#include <string_view>

#include "coordinator/expand/expand.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace bitsweep;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const Result<Expansion> cells = expand_yaml(text, "fuzz.yaml", {});
    if (!cells) {
        ASSERT(!cells.error().message.empty());
        ASSERT(cells.error().message.size() < 65'536);
    }
    return 0;
}
