// The GGUF container, versions 2 and 3: metadata and tensor infos, every length checked against the
// file. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "schemas/status.h"
#include "worker/inference/gguf_quants.h"
#include "worker/inference/mapped_file.h"

namespace bitsweep {

// Metadata values. Strings are views into the mapped file. Arrays of numbers keep one wide type.
using GgufValue =
    std::variant<std::uint64_t, std::int64_t, double, bool, std::string_view,
                 std::vector<std::string_view>, std::vector<std::int64_t>, std::vector<double>>;

struct GgufTensor {
    std::string name;
    GgufType type = GgufType::f32;
    std::vector<std::int64_t> shape;  // logical, slowest dimension first (the file stores it last)
    const std::byte* data = nullptr;
    std::uint64_t bytes = 0;
};

struct GgufFile {
    std::shared_ptr<const MappedFile> file;
    std::uint32_t version = 0;
    std::map<std::string, GgufValue, std::less<>> metadata;
    std::map<std::string, GgufTensor, std::less<>> tensors;

    std::string label() const { return file->path().string(); }

    // Typed metadata. not_found when absent, corrupt when of another type (both name the key).
    Result<std::int64_t> integer(std::string_view key) const;
    Result<double> number(std::string_view key) const;
    Result<std::string_view> text(std::string_view key) const;
    Result<bool> flag_or(std::string_view key, bool fallback) const;
    bool has(std::string_view key) const { return metadata.contains(key); }
};

// corrupt: wrong magic, a length, count or offset beyond the file, overlap, a name twice.
// unsupported: another version, byte order, tensor type; nested arrays.
Result<GgufFile> read_gguf(const std::filesystem::path& path);

}  // namespace bitsweep
