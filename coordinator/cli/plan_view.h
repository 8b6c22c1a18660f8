// What `bitsweep plan` knows about an expanded experiment, and the tables it prints.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/expand/expand.h"
#include "results/store/store.h"
#include "schemas/job.h"
#include "schemas/status.h"

namespace bitsweep {

struct PlannedCell {
    Cell cell;
    std::string state;  // "new", or as the database has it: waiting, running, done, failed, ...
    std::string why;    // in words
    std::optional<std::uint64_t> memory_bytes;  // nullopt: a shape that the table does not know
};

// `store` may be null: everything is new. A template of `gpu: {each: any}` becomes one cell for
// each kind of device that the experiment has met in that database, else it stays a template.
Result<std::vector<PlannedCell>> plan_cells(const Expansion& expansion,
                                            const std::vector<Cell>& cells, Store* store);

// Counts: axes, cells and their states, what was dropped and why, the largest cell.
Table plan_summary(const Expansion& expansion, const std::vector<PlannedCell>& cells);

// One row per cell; `why` adds the reason and the line of the file.
enum class ListDetail { cells, reasons };
Table plan_list(const std::vector<PlannedCell>& cells, ListDetail detail);

}  // namespace bitsweep
