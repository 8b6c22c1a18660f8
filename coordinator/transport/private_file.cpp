#include "coordinator/transport/private_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

namespace bitsweep {

namespace {

Error system_error(const std::string& what) {
    return make_error(ErrorCode::io, what + ": " + std::strerror(errno));
}

bool write_all(int descriptor, const std::string& text) {
    std::size_t written = 0;
    while (written < text.size()) {
        const ssize_t count = write(descriptor, text.data() + written, text.size() - written);
        if (count < 0 && errno != EINTR) {
            return false;
        }
        written += count > 0 ? static_cast<std::size_t>(count) : 0;
    }
    return true;
}

// What root writes into another user's folder is for that user, who could not read it otherwise.
void give_to_owner_of_folder(int descriptor, const std::filesystem::path& file) {
    struct stat folder {};
    const std::filesystem::path parent = file.has_parent_path() ? file.parent_path() : ".";
    if (geteuid() == 0 && stat(parent.c_str(), &folder) == 0 && folder.st_uid != 0) {
        [[maybe_unused]] const int failed = fchown(descriptor, folder.st_uid, folder.st_gid);
    }
}

}  // namespace

Status write_private_file(const std::filesystem::path& file, const std::string& text) {
    const std::string temporary = file.string() + ".tmp-" + std::to_string(getpid());
    unlink(temporary.c_str());
    const int descriptor = open(temporary.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    if (descriptor < 0) {
        return system_error("cannot write " + temporary);
    }
    give_to_owner_of_folder(descriptor, file);
    const bool complete = write_all(descriptor, text) && fsync(descriptor) == 0;
    close(descriptor);
    if (!complete || rename(temporary.c_str(), file.c_str()) != 0) {
        Error error = system_error("cannot write " + file.string());
        unlink(temporary.c_str());
        return error;
    }
    return {};
}

Result<std::string> read_private_file(const std::filesystem::path& file) {
    struct stat facts {};
    if (stat(file.c_str(), &facts) != 0) {
        if (errno == ENOENT || errno == ENOTDIR) {
            return make_error(ErrorCode::not_found, "there is no file " + file.string());
        }
        return system_error("cannot read " + file.string());
    }
    if (!S_ISREG(facts.st_mode)) {
        return make_error(ErrorCode::invalid_input, file.string() + " is no file");
    }
    if ((facts.st_mode & 077) != 0) {
        return make_error(
            ErrorCode::refused,
            file.string() + " holds a secret that others can read; chmod 600 " + file.string());
    }
    std::ifstream stream(file, std::ios::binary);
    if (!stream) {
        return system_error("cannot read " + file.string());
    }
    return std::string(std::istreambuf_iterator<char>(stream), {});
}

Status make_private_folder(const std::filesystem::path& folder) {
    std::error_code code;
    if (std::filesystem::is_directory(folder, code)) {
        return {};
    }
    if (folder.has_parent_path()) {
        TRY(make_private_folder(folder.parent_path()));
    }
    if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
        return system_error("cannot make the folder " + folder.string());
    }
    return {};
}

}  // namespace bitsweep
