#include "worker/agent/log_folder.h"

#include <algorithm>
#include <vector>

namespace bitsweep::agent {

void prune_logs(const std::filesystem::path& folder, const LogBounds& bounds) {
    namespace fs = std::filesystem;
    struct Log {
        fs::file_time_type changed;
        std::uint64_t bytes = 0;
        fs::path file;
    };
    std::error_code code;
    std::vector<Log> logs;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder, code)) {
        if (entry.path().extension() == ".log" && entry.is_regular_file(code)) {
            logs.push_back({entry.last_write_time(code), entry.file_size(code), entry.path()});
        }
    }
    std::sort(logs.begin(), logs.end(),
              [](const Log& a, const Log& b) { return a.changed > b.changed; });
    std::size_t files = 0;
    std::uint64_t bytes = 0;
    for (const Log& log : logs) {
        bytes += log.bytes;
        if (++files > bounds.files || bytes > bounds.bytes) {
            fs::remove(log.file, code);
        }
    }
}

}  // namespace bitsweep::agent
