// The main of a benchmark that works in a folder of its own and answers in JSON.
#pragma once

#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>

#include "schemas/status.h"

namespace bitsweep {

// Runs `measure` in a new folder that is removed afterwards; prints its JSON where the first word
// is --json. Returns the exit code: 1 with one line on stderr where it fails.
template <class Measure>
int run_in_own_folder(const char* name, Measure measure, int count, char** words) {
    namespace fs = std::filesystem;
    std::string pattern =
        (fs::temp_directory_path() / ("bitsweep-" + std::string(name) + "-XXXXXX")).string();
    const fs::path folder = mkdtemp(pattern.data());
    const Result<std::string> json = measure(folder);
    std::error_code ignored;
    fs::remove_all(folder, ignored);
    if (!json) {
        std::fprintf(stderr, "bench: %s\n", json.error().message.c_str());
        return 1;
    }
    if (count > 1 && std::strcmp(words[1], "--json") == 0) {
        std::puts(json->c_str());
    }
    return 0;
}

}  // namespace bitsweep
