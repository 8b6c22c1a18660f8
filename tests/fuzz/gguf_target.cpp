// A GGUF file from anywhere: a model whose rows can be read, or an error.
#include <vector>

#include "tests/fuzz/scratch.h"
#include "worker/inference/model_files.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace bitsweep;
    static const Scratch scratch;
    const Result<ModelFiles> model = open_model(scratch.write("model.gguf", data, size));
    if (model && model->tokenizer) {
        (void)model->tokenizer->encode("Hello, world!");
    }
    return 0;
}
