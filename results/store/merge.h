// One database out of several: results of machines that had coordinators of their own.
#pragma once

#include <cstdint>
#include <filesystem>

#include "schemas/status.h"

namespace bitsweep {

struct Merged {
    std::int64_t experiments = 0, jobs = 0, runs = 0, external_files = 0;  // new in the target
    std::int64_t known_runs = 0;   // were there already: merging again changes nothing
    std::int64_t second_runs = 0;  // of cells that both sides measured: kept as further attempts,
                                   // and the views show the newest of each cell
};

// Whether `source` can be read and is another file than `target`. Errors as merge_database's.
Status check_source(const std::filesystem::path& target, const std::filesystem::path& source);

// Adds what `source` has and `target` lacks, in one transaction: experiments by name, cells by
// their content key, runs by cell and what they are (start, end, worker, device), external files by
// their digest. Jobs without a result arrive as waiting. The event log stays where it was written.
// Makes the target if there is none. invalid_input: source and target are one file; refused: a
// model or text of one name has other bytes there, so numbers under that name are not comparable
// (names it with both digests); else as Store::open.
Result<Merged> merge_database(const std::filesystem::path& target,
                              const std::filesystem::path& source);

}  // namespace bitsweep
