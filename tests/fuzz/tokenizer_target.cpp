// A tokenizer.json from anywhere: text goes in and comes out, or an error.
#include "tests/fuzz/scratch.h"
#include "worker/inference/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace bitsweep;
    static const Scratch scratch;
    const auto tokenizer = tokenizer_from_json(scratch.write("tokenizer.json", data, size));
    if (tokenizer) {
        (void)(*tokenizer)
            ->decode((*tokenizer)->encode("Hello, w\xc3\xb6rld! 12 \xf0\x9f\x98\x80"));
    }
    return 0;
}
