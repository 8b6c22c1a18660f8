#include "coordinator/cli/output_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>

namespace bitsweep {
namespace {

namespace fs = std::filesystem;

bool is_database(const fs::path& file) {
    char first[16] = {};
    std::ifstream stream(file, std::ios::binary);
    stream.read(first, sizeof first);
    return std::memcmp(first, "SQLite format 3", sizeof first) == 0;
}

Status write(const fs::path& file, const std::string& text) {
    std::ofstream stream(file, std::ios::binary | std::ios::trunc);
    stream << text;
    stream.close();
    return stream
               ? Status()
               : Status(make_error(ErrorCode::io,
                                   file.string() + ": cannot be written: " + std::strerror(errno)));
}

}  // namespace

Status check_output(const std::string& flag, const fs::path& file) {
    const auto refuse = [&](ErrorCode code, const std::string& why) {
        return make_error(code, flag + " " + file.string() + ": " + why);
    };
    if (file.empty()) {
        return make_error(ErrorCode::invalid_input, flag + ": an empty name; give a file");
    }
    std::error_code code;
    if (fs::is_directory(file, code)) {
        return refuse(ErrorCode::invalid_input, "is a folder; give a file");
    }
    if (fs::is_regular_file(file, code) && is_database(file)) {
        return refuse(ErrorCode::invalid_input,
                      "is a database, which would be lost; give another name");
    }
    if (const fs::path folder = file.parent_path();
        !folder.empty() && !fs::is_directory(folder, code)) {
        return refuse(ErrorCode::not_found, "there is no folder " + folder.string());
    }
    return {};
}

Status write_output(const std::string& flag, const fs::path& file, const std::string& text) {
    TRY(check_output(flag, file));
    std::error_code code;
    const bool there = fs::exists(file, code);
    if (there && !fs::is_regular_file(file, code)) {
        return write(file, text);
    }
    const fs::path target = there ? fs::canonical(file, code) : file;
    const fs::path draft = target.string() + ".part";
    const Status written = write(draft, text);
    std::error_code failed;
    if (written) {
        fs::rename(draft, target, failed);
    }
    if (!written || failed) {
        fs::remove(draft, code);
    }
    return failed ? Status(make_error(ErrorCode::io,
                                      file.string() + ": cannot be written: " + failed.message()))
                  : written;
}

Status check_standard_output() {
    std::cout.flush();
    const bool whole = std::fflush(stdout) == 0 && std::ferror(stdout) == 0 && std::cout.good();
    struct stat kind {};
    const bool pipe =
        fstat(STDOUT_FILENO, &kind) == 0 && (S_ISFIFO(kind.st_mode) || S_ISSOCK(kind.st_mode));
    return whole || pipe ? Status()
                         : Status(make_error(ErrorCode::io,
                                             "standard output took only part of the answer: is its "
                                             "disk full?"));
}

}  // namespace bitsweep
