// Content on disk by name and by digest: where a model or a text lives, and what identifies its
// bytes. The submitting side and the worker must agree on both, so they share this file.
#pragma once

#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/status.h"

namespace bitsweep {

// SHA-256, 64 hex digits (libsodium): for keys.
std::string sha256_hex(std::string_view bytes);

// BLAKE2b-256 of one file's bytes, hex (libsodium): for big files. not_found, io.
Result<std::string> file_digest(const std::filesystem::path& file);

// Digest of a model: a GGUF file's bytes, or, for a folder, the sorted list of (name, digest) of
// config.json, tokenizer.json (the folder's or its parent's), the safetensors files and their
// index.
Result<std::string> model_digest(const std::filesystem::path& model);

// The same where somebody knows digests of files already (a cache); file_digest is the plain one.
using FileDigest = std::function<Result<std::string>(const std::filesystem::path& file)>;
Result<std::string> model_digest(const std::filesystem::path& model, const FileDigest& digest);

// Where `name` lives under `dirs`: DIR/name/config.json, DIR/name.gguf, DIR/name/*.gguf; compared
// without case. not_found lists the folders that were searched and the nearest name in them.
Result<std::filesystem::path> find_model(std::string_view name,
                                         std::span<const std::filesystem::path> dirs);

// Every model name that find_model would find, sorted.
std::vector<std::string> list_models(std::span<const std::filesystem::path> dirs);

// Where the text of a data set lives: DIR/name.txt. not_found as above.
Result<std::filesystem::path> find_text(std::string_view name,
                                        std::span<const std::filesystem::path> dirs);

// Folders that hold experiments/models and experiments/data of this build or installation, found
// from the program's own path (BIN/../experiments, BIN/../../experiments,
// BIN/../share/bitsweep/experiments), plus .deps/models of the checkout where it exists.
// BITSWEEP_MODELS and BITSWEEP_DATA (colon lists) come first.
std::vector<std::filesystem::path> default_model_dirs();
std::vector<std::filesystem::path> default_data_dirs();

}  // namespace bitsweep
