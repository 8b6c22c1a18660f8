// An expanded experiment against what a database has: the state of each cell, and why.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/expand/expand.h"
#include "results/store/store.h"
#include "schemas/job.h"
#include "schemas/message.h"
#include "schemas/status.h"

namespace bitsweep {

struct PlannedCell {
    Cell cell;
    std::string state;     // "new", or as the database has it: waiting, running, done, failed, ...
    std::int64_t job = 0;  // row of the database, 0: new
    std::string why;       // in words, where reasons were asked for
    std::string failure;   // class of the failure before, "timeout"
    std::optional<std::uint64_t> memory_bytes;  // nullopt: a shape that the table does not know
    std::string misfit;                         // empty: it fits, or nobody knows
};

enum class Reasons {
    states,  // new or not
    fields,  // and which field made a cell new
};

// `store` may be null: everything is new. A template of `gpu: {each: any}` becomes one cell for
// each kind of device that the experiment has met in that database and that its `where` admits,
// else it stays a template. `attached`: devices of a coordinator that answered; may be empty.
Result<std::vector<PlannedCell>> plan_cells(const Expansion& expansion, std::vector<Cell> cells,
                                            Store* store, const std::vector<DeviceInfo>& attached,
                                            Reasons reasons);

// What `where` leaves out of the templates on one kind of device.
struct LeftOut {
    std::string kind;
    std::int64_t cells = 0;
    std::string why;  // of the first of them
};

// For every kind that is attached or that the experiment has met; `store` may be null.
Result<std::vector<LeftOut>> left_out_by_cards(const ExperimentName& experiment,
                                               const std::vector<Cell>& cells, Store* store,
                                               const std::vector<DeviceInfo>& attached);

// Cells that the experiment asks for in the database and that the file no longer makes.
struct FormerCells {
    std::int64_t cells = 0;    // they leave its summary and keep their results
    std::int64_t waiting = 0;  // of them: will be cancelled, unless another experiment wants them
    std::int64_t running = 0;  // of them: may finish
};

// What a submission would take out. `store` may be null.
Result<FormerCells> cells_left_over(const ExperimentName& experiment,
                                    const std::vector<PlannedCell>& cells, Store* store);

}  // namespace bitsweep
