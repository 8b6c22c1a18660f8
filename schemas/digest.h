// Content digests (libsodium): SHA-256 for keys, BLAKE2b-256 for files.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "schemas/status.h"

namespace bitsweep {

std::string sha256_hex(std::string_view bytes);

// BLAKE2b-256 of one file's bytes, hex. not_found, io.
Result<std::string> file_digest(const std::filesystem::path& file);

// Digest of a model: a GGUF file's bytes, or, for a folder, the sorted list of (name, digest) of
// config.json, tokenizer.json (the folder's or its parent's), the safetensors files and their
// index.
Result<std::string> model_digest(const std::filesystem::path& model);

}  // namespace bitsweep
