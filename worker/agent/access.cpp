#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "worker/agent/dealer.h"

namespace bitsweep {

namespace {

constexpr std::size_t z85_length = 40;  // 32 bytes of key
constexpr std::size_t longest_access = 16'384;

// One line, byte by byte: what follows it on the same input belongs to somebody else.
Result<std::string> read_line_of_input() {
    std::string line;
    char byte = 0;
    for (;;) {
        const ssize_t count = read(STDIN_FILENO, &byte, 1);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0 || byte == '\n') {
            return line;
        }
        line.push_back(byte);
        if (line.size() > longest_access) {
            return make_error(ErrorCode::corrupt, "standard input is no access file: it is long");
        }
    }
}

Result<std::string> read_secret_file(const std::filesystem::path& file) {
    struct stat facts {};
    if (stat(file.c_str(), &facts) != 0) {
        return make_error(
            errno == ENOENT || errno == ENOTDIR ? ErrorCode::not_found : ErrorCode::io,
            "cannot read the access file " + file.string() + ": " + std::strerror(errno));
    }
    if (!S_ISREG(facts.st_mode)) {
        return make_error(ErrorCode::invalid_input,
                          file.string() +
                              (S_ISDIR(facts.st_mode) ? " is a folder; give" : ": give") +
                              " an access file, as `bitsweep keys new` writes one");
    }
    if ((facts.st_mode & 077) != 0) {
        return make_error(
            ErrorCode::refused,
            file.string() + " holds a secret that others can read; chmod 600 " + file.string());
    }
    std::ifstream stream(file, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(stream), {});
}

}  // namespace

Result<Access> read_access(const std::filesystem::path& file) {
    const std::string text = file == "-" ? TRY(read_line_of_input()) : TRY(read_secret_file(file));
    const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
    if (!json.is_object()) {
        return make_error(ErrorCode::corrupt, file.string() +
                                                  " is no access file (not a JSON object); "
                                                  "`bitsweep keys new NAME --role ROLE` makes one");
    }
    Access access;
    const std::pair<const char*, std::string*> fields[] = {{"coordinator", &access.coordinator},
                                                           {"server_key", &access.server_key},
                                                           {"public_key", &access.public_key},
                                                           {"secret_key", &access.secret_key},
                                                           {"name", &access.name},
                                                           {"role", &access.role}};
    for (const auto& [key, into] : fields) {
        if (!json.contains(key) || !json[key].is_string()) {
            return make_error(ErrorCode::corrupt,
                              file.string() + " has no text `" + key + "`; make a new access file");
        }
        *into = json[key].get<std::string>();
        const bool is_key = std::strstr(key, "_key") != nullptr;
        if (is_key && into->size() != z85_length) {
            return make_error(ErrorCode::corrupt,
                              file.string() + ": `" + key + "` is not a key of 40 Z85 characters");
        }
    }
    return access;
}

}  // namespace bitsweep
