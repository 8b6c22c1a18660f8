// The safetensors container: its header and the index of a sharded checkpoint, checked.
// Format: https://github.com/huggingface/safetensors#format
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "schemas/status.h"

namespace bitsweep {

struct SafetensorsEntry {
    std::string name;
    std::string dtype;  // as the file calls it: "F16"
    std::vector<std::int64_t> shape;
    std::uint64_t begin = 0;  // bytes from the start of the file
    std::uint64_t end = 0;
};

// All tensors of one file, in the order of their bytes. `label` opens the messages. corrupt:
// truncated, a header length above 100 MB or beyond the file, not JSON, a name twice, bytes that
// are not dtype x shape, out of range, overlapping, or not covering the buffer.
Result<std::vector<SafetensorsEntry>> parse_safetensors_header(std::span<const std::byte> file,
                                                               const std::string& label);

// model.safetensors.index.json: tensor name -> file name inside the same folder. corrupt; also when
// a file name would leave the folder.
Result<std::map<std::string, std::string>> read_safetensors_index(
    const std::filesystem::path& index_json);

}  // namespace bitsweep
