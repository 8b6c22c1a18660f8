// What a peer may send, whole: of any frame each text either is refused, or is a message that means
// the same after it was written and read again.
#include <cstdint>
#include <string_view>

#include "schemas/codec.h"
#include "schemas/sequence.h"

namespace {

using namespace bitsweep;

void judge(std::string_view text) {
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
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view frame(reinterpret_cast<const char*>(data), size);
    const Result<std::vector<std::string_view>> texts = texts_of(frame);
    ASSERT(!texts || !texts->empty());
    if (texts) {
        for (const std::string_view text : *texts) {
            judge(text);
        }
    }
    return 0;
}
