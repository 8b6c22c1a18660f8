// Rows of sql::jobs_of and sql::all_jobs -> jobs.
#pragma once

#include <cstddef>
#include <vector>

#include "results/store/sqlite.h"
#include "results/store/store.h"

namespace bitsweep {

// To the end; about `expected` of them. corrupt: a word or a specification that this release does
// not know.
Result<std::vector<StoredJob>> read_jobs(Statement& rows, std::size_t expected);

}  // namespace bitsweep
