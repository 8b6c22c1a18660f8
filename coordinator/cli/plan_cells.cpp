#include "coordinator/cli/plan_cells.h"

#include <algorithm>
#include <unordered_set>

#include "coordinator/cli/plan_fit.h"
#include "coordinator/cli/plan_why.h"
#include "schemas/catalog/methods.h"
#include "schemas/codec.h"

namespace bitsweep {
namespace {

// The distinct values of one column of the experiment's jobs, sorted.
Result<std::vector<std::string>> values_of(const char* column, const ExperimentName& experiment,
                                           Store& store) {
    // The name is plain (expand checks it): A-Z a-z 0-9 . _ -
    const Table table =
        TRY(store.query("SELECT DISTINCT " + std::string(column) +
                        " AS value FROM jobs JOIN experiment_jobs ON experiment_jobs.job = jobs.id "
                        "WHERE experiment = '" +
                        experiment.value + "' ORDER BY value"));
    std::vector<std::string> values;
    for (const auto& row : table.rows) {
        values.push_back(row.front().text);
    }
    return values;
}

Cell for_kind(const Cell& part, const std::string& kind) {
    Cell cell = part;
    cell.spec.gpu = kind;
    cell.identity.spec_key = spec_key(cell.spec);
    if (const Result<MethodId> method = parse_method(cell.spec.method)) {
        const MethodRow& row = method_row(*method);
        cell.identity.numerics_revision = kind == "cpu" ? row.numerics_cpu : row.numerics_cuda;
    }
    return cell;
}

void describe_state(const StoredJob& job, PlannedCell& planned) {
    planned.state = job.state;
    if (job.state == "failed") {
        planned.failure = std::string(to_string(job.last_outcome));
        planned.why = planned.failure + ": " + job.last_message +
                      " (`bitsweep submit --retry-failed` runs it again)";
    } else if (job.state == "done") {
        planned.why = "measured already (`--force` measures it again)";
    } else {
        planned.why = "submitted already";
    }
}

// Most cells of a plan are new: one look at the keys saves a question for each.
Result<std::unordered_set<std::string>> stored_keys(Store& store) {
    constexpr std::int64_t page = 50'000;
    std::unordered_set<std::string> keys;
    std::int64_t last = 0;
    while (true) {
        const Table table =
            TRY(store.query("SELECT id, spec_key FROM jobs WHERE id > " + std::to_string(last) +
                            " ORDER BY id LIMIT " + std::to_string(page)));
        for (const auto& row : table.rows) {
            keys.insert(row[1].text);
            last = row[0].integer;
        }
        if (static_cast<std::int64_t>(table.rows.size()) < page) {
            return keys;
        }
    }
}

class Planner {
 public:
    Planner(Store* store, const std::vector<DeviceInfo>& attached)
        : store_(store), attached_(attached) {}

    Status look(Reasons reasons, const std::vector<Cell>& cells) {
        if (store_ == nullptr) {
            return {};
        }
        keys_ = TRY(stored_keys(*store_));
        if (reasons == Reasons::fields) {
            why_ = TRY(WhyNew::read(*store_, cells));
        }
        return {};
    }

    Result<PlannedCell> plan(Cell cell) {
        PlannedCell planned;
        planned.state = "new";
        planned.why = "never measured";
        planned.memory_bytes = memory_of(cell.spec);
        planned.misfit = misfit(cell.spec, planned.memory_bytes, attached_);
        if (cell.spec.gpu == "*") {
            planned.why = "one for each kind of device that attaches";
        } else if (store_ != nullptr) {
            TRY(compare(cell, planned));
        }
        planned.cell = std::move(cell);
        return planned;
    }

 private:
    Status compare(const Cell& cell, PlannedCell& planned) {
        if (keys_.contains(cell.identity.spec_key)) {
            const std::optional<StoredJob> job =
                TRY(store_->find(cell.identity, cell.spec.model.name, cell.spec.quality.text));
            if (job) {
                describe_state(*job, planned);
                return {};
            }
        }
        if (why_) {
            planned.why = why_->why(cell);
        }
        return {};
    }

    Store* store_;
    const std::vector<DeviceInfo>& attached_;
    std::unordered_set<std::string> keys_;
    std::optional<WhyNew> why_;
};

}  // namespace

Result<std::vector<PlannedCell>> plan_cells(const Expansion& expansion, std::vector<Cell> cells,
                                            Store* store, const std::vector<DeviceInfo>& attached,
                                            Reasons reasons) {
    const std::vector<std::string> kinds = store != nullptr
                                               ? TRY(values_of("gpu", expansion.experiment, *store))
                                               : std::vector<std::string>();
    Planner planner(store, attached);
    TRY(planner.look(reasons, cells));
    std::vector<PlannedCell> planned;
    planned.reserve(cells.size());
    for (Cell& one : cells) {
        if (one.spec.gpu != "*" || kinds.empty()) {
            planned.push_back(TRY(planner.plan(std::move(one))));
            continue;
        }
        for (const std::string& kind : kinds) {
            planned.push_back(TRY(planner.plan(for_kind(one, kind))));
        }
    }
    return planned;
}

Result<std::int64_t> cells_left_over(const ExperimentName& experiment,
                                     const std::vector<PlannedCell>& cells, Store* store) {
    if (store == nullptr) {
        return std::int64_t{0};
    }
    std::unordered_set<std::string> asked;
    for (const PlannedCell& one : cells) {
        asked.insert(one.cell.identity.spec_key);
    }
    const std::vector<std::string> stored = TRY(values_of("spec_key", experiment, *store));
    return static_cast<std::int64_t>(std::ranges::count_if(
        stored, [&](const std::string& key) { return !asked.contains(key); }));
}

}  // namespace bitsweep
