#include "coordinator/cli/plan_view.h"

#include <algorithm>
#include <cstdio>
#include <map>

#include "coordinator/cli/tables.h"
#include "schemas/catalog/memory.h"
#include "schemas/catalog/methods.h"
#include "schemas/catalog/shapes.h"
#include "schemas/codec.h"

namespace bitsweep {
namespace {

constexpr double mib = 1024.0 * 1024.0;

// The scheduler places by the same sum (scheduler/placement.cpp).
std::optional<std::uint64_t> memory_of(const JobSpec& spec) {
    const Result<MethodId> method = parse_method(spec.method);
    MemoryQuestion question;
    question.shape = find_shape(spec.model.name);
    if (!method || question.shape == nullptr) {
        return std::nullopt;
    }
    question.method = *method;
    question.head_bits = spec.head_bits;
    question.kv_bits = spec.kv == "16" ? 16 : 8;
    question.batch = spec.batch;
    question.context = spec.prompt_tokens + spec.new_tokens;
    return estimate_memory(question).total();
}

void describe_state(const StoredJob& job, PlannedCell& planned) {
    planned.state = job.state;
    if (job.state == "failed") {
        planned.why = std::string(to_string(job.last_outcome)) + ": " + job.last_message +
                      " (`bitsweep submit --retry-failed` runs it again)";
    } else if (job.state == "done") {
        planned.why = "measured already (`--force` measures it again)";
    } else {
        planned.why = "submitted already";
    }
}

Result<PlannedCell> plan_one(Cell cell, Store* store) {
    PlannedCell planned;
    planned.state = "new";
    planned.why = "never measured";
    planned.memory_bytes = memory_of(cell.spec);
    if (cell.spec.gpu == "*") {
        planned.why = "one for each kind of device that attaches";
    } else if (store != nullptr) {
        const std::optional<StoredJob> job =
            TRY(store->find(cell.identity, cell.spec.model.name, cell.spec.quality.text));
        if (job) {
            describe_state(*job, planned);
        }
    }
    planned.cell = std::move(cell);
    return planned;
}

Result<std::vector<std::string>> kinds_met(const ExperimentName& experiment, Store& store) {
    // The name is plain (expand checks it): A-Z a-z 0-9 . _ -
    const Table table = TRY(store.query(
        "SELECT DISTINCT gpu FROM jobs JOIN experiment_jobs ON experiment_jobs.job = jobs.id "
        "WHERE experiment = '" +
        experiment.value + "' ORDER BY gpu"));
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

std::string mib_text(std::uint64_t bytes) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f MiB", static_cast<double>(bytes) / mib);
    return text;
}

std::string describe(const JobSpec& spec) {
    std::string text = spec.model.name + " " + spec.method;
    if (spec.threshold) {
        char number[32];
        std::snprintf(number, sizeof number, " T=%g", *spec.threshold);
        text += number;
    }
    return text;
}

void add_row(Table& table, std::string what, std::int64_t count, std::string detail) {
    table.rows.push_back({cell(std::move(what)), cell(count), cell(std::move(detail))});
}

}  // namespace

Result<std::vector<PlannedCell>> plan_cells(const Expansion& expansion,
                                            const std::vector<Cell>& cells, Store* store) {
    const std::vector<std::string> kinds = store != nullptr
                                               ? TRY(kinds_met(expansion.experiment, *store))
                                               : std::vector<std::string>();
    std::vector<PlannedCell> planned;
    planned.reserve(cells.size());
    for (const Cell& one : cells) {
        if (one.spec.gpu != "*" || kinds.empty()) {
            planned.push_back(TRY(plan_one(one, store)));
            continue;
        }
        for (const std::string& kind : kinds) {
            planned.push_back(TRY(plan_one(for_kind(one, kind), store)));
        }
    }
    return planned;
}

Table plan_summary(const Expansion& expansion, const std::vector<PlannedCell>& cells) {
    Table table;
    table.columns = {"what", "count", "detail"};
    for (const auto& [name, count] : expansion.axes) {
        add_row(table, "axis", count, name);
    }
    const bool templates =
        std::ranges::any_of(cells, [](const PlannedCell& one) { return one.cell.spec.gpu == "*"; });
    add_row(table, "cells", static_cast<std::int64_t>(cells.size()),
            templates ? "for each kind of device that attaches" : "");
    std::map<std::string, std::int64_t> states;
    const PlannedCell* largest = nullptr;
    for (const PlannedCell& one : cells) {
        ++states[one.state];
        if (one.memory_bytes && (largest == nullptr || one.memory_bytes > largest->memory_bytes)) {
            largest = &one;
        }
    }
    for (const char* state : {"new", "waiting", "running", "done", "failed", "cancelled"}) {
        if (const auto found = states.find(state); found != states.end()) {
            add_row(table, state, found->second, "");
        }
    }
    for (const ExpansionNote& note : expansion.notes) {
        add_row(table, "note", note.cells, note.what);
    }
    if (largest != nullptr) {
        add_row(table, "largest", 1,
                describe(largest->cell.spec) + " needs " + mib_text(*largest->memory_bytes));
    }
    return table;
}

Table plan_list(const std::vector<PlannedCell>& cells, ListDetail detail) {
    Table table;
    table.columns = {"model",      "method",   "threshold", "head",       "gpu",  "batch",
                     "new_tokens", "protocol", "repeat",    "memory_mib", "state"};
    if (detail == ListDetail::reasons) {
        table.columns.insert(table.columns.end(), {"why", "line", "spec_key"});
    }
    const auto real = [](double number) {
        Table::Value value;
        value.kind = Table::Kind::real;
        value.real = number;
        return value;
    };
    for (const PlannedCell& one : cells) {
        const JobSpec& spec = one.cell.spec;
        const double rounded =
            one.memory_bytes ? static_cast<double>(*one.memory_bytes * 10 / (1024 * 1024)) / 10 : 0;
        std::vector<Table::Value> row = {cell(spec.model.name),
                                         cell(spec.method),
                                         spec.threshold ? real(*spec.threshold) : Table::Value{},
                                         cell(std::int64_t{spec.head_bits}),
                                         cell(spec.gpu),
                                         cell(std::int64_t{spec.batch}),
                                         cell(spec.new_tokens),
                                         cell(std::string(to_string(spec.protocol))),
                                         cell(std::int64_t{spec.repeat}),
                                         one.memory_bytes ? real(rounded) : Table::Value{},
                                         cell(one.state)};
        if (detail == ListDetail::reasons) {
            row.push_back(cell(one.why));
            row.push_back(cell(std::int64_t{one.cell.yaml_line}));
            row.push_back(cell(one.cell.identity.spec_key));
        }
        table.rows.push_back(std::move(row));
    }
    return table;
}

}  // namespace bitsweep
