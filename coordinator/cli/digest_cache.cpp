#include "coordinator/cli/digest_cache.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#include "schemas/content.h"

namespace bitsweep {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view first_line = "bitsweep digests 1";
constexpr std::size_t most_entries = 10'000;        // a models folder has hundreds of files
constexpr std::uintmax_t most_bytes = 16u << 20;    // of the cache itself
constexpr std::uint64_t worth_caching = 1u << 20;   // a megabyte is read in a millisecond
constexpr std::int64_t settled_ns = 2'000'000'000;  // the coarsest file times step by 2 s

std::int64_t ns_of(const timespec& time) {
    return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

bool is_digest(const std::string& text) {
    return text.size() == 64 && std::ranges::all_of(text, [](char c) {
               return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
           });
}

}  // namespace

DigestCache::DigestCache(fs::path file) : file_(std::move(file)) {
    load();
}

fs::path DigestCache::default_file() {
    if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && cache[0] == '/') {
        return fs::path(cache) / "bitsweep" / "digests";
    }
    const char* home = std::getenv("HOME");
    return home != nullptr && home[0] == '/' ? fs::path(home) / ".cache" / "bitsweep" / "digests"
                                             : fs::path();
}

Result<DigestCache::Stamp> DigestCache::stamp_of(const fs::path& file) {
    struct stat facts {};
    if (::stat(file.c_str(), &facts) != 0) {
        const int cause = errno;
        return make_error(cause == ENOENT ? ErrorCode::not_found : ErrorCode::io,
                          "cannot read " + file.string() + ": " + std::strerror(cause));
    }
    return Stamp{static_cast<std::uint64_t>(facts.st_size), ns_of(facts.st_mtim),
                 ns_of(facts.st_ctim), static_cast<std::uint64_t>(facts.st_ino),
                 static_cast<std::uint64_t>(facts.st_dev)};
}

// One line each: digest size modified changed inode device path.
void DigestCache::load() {
    std::error_code code;
    const std::uintmax_t bytes = file_.empty() ? 0 : fs::file_size(file_, code);
    if (file_.empty() || code || bytes > most_bytes) {
        return;
    }
    std::ifstream stream(file_, std::ios::binary);
    std::string line;
    if (!std::getline(stream, line) || line != first_line) {
        return;
    }
    while (std::getline(stream, line) && entries_.size() < most_entries) {
        std::istringstream words(line);
        Entry entry;
        std::string path;
        words >> entry.digest >> entry.stamp.size >> entry.stamp.modified_ns >>
            entry.stamp.changed_ns >> entry.stamp.inode >> entry.stamp.device;
        words.get();
        if (words && std::getline(words, path) && is_digest(entry.digest) &&
            path.starts_with('/')) {
            entries_[path] = std::move(entry);
        }
    }
}

Result<std::string> DigestCache::of(const fs::path& file) {
    const Stamp before = TRY(stamp_of(file));
    std::error_code code;
    const std::string path = fs::absolute(file, code).lexically_normal().string();
    if (const auto found = entries_.find(path);
        found != entries_.end() && found->second.stamp == before) {
        return found->second.digest;
    }
    const std::string digest = TRY(file_digest(file));
    ++files_read_;
    // A file that changed meanwhile, or so lately that its times could stay the same, is not kept.
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    const std::int64_t now_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
    const Result<Stamp> after = stamp_of(file);
    const bool settled = after && *after == before && now_ns - before.changed_ns > settled_ns;
    if (settled && before.size >= worth_caching && path.find('\n') == std::string::npos) {
        entries_[path] = {before, digest};
        changed_ = true;
    }
    return digest;
}

void DigestCache::save() {
    if (!changed_ || file_.empty()) {
        return;
    }
    std::error_code ignored;
    fs::create_directories(file_.parent_path(), ignored);
    const fs::path draft = file_.string() + "." + std::to_string(::getpid());
    {
        std::ofstream stream(draft, std::ios::binary);
        stream << first_line << '\n';
        for (const auto& [path, entry] : entries_) {
            stream << entry.digest << ' ' << entry.stamp.size << ' ' << entry.stamp.modified_ns
                   << ' ' << entry.stamp.changed_ns << ' ' << entry.stamp.inode << ' '
                   << entry.stamp.device << ' ' << path << '\n';
        }
        if (!stream.flush()) {
            fs::remove(draft, ignored);
            return;
        }
    }
    fs::rename(draft, file_, ignored);
    changed_ = static_cast<bool>(ignored);
}

}  // namespace bitsweep
