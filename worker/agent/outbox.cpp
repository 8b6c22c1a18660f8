#include "worker/agent/outbox.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "schemas/codec.h"

namespace bitsweep::agent {

namespace {

namespace fs = std::filesystem;

Error system_error(const fs::path& file) {
    return make_error(ErrorCode::io,
                      "cannot keep a result in " + file.string() + ": " + std::strerror(errno));
}

bool write_durably(const fs::path& file, const std::string& text) {
    const int descriptor = open(file.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
    if (descriptor < 0) {
        return false;
    }
    std::size_t written = 0;
    while (written < text.size()) {
        const ssize_t count = write(descriptor, text.data() + written, text.size() - written);
        if (count < 0 && errno != EINTR) {
            break;
        }
        written += count > 0 ? static_cast<std::size_t>(count) : 0;
    }
    const bool durable = written == text.size() && fsync(descriptor) == 0;
    const int why = errno;
    close(descriptor);
    errno = why;
    return durable;
}

void sync_folder(const fs::path& folder) {
    const int descriptor = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor >= 0) {
        fsync(descriptor);
        close(descriptor);
    }
}

std::string plain_name(const std::string& text) {
    std::string name = text.substr(0, 64);
    std::replace_if(
        name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
    return name;
}

}  // namespace

std::string file_stem(const JobKey& key, Attempt attempt) {
    return plain_name(key.value) + "-" + std::to_string(attempt.value);
}

Result<Outbox> Outbox::open(fs::path folder) {
    std::error_code code;
    fs::create_directories(folder, code);
    if (code) {
        return make_error(ErrorCode::io,
                          "cannot make the folder " + folder.string() + ": " + code.message());
    }
    return Outbox(std::move(folder));
}

fs::path Outbox::folder_of(const std::string& database) const {
    return database.empty() ? folder_ : folder_ / plain_name(database);
}

Status Outbox::keep(const KeptResult& kept) const {
    const fs::path folder = folder_of(kept.database);
    std::error_code code;
    if (fs::create_directory(folder, code)) {
        sync_folder(folder_);
    }
    const fs::path file = folder / (file_stem(kept.result.key, kept.result.attempt) + ".json");
    const fs::path temporary = file.string() + ".tmp";
    if (!write_durably(temporary, to_json(kept.result)) ||
        rename(temporary.c_str(), file.c_str()) != 0) {
        Error error = system_error(file);
        unlink(temporary.c_str());
        remove_if_empty(kept.database);
        return error;
    }
    sync_folder(folder);
    return {};
}

void Outbox::remove_if_empty(const std::string& database) const {
    if (!database.empty()) {
        rmdir(folder_of(database).c_str());
    }
}

void Outbox::drop(const std::string& database, const JobKey& key, Attempt attempt) const {
    unlink((folder_of(database) / (file_stem(key, attempt) + ".json")).c_str());
    remove_if_empty(database);
}

std::vector<KeptResult> Outbox::load(std::vector<std::string>& complaints) const {
    std::vector<KeptResult> kept;
    load_folder("", kept, complaints);
    std::error_code code;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder_, code)) {
        if (entry.is_directory(code)) {
            load_folder(entry.path().filename().string(), kept, complaints);
        }
    }
    return kept;
}

void Outbox::load_folder(const std::string& database, std::vector<KeptResult>& kept,
                         std::vector<std::string>& complaints) const {
    std::error_code code;
    std::vector<fs::path> files;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder_of(database), code)) {
        files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    for (const fs::path& file : files) {
        if (file.extension() == ".tmp") {
            fs::remove(file, code);  // never promised to anybody
        }
        if (file.extension() != ".json") {
            continue;
        }
        std::ifstream stream(file, std::ios::binary);
        const std::string text(std::istreambuf_iterator<char>(stream), {});
        Result<RunResult> result = result_from_json(text);
        if (result) {
            kept.push_back({std::move(*result), database});
            continue;
        }
        complaints.push_back(file.string() +
                             " is no result and was set aside as *.bad: " + result.error().message);
        fs::rename(file, file.string() + ".bad", code);
    }
}

}  // namespace bitsweep::agent
