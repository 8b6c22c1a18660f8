#include "coordinator/cli/plan_cells.h"

#include <algorithm>

#include "coordinator/cli/plan_fit.h"
#include "coordinator/cli/plan_why.h"
#include "coordinator/expand/card_condition.h"
#include "schemas/catalog/methods.h"
#include "schemas/codec.h"

namespace bitsweep {
namespace {

// "FROM ... WHERE ..." of the cells that the experiment asks for. The name is plain (expand checks
// it): A-Z a-z 0-9 . _ -
std::string members_of(const ExperimentName& experiment) {
    return " FROM experiment_jobs l JOIN jobs j ON j.id = l.job WHERE l.asked = 1 AND "
           "l.experiment = '" +
           experiment.value + "'";
}

// The kinds of device that the experiment has met, sorted.
Result<std::vector<std::string>> kinds_met(const ExperimentName& experiment, Store& store) {
    const Table table =
        TRY(store.query("SELECT DISTINCT j.gpu" + members_of(experiment) + " ORDER BY 1"));
    std::vector<std::string> kinds;
    for (const auto& row : table.rows) {
        kinds.push_back(row.front().text);
    }
    return kinds;
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

void describe_state(const KnownJob& job, PlannedCell& planned) {
    planned.job = job.id;
    planned.state = job.state;
    if (job.state == "failed") {
        planned.failure = std::string(to_string(job.last_outcome));
    }
}

std::string why_known(const KnownJob& job) {
    return job.state == "failed"
               ? std::string(to_string(job.last_outcome)) + ": " + job.last_message +
                     " (`bitsweep submit --retry-failed` runs it again)"
           : job.state == "done"      ? "measured already (`--force` measures it again)"
           : job.state == "cancelled" ? "cancelled before; a submission runs it"
                                      : "submitted already";
}

bool is_template(const Cell& cell) {
    return cell.spec.gpu == "*";
}

// An attached device of that kind, or the kind alone.
CardFacts facts_of(const std::string& kind, const std::vector<DeviceInfo>& attached) {
    const auto found = std::ranges::find(attached, kind, &DeviceInfo::kind);
    DeviceInfo device;
    device.kind = kind;
    return card_facts(found != attached.end() ? *found : device);
}

// A template of `{each: any}` becomes a cell for each kind that the experiment has met and that
// `where` admits.
Result<std::vector<Cell>> made_concrete(std::vector<Cell> cells, const ExperimentName& experiment,
                                        Store& store, const std::vector<DeviceInfo>& attached) {
    if (std::ranges::none_of(cells, is_template)) {
        return cells;
    }
    const std::vector<std::string> kinds = TRY(kinds_met(experiment, store));
    std::vector<Cell> out;
    for (Cell& one : cells) {
        if (!is_template(one) || kinds.empty()) {
            out.push_back(std::move(one));
            continue;
        }
        for (const std::string& kind : kinds) {
            const std::string condition = one.card_condition.value_or("");
            if (decide_for_card(condition, facts_of(kind, attached)).runs) {
                out.push_back(for_kind(one, kind));
            }
        }
    }
    return out;
}

}  // namespace

Result<std::vector<PlannedCell>> plan_cells(const Expansion& expansion, std::vector<Cell> cells,
                                            Store* store, const std::vector<DeviceInfo>& attached,
                                            Reasons reasons) {
    if (store != nullptr) {
        cells = TRY(made_concrete(std::move(cells), expansion.experiment, *store, attached));
    }
    std::vector<std::optional<KnownJob>> known(cells.size());
    std::optional<WhyNew> why;
    if (store != nullptr) {
        known = TRY(store->find(cells));
        why = reasons == Reasons::fields ? std::optional(TRY(WhyNew::read(*store, cells)))
                                         : std::nullopt;
    }
    std::vector<PlannedCell> planned(cells.size());
    JobMemories memories;
    for (std::size_t i = 0; i < cells.size(); ++i) {
        PlannedCell& one = planned[i];
        const JobSpec& spec = cells[i].spec;
        one.state = "new";
        one.memory_bytes = memory_of(spec, memories);
        one.misfit = misfit(spec, one.memory_bytes, attached);
        if (known[i]) {
            describe_state(*known[i], one);
        }
        if (reasons == Reasons::fields) {
            one.why = known[i]          ? why_known(*known[i])
                      : spec.gpu == "*" ? "one for each kind of device that attaches"
                      : why             ? why->why(cells[i])
                                        : "never measured";
        }
        one.cell = std::move(cells[i]);
    }
    return planned;
}

Result<std::vector<LeftOut>> left_out_by_cards(const ExperimentName& experiment,
                                               const std::vector<Cell>& cells, Store* store,
                                               const std::vector<DeviceInfo>& attached) {
    std::vector<std::string> kinds;
    if (store != nullptr && std::ranges::any_of(cells, is_template)) {
        kinds = TRY(kinds_met(experiment, *store));
    }
    for (const DeviceInfo& device : attached) {
        if (std::ranges::find(kinds, device.kind) == kinds.end()) {
            kinds.push_back(device.kind);
        }
    }
    std::vector<LeftOut> out;
    for (const std::string& kind : kinds) {
        LeftOut one{kind, 0, ""};
        const CardFacts facts = facts_of(kind, attached);
        for (const Cell& cell : cells) {
            const CardVerdict verdict =
                is_template(cell) ? decide_for_card(cell.card_condition.value_or(""), facts)
                                  : CardVerdict{};
            if (!verdict.runs) {
                one.why = one.why.empty() ? verdict.why : one.why;
                ++one.cells;
            }
        }
        if (one.cells > 0) {
            out.push_back(std::move(one));
        }
    }
    return out;
}

Result<FormerCells> cells_left_over(const ExperimentName& experiment,
                                    const std::vector<PlannedCell>& cells, Store* store) {
    FormerCells former;
    if (store == nullptr) {
        return former;
    }
    std::vector<bool> kept;  // by row: rows are counted from 1
    for (const PlannedCell& one : cells) {
        const auto row = static_cast<std::size_t>(one.job);
        kept.resize(std::max(kept.size(), row + 1));
        kept[row] = true;
    }
    const auto is_kept = [&](const auto& row) {
        const auto job = static_cast<std::size_t>(row.front().integer);
        return job < kept.size() && kept[job];
    };
    // Mostly none has left: then the states need not be read, and members are counted by an index.
    const std::string named = " FROM experiment_jobs WHERE experiment = '" + experiment.value + "'";
    const Table past = TRY(store->query("SELECT job" + named + " AND asked = 0"));
    for (const auto& row : past.rows) {
        const auto job = static_cast<std::size_t>(row.front().integer);
        kept.resize(std::max(kept.size(), job + 1));
        kept[job] = true;
    }
    const Table members = TRY(store->query("SELECT job" + named));
    if (std::ranges::all_of(members.rows, is_kept)) {
        return former;
    }
    const Table states = TRY(store->query("SELECT j.id, j.state" + members_of(experiment)));
    for (const auto& row : states.rows) {
        if (!is_kept(row)) {
            ++former.cells;
            former.waiting += row[1].text == "waiting" ? 1 : 0;
            former.running += row[1].text == "running" ? 1 : 0;
        }
    }
    return former;
}

}  // namespace bitsweep
