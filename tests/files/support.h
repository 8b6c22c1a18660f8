// Files for tests: a folder that goes away, and malformed safetensors and GGUF written byte by
// byte.
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>

#include "schemas/status.h"
#include "tests/temp_folder.h"

namespace bitsweep::testing_files {

inline const std::filesystem::path source_dir = BITSWEEP_SOURCE_DIR;
inline const std::filesystem::path vectors_dir = source_dir / "tests" / "files" / "vectors";
inline const std::filesystem::path models_dir = source_dir / "experiments" / "models";

std::string read_file(const std::filesystem::path& path);
void write_file(const std::filesystem::path& path, std::string_view bytes);

// The message of an error without the folder that the test happens to use; "ok" where there is
// none.
template <class T>
std::string message_of(const Result<T>& result, const std::filesystem::path& folder) {
    if (result.ok()) {
        return "ok";
    }
    std::string message = result.error().message;
    const std::string prefix = folder.string() + "/";
    for (std::size_t at = message.find(prefix); at != std::string::npos;
         at = message.find(prefix)) {
        message.erase(at, prefix.size());
    }
    return message;
}

// Little-endian bytes of a number.
template <class T>
std::string bytes_of(T value) {
    std::string out(sizeof(T), '\0');
    std::memcpy(out.data(), &value, sizeof(T));
    return out;
}

// A safetensors file: length, header, buffer.
inline std::string safetensors(const std::string& header, const std::string& buffer) {
    return bytes_of<std::uint64_t>(header.size()) + header + buffer;
}

// GGUF pieces, little-endian.
inline std::string gguf_string(std::string_view text) {
    return bytes_of<std::uint64_t>(text.size()) + std::string(text);
}
inline std::string gguf_head(std::uint64_t tensors, std::uint64_t pairs,
                             std::uint32_t version = 3) {
    return "GGUF" + bytes_of(version) + bytes_of(tensors) + bytes_of(pairs);
}
inline std::string gguf_text_pair(std::string_view key, std::string_view value) {
    return gguf_string(key) + bytes_of<std::uint32_t>(8) + gguf_string(value);
}
inline std::string gguf_u32_pair(std::string_view key, std::uint32_t value) {
    return gguf_string(key) + bytes_of<std::uint32_t>(4) + bytes_of(value);
}
// One-dimensional.
inline std::string gguf_tensor_info(std::string_view name, std::uint64_t size, std::uint32_t type,
                                    std::uint64_t offset) {
    return gguf_string(name) + bytes_of<std::uint32_t>(1) + bytes_of(size) + bytes_of(type) +
           bytes_of(offset);
}
inline std::string padded(std::string bytes, std::size_t alignment = 32) {
    bytes.resize((bytes.size() + alignment - 1) / alignment * alignment);
    return bytes;
}

}  // namespace bitsweep::testing_files
