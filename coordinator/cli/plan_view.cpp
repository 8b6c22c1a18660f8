#include "coordinator/cli/plan_view.h"

#include <algorithm>
#include <cstdio>
#include <map>

#include "coordinator/cli/cell_fields.h"
#include "coordinator/cli/tables.h"

namespace bitsweep {
namespace {

constexpr double mib = 1024.0 * 1024.0;
constexpr std::size_t most_values = 12;  // of one axis in one line

std::string mib_text(std::uint64_t bytes) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f MiB", static_cast<double>(bytes) / mib);
    return text;
}

void add_row(Table& table, std::string what, std::int64_t count, std::string detail) {
    table.rows.push_back({cell(std::move(what)), cell(count), cell(std::move(detail))});
}

// "method: fp16 18, int8 18"
std::string axis_in_words(const std::string& name,
                          const std::vector<std::pair<std::string, std::int64_t>>& values) {
    std::string out = name + ":";
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (i == most_values) {
            return out + ", ... (" + std::to_string(values.size() - i) + " more)";
        }
        std::string value = values[i].first == "*" ? "each kind" : values[i].first;
        value = value.size() > 40 ? value.substr(0, 37) + "..." : value;
        out += (i == 0 ? " " : ", ") + value + " (" + std::to_string(values[i].second) + ")";
    }
    return out;
}

void add_axes(const Expansion& expansion, Table& table) {
    for (std::size_t i = 0; i < expansion.axes.size(); ++i) {
        const auto& [name, count] = expansion.axes[i];
        add_row(table, "axis", count, axis_in_words(name, expansion.axis_values[i]));
    }
}

void add_states(const std::vector<PlannedCell>& cells, Table& table) {
    std::map<std::string, std::int64_t> states;
    std::map<std::string, std::int64_t> failures;
    for (const PlannedCell& one : cells) {
        ++states[one.state];
        if (!one.failure.empty()) {
            ++failures[one.failure];
        }
    }
    std::string classes;
    for (const auto& [name, count] : failures) {
        classes += (classes.empty() ? "" : ", ") + name + " " + std::to_string(count);
    }
    for (const char* state : {"new", "waiting", "running", "done", "failed", "cancelled"}) {
        if (const auto found = states.find(state); found != states.end()) {
            add_row(table, state, found->second,
                    found->first == "failed"      ? classes + " (`--retry-failed` runs them again)"
                    : found->first == "cancelled" ? "a submission runs them"
                                                  : "");
        }
    }
}

void add_misfits(const std::vector<PlannedCell>& cells, Table& table) {
    struct Group {
        std::int64_t cells = 0;
        const PlannedCell* largest = nullptr;
    };
    std::map<std::string, Group> by_kind;
    for (const PlannedCell& one : cells) {
        if (one.misfit.empty()) {
            continue;
        }
        Group& group = by_kind[one.cell.spec.gpu];
        ++group.cells;
        if (group.largest == nullptr || one.memory_bytes > group.largest->memory_bytes) {
            group.largest = &one;
        }
    }
    for (const auto& [kind, group] : by_kind) {
        add_row(table, "does not fit", group.cells,
                name_of(group.largest->cell.spec) + " " + group.largest->misfit);
    }
}

std::string time_in_words(const TimeEstimate& time) {
    if (time.unknown == time.cells) {
        return time.kind + ": not known, nothing like it was measured here";
    }
    return time.kind + ": " + duration_in_words(time.seconds) + " on one device (" + time.basis +
           ")";
}

}  // namespace

Table plan_summary(const Expansion& expansion, const std::vector<PlannedCell>& cells,
                   const std::vector<TimeEstimate>& times) {
    Table table;
    table.columns = {"what", "count", "detail"};
    add_axes(expansion, table);
    const bool templates =
        std::ranges::any_of(cells, [](const PlannedCell& one) { return one.cell.spec.gpu == "*"; });
    add_row(table, "cells", static_cast<std::int64_t>(cells.size()),
            templates ? "for each kind of device that attaches" : "");
    add_states(cells, table);
    for (const ExpansionNote& note : expansion.notes) {
        add_row(table, "note", note.cells, note.what);
    }
    add_misfits(cells, table);
    const auto largest = std::ranges::max_element(
        cells, {}, [](const PlannedCell& one) { return one.memory_bytes.value_or(0); });
    if (largest != cells.end() && largest->memory_bytes) {
        add_row(table, "largest", 1,
                name_of(largest->cell.spec) + " needs " + mib_text(*largest->memory_bytes));
    }
    add_row(table, "order", static_cast<std::int64_t>(cells.size()), expansion.order);
    for (const TimeEstimate& time : times) {
        add_row(table, "time", time.cells, time_in_words(time));
    }
    return table;
}

Table plan_list(const std::vector<PlannedCell>& cells, ListDetail detail) {
    Table table;
    table.columns = {"model",      "method",   "threshold", "head",       "gpu",  "batch",
                     "new_tokens", "protocol", "repeat",    "memory_mib", "state"};
    if (detail == ListDetail::reasons) {
        table.columns.insert(table.columns.end(), {"why", "misfit", "line", "spec_key"});
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
            row.push_back(one.misfit.empty() ? Table::Value{} : cell(one.misfit));
            row.push_back(cell(std::int64_t{one.cell.yaml_line}));
            row.push_back(cell(one.cell.identity.spec_key));
        }
        table.rows.push_back(std::move(row));
    }
    return table;
}

}  // namespace bitsweep
