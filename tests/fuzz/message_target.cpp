// What a peer may send, whole: any bytes either are refused, or are a message that means the same
// after it was written and read again.
#include <cstdint>
#include <string_view>

#include "schemas/codec.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace bitsweep;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const Result<Message> message = message_from_json(text);
    if (message) {
        const std::string written = to_json(*message);
        const Result<Message> again = message_from_json(written);
        ASSERT(again);
        ASSERT(to_json(*again) == written);
    } else {
        ASSERT(!message.error().message.empty());
        ASSERT(message.error().message.size() < 4'096);  // it goes back to the peer
    }
    return 0;
}
