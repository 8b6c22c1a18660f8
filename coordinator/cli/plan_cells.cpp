#include "coordinator/cli/plan_cells.h"

#include <algorithm>
#include <unordered_set>

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
        planned.why = planned.failure + ": " + job.last_message +
                      " (`bitsweep submit --retry-failed` runs it again)";
    } else if (job.state == "done") {
        planned.why = "measured already (`--force` measures it again)";
    } else {
        planned.why = "submitted already";
    }
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
    for (std::size_t i = 0; i < cells.size(); ++i) {
        PlannedCell& one = planned[i];
        one.state = "new";
        one.why = "never measured";
        one.memory_bytes = memory_of(cells[i].spec);
        one.misfit = misfit(cells[i].spec, one.memory_bytes, attached);
        if (known[i]) {
            describe_state(*known[i], one);
        } else if (cells[i].spec.gpu == "*") {
            one.why = "one for each kind of device that attaches";
        } else if (why) {
            one.why = why->why(cells[i]);
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
    std::unordered_set<std::int64_t> kept;
    for (const PlannedCell& one : cells) {
        kept.insert(one.job);
    }
    const auto is_kept = [&](const auto& row) { return kept.contains(row.front().integer); };
    // Mostly none has left: then the states need not be read.
    const Table members =
        TRY(store->query("SELECT job FROM experiment_jobs WHERE asked = 1 AND "
                         "experiment = '" +
                         experiment.value + "'"));
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
