// A file in memory, read only. Unmapped with the object; never copied.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "schemas/status.h"

namespace bitsweep {

class MappedFile {
 public:
    // not_found; invalid_input (a folder or a device); io with the system's words. An empty file is
    // a mapping of no bytes: the format's reader says what is missing.
    static Result<std::shared_ptr<const MappedFile>> open(const std::filesystem::path& path);

    MappedFile(std::filesystem::path path, const std::byte* data, std::size_t size)
        : path_(std::move(path)), data_(data), size_(size) {}
    ~MappedFile();
    MappedFile(const MappedFile&) = delete;
    MappedFile& operator=(const MappedFile&) = delete;

    std::span<const std::byte> bytes() const { return {data_, size_}; }
    const std::filesystem::path& path() const { return path_; }

 private:
    std::filesystem::path path_;
    const std::byte* data_;
    std::size_t size_;
};

}  // namespace bitsweep
