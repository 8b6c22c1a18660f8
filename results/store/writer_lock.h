// At most one coordinator writes a database. The lock is an flock on "FILE.writer" beside it: the
// kernel lets go of it when the holder ends in any way, SIGKILL included. Never on the database
// file itself: closing a second descriptor of that would drop SQLite's own locks.
#pragma once

#include <filesystem>
#include <utility>

#include "schemas/status.h"

namespace bitsweep {

class WriterLock {
 public:
    // already_exists: held by another process (names it); io: the folder cannot be written.
    static Result<WriterLock> take(const std::filesystem::path& database);

    WriterLock(WriterLock&& other) noexcept
        : file_(std::move(other.file_)), descriptor_(std::exchange(other.descriptor_, -1)) {}
    WriterLock& operator=(WriterLock&&) = delete;
    ~WriterLock();

 private:
    WriterLock(std::filesystem::path file, int descriptor)
        : file_(std::move(file)), descriptor_(descriptor) {}
    std::filesystem::path file_;
    int descriptor_ = -1;
};

}  // namespace bitsweep
