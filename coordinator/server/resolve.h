// Client's cells -> job keys. What a client says about identities is not trusted: spec keys and
// revisions are computed here, digests are checked for their form.
#pragma once

#include <vector>

#include "coordinator/scheduler/event.h"
#include "results/store/store.h"
#include "schemas/job.h"
#include "schemas/status.h"

namespace bitsweep {

// invalid_input: a cell that no release would have expanded (names it), too many cells; errors of
// the store. The cells' gpu is a kind, not "*".
Result<std::vector<scheduler::ResolvedCell>> resolve_cells(Store& store, std::vector<Cell> cells);

// invalid_input when a cell is malformed. Also for templates.
Status check_cell(const Cell& cell);

}  // namespace bitsweep
