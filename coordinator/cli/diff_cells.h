// Two expansions compared: which cells are in one only, and which of those are one cell edited.
#pragma once

#include <utility>
#include <vector>

#include "coordinator/cli/cell_fields.h"
#include "schemas/job.h"

namespace bitsweep {

struct ChangedCell {
    const Cell* before = nullptr;
    const Cell* after = nullptr;
    std::vector<FieldChange> changes;
};

// Cells are the same when their spec keys are. A removed and an added cell are one changed cell
// when they agree in all but one field, or in all but the fields whose values differ between all
// that was removed and all that was added (an edited default changes every cell in those). The
// cells outlive the difference.
struct CellDifference {
    std::vector<const Cell*> added;
    std::vector<const Cell*> removed;
    std::vector<ChangedCell> changed;
    std::size_t same = 0;
};

CellDifference difference(const std::vector<Cell>& before, const std::vector<Cell>& after);

}  // namespace bitsweep
