// `bitsweep diff OLD NEW`: which cells an edit of an experiment adds, removes and changes.
#include <cstdio>
#include <map>

#include "coordinator/cli/command.h"
#include "coordinator/cli/diff_cells.h"
#include "coordinator/cli/experiment_file.h"
#include "coordinator/cli/options.h"
#include "coordinator/cli/tables.h"

namespace bitsweep {

namespace {

Result<Expansion> expanded(const std::string& file, const ExperimentRequest& shared) {
    ExperimentRequest request = shared;
    request.file = file;
    const std::string yaml = TRY(read_experiment(request.file));
    return expand_yaml(text_of(request, yaml));
}

void add_row(Table& table, const char* what, const Cell& one, std::string changes) {
    table.rows.push_back({cell(std::string(what)), cell(name_of(one.spec)),
                          cell(std::int64_t{one.yaml_line}), cell(std::move(changes))});
}

Table table_of(const CellDifference& found) {
    Table table;
    table.columns = {"what", "cell", "line", "changes"};
    for (const ChangedCell& one : found.changed) {
        add_row(table, "changed", *one.after, in_words(one.changes));
    }
    for (const Cell* one : found.removed) {
        add_row(table, "removed", *one, "");
    }
    for (const Cell* one : found.added) {
        add_row(table, "added", *one, "");
    }
    return table;
}

// What is no field of a cell: it changes how cells run, not which.
void print_policy(const Cell& before, const Cell& after) {
    const auto print = [](const char* name, std::int64_t old, std::int64_t now) {
        if (old != now) {
            std::fprintf(stderr, "%s: %lld -> %lld (no cell is measured again for it)\n", name,
                         static_cast<long long>(old), static_cast<long long>(now));
        }
    };
    print("priority", before.policy.priority, after.policy.priority);
    print("timeout in ms", before.policy.timeout.ms, after.policy.timeout.ms);
    print("retries of crashes", before.policy.retries_crash, after.policy.retries_crash);
    print("retries of failures", before.policy.retries_fail, after.policy.retries_fail);
}

// How often each set of fields changed: "126 cells: new_tokens 32 -> 64".
void print_summary(const CellDifference& found) {
    std::fprintf(stderr, "%zu cells are the same, %zu changed, %zu added, %zu removed\n",
                 found.same, found.changed.size(), found.added.size(), found.removed.size());
    std::map<std::string, std::size_t> counts;
    for (const ChangedCell& one : found.changed) {
        ++counts[in_words(one.changes)];
    }
    constexpr std::size_t most_lines = 10;
    std::size_t lines = 0;
    for (const auto& [words, count] : counts) {
        if (++lines > most_lines) {
            std::fprintf(stderr, "  ... and %zu other changes\n", counts.size() - most_lines);
            return;
        }
        std::fprintf(stderr, "  %zu cells: %s\n", count, words.c_str());
    }
}

Result<int> diff(const Parsed& parsed) {
    TRY(check_format(parsed.shared.format.empty() ? "table" : parsed.shared.format));
    const auto files = parsed.get<std::vector<std::string>>("files");
    if (files.size() != 2) {
        return make_error(ErrorCode::invalid_input, "write `bitsweep diff OLD NEW`");
    }
    ExperimentRequest request;
    request.overrides = TRY(parse_overrides(parsed.get<std::vector<std::string>>("set")));
    const Expansion before = TRY(expanded(files[0], request));
    const Expansion after = TRY(expanded(files[1], request));
    const CellDifference found = difference(before.cells, after.cells);
    print_summary(found);
    print_policy(before.cells.front(), after.cells.front());
    const bool equal = found.changed.empty() && found.added.empty() && found.removed.empty();
    const int printed = print_table(table_of(found), parsed.shared);
    return printed != exit_done ? printed : int{equal ? exit_done : exit_some_failed};
}

}  // namespace

int command_diff(const Arguments& arguments) {
    namespace po = boost::program_options;
    OptionSet options("diff OLD NEW [--set key=value]",
                      "Which cells an edit of an experiment file adds, removes and changes, field "
                      "by field.\nExit code 0: the same cells; 1: not.");
    // clang-format off
    options.add()
        ("set", po::value<std::vector<std::string>>()->composing()->value_name("key=value"),
            "replaces a value of both files; may be given several times");
    // clang-format on
    options.positional("files", -1);
    const Parsed parsed = options.parse(arguments);
    if (parsed.stop) {
        return *parsed.stop;
    }
    const Result<int> code = diff(parsed);
    return code ? *code : report(code.error());
}

}  // namespace bitsweep
