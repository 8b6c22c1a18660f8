// A file that a fuzz target writes again and again, for readers that take a path.
#pragma once

#include <fcntl.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <string>

namespace bitsweep {

// A new folder in memory where the system has one.
inline std::filesystem::path scratch_folder() {
    std::error_code code;
    const bool shared_memory = std::filesystem::is_directory("/dev/shm", code);
    std::string pattern = shared_memory ? "/dev/shm/fuzz-XXXXXX" : "/tmp/fuzz-XXXXXX";
    const char* made = mkdtemp(pattern.data());
    return made == nullptr ? std::filesystem::path() : std::filesystem::path(made);
}

// Removed with the program.
struct Scratch {
    std::filesystem::path folder = scratch_folder();
    ~Scratch() {
        std::error_code code;
        std::filesystem::remove_all(folder, code);
    }
    std::filesystem::path write(const char* name, const std::uint8_t* data,
                                std::size_t size) const {
        const std::filesystem::path file = folder / name;
        const int descriptor = open(file.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600);
        [[maybe_unused]] const ssize_t written = ::write(descriptor, data, size);
        close(descriptor);
        return file;
    }
};

}  // namespace bitsweep
