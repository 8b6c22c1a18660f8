// Digests of big files, remembered between commands: a 140 GB model is read once, not at every
// `plan`. An entry holds for one path, size, modification and change time, and inode; anything else
// is read again. A damaged cache is an empty one: it can cost time, never a wrong digest.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "schemas/status.h"

namespace bitsweep {

class DigestCache {
 public:
    // `file` may be missing. Nothing is written before save().
    explicit DigestCache(std::filesystem::path file);

    // $XDG_CACHE_HOME/bitsweep/digests or ~/.cache/bitsweep/digests; empty where neither is known.
    static std::filesystem::path default_file();

    // The digest of schemas/content.h. not_found, io.
    Result<std::string> of(const std::filesystem::path& file);

    // Writes what is new, atomically. A cache that cannot be written is not worth an error.
    void save();

    std::int64_t files_read() const { return files_read_; }  // those that the cache did not know

 private:
    struct Stamp {
        std::uint64_t size = 0;
        std::int64_t modified_ns = 0;
        std::int64_t changed_ns = 0;
        std::uint64_t inode = 0;
        std::uint64_t device = 0;
        bool operator==(const Stamp&) const = default;
    };
    struct Entry {
        Stamp stamp;
        std::string digest;
    };

    static Result<Stamp> stamp_of(const std::filesystem::path& file);
    void load();

    std::filesystem::path file_;
    std::map<std::string, Entry> entries_;  // by absolute path
    bool changed_ = false;
    std::int64_t files_read_ = 0;
};

}  // namespace bitsweep
