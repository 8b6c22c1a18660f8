#include "results/store/writer_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace bitsweep {
namespace {

// Whether `descriptor` still is what the name stands for: a holder that ends removes the file, and
// a lock on a removed file excludes nobody.
bool still_named(int descriptor, const std::filesystem::path& file) {
    struct stat mine {};
    struct stat named {};
    return fstat(descriptor, &mine) == 0 && stat(file.c_str(), &named) == 0 &&
           mine.st_ino == named.st_ino && mine.st_dev == named.st_dev;
}

std::string holder_of(int descriptor) {
    char text[128] = {};
    const ssize_t size = pread(descriptor, text, sizeof text - 1, 0);
    return size > 0 ? std::string(text, static_cast<std::size_t>(size)) : "another process";
}

void write_holder(int descriptor) {
    char host[64] = {};
    gethostname(host, sizeof host - 1);
    const std::string text =
        "process " + std::to_string(getpid()) + " on " + std::string(host[0] ? host : "this host");
    // Only words for people: the lock holds without them, on a full disk for example.
    [[maybe_unused]] const int cut = ftruncate(descriptor, 0);
    [[maybe_unused]] const ssize_t written = pwrite(descriptor, text.data(), text.size(), 0);
}

}  // namespace

Result<WriterLock> WriterLock::take(const std::filesystem::path& database) {
    const std::filesystem::path file = database.string() + ".writer";
    while (true) {
        const int descriptor = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        if (descriptor < 0) {
            return make_error(ErrorCode::io,
                              database.string() + ": cannot be opened for writing (" +
                                  file.filename().string() + " beside it: " + std::strerror(errno) +
                                  "); make its folder writable, or give " +
                                  "another file with --db");
        }
        if (flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
            const int code = errno;
            const std::string holder = holder_of(descriptor);
            close(descriptor);
            if (code == EINTR) {
                continue;
            }
            if (code != EWOULDBLOCK) {
                return make_error(ErrorCode::io,
                                  file.string() + ": cannot be locked: " + std::strerror(code));
            }
            return make_error(ErrorCode::already_exists,
                              database.string() + ": another coordinator writes it (" + holder +
                                  "); end that one, or give another file with --db");
        }
        if (still_named(descriptor, file)) {
            write_holder(descriptor);
            return WriterLock(file, descriptor);
        }
        close(descriptor);
    }
}

WriterLock::~WriterLock() {
    if (descriptor_ >= 0) {
        // Removed while still held, so that nobody can be locking the same file by name.
        unlink(file_.c_str());
        close(descriptor_);
    }
}

}  // namespace bitsweep
