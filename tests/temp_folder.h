// A new folder under the system's temporary one that goes away, with all in it, at its owner's end.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <string>

#include "schemas/status.h"

namespace bitsweep {

class TempFolder {
 public:
    TempFolder() {
        std::string pattern =
            (std::filesystem::temp_directory_path() / "bitsweep-test-XXXXXX").string();
        ASSERT(mkdtemp(pattern.data()) != nullptr);
        path_ = pattern;
    }
    ~TempFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TempFolder(const TempFolder&) = delete;
    TempFolder& operator=(const TempFolder&) = delete;

    const std::filesystem::path& path() const { return path_; }
    operator const std::filesystem::path&() const { return path_; }
    std::filesystem::path operator/(const std::filesystem::path& name) const {
        return path_ / name;
    }
    std::string string() const { return path_.string(); }
    const char* c_str() const { return path_.c_str(); }

 private:
    std::filesystem::path path_;
};

}  // namespace bitsweep
