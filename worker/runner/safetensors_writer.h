// Writes a safetensors file: 8 bytes of header length, a JSON header, the tensors one after
// another.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "schemas/status.h"

namespace bitsweep {

struct TensorToWrite {
    std::string name;
    std::string dtype;  // "F32", "I32", "U8"
    std::vector<std::int64_t> shape;
    std::span<const std::byte> data;  // owned by the caller; bytes must match shape x dtype
};

// Writes beside `file` first and renames, so that a reader never sees half a file. invalid_input:
// sizes that disagree; io.
Status write_safetensors(const std::filesystem::path& file,
                         const std::vector<TensorToWrite>& tensors,
                         const std::map<std::string, std::string>& metadata);

}  // namespace bitsweep
