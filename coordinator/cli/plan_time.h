// How long new cells will take, from what such cells took before.
#pragma once

#include <string>
#include <vector>

#include "coordinator/cli/plan_cells.h"
#include "results/store/store.h"
#include "schemas/status.h"

namespace bitsweep {

struct TimeEstimate {
    std::string kind;          // of device, "cpu"; "any" for templates that no kind has met
    std::int64_t cells = 0;    // that will run
    std::int64_t unknown = 0;  // of those, without any basis
    double seconds = 0;        // of one device, the others' sum
    std::string basis;         // "100 cells as the same model and method, 26 scaled by parameters"
};

// One for each kind, by name. `store` may be null: nothing is known.
Result<std::vector<TimeEstimate>> estimate_times(const std::vector<PlannedCell>& cells,
                                                 Store* store);

// "less than a second", "3 min 12 s", "2 h 5 min", "4 days 3 h"
std::string duration_in_words(double seconds);

}  // namespace bitsweep
