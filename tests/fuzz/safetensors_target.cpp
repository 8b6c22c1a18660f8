// The weights of a folder whose config is sound: its header and offsets are anybody's.
#include <filesystem>

#include "tests/fuzz/scratch.h"
#include "worker/inference/model_files.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace bitsweep;
    namespace fs = std::filesystem;
    static const Scratch scratch;
    static const bool ready = [] {
        std::error_code code;
        const fs::path model = fs::path(BITSWEEP_SOURCE_DIR) / "tests/files/vectors/llama-tiny";
        return fs::copy_file(model / "config.json", scratch.folder / "config.json", code);
    }();
    ASSERT(ready);
    scratch.write("model.safetensors", data, size);
    const Result<ModelFiles> model = open_model(scratch.folder);
    ASSERT(model || !model.error().message.empty());
    return 0;
}
