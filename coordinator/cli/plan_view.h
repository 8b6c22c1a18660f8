// The tables that `bitsweep plan` prints.
#pragma once

#include <vector>

#include "coordinator/cli/plan_cells.h"
#include "coordinator/cli/plan_time.h"
#include "coordinator/expand/expand.h"
#include "results/store/store.h"

namespace bitsweep {

// Counts: axes with their values, cells and their states, what was dropped and why, what fits
// nowhere, the largest cell, the order, the time for each kind of device.
Table plan_summary(const Expansion& expansion, const std::vector<PlannedCell>& cells,
                   const std::vector<TimeEstimate>& times);

// One row per cell; `reasons` adds why, the line of the file and the key.
enum class ListDetail { cells, reasons };
Table plan_list(const std::vector<PlannedCell>& cells, ListDetail detail);

}  // namespace bitsweep
