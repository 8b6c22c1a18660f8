// JSON of model files, without exceptions: position of an error, duplicate keys and depth are
// checked while reading. Private to the readers of config.json, safetensors and tokenizer.json.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "schemas/status.h"

namespace bitsweep {

using Json = nlohmann::json;

// `label` opens the message (a path). corrupt: not JSON (with the byte offset), a key that appears
// twice, nested deeper than 64 levels.
Result<Json> parse_json(std::string_view text, const std::string& label);

// not_found, io, corrupt (also: larger than max_bytes).
Result<std::string> read_text_file(const std::filesystem::path& path, std::uint64_t max_bytes);
Result<Json> read_json_file(const std::filesystem::path& path, std::uint64_t max_bytes);

}  // namespace bitsweep
