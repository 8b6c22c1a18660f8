#include "worker/inference/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace bitsweep {

Result<std::shared_ptr<const MappedFile>> MappedFile::open(const std::filesystem::path& path) {
    const std::string label = path.string();
    // O_NONBLOCK: a named pipe in place of a file must not hang the open.
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0) {
        const int reason = errno;
        if (reason == ENOENT || reason == ENOTDIR) {
            return make_error(ErrorCode::not_found, label + ": no such file");
        }
        return make_error(ErrorCode::io, label + ": cannot open: " + std::strerror(reason));
    }
    struct stat info {};
    if (::fstat(descriptor, &info) != 0 || !S_ISREG(info.st_mode)) {
        ::close(descriptor);
        return make_error(ErrorCode::invalid_input, label + ": not a regular file");
    }
    const auto size = static_cast<std::size_t>(info.st_size);
    void* data = nullptr;
    if (size > 0) {
        data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    }
    const int reason = errno;
    ::close(descriptor);
    if (data == MAP_FAILED) {
        return make_error(ErrorCode::io, label + ": cannot map: " + std::strerror(reason));
    }
    return std::shared_ptr<const MappedFile>(
        std::make_shared<MappedFile>(path, static_cast<const std::byte*>(data), size));
}

MappedFile::~MappedFile() {
    if (size_ > 0) {
        ::munmap(const_cast<std::byte*>(data_), size_);
    }
}

}  // namespace bitsweep
