// Which stored jobs are the cells that somebody asks for, be it one or a hundred thousand.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "results/store/sqlite.h"
#include "results/store/store.h"

namespace bitsweep {

// As Store::find(). Reads every job once where many are asked for, else each by its key.
Result<std::vector<std::optional<KnownJob>>> find_jobs(Connection& connection,
                                                       std::span<const Cell> cells);

}  // namespace bitsweep
