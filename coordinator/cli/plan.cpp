// `bitsweep plan`: what an experiment file would run, and what not, without sending anything.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <memory>
#include <optional>

#include "coordinator/cli/client.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/experiment_file.h"
#include "coordinator/cli/options.h"
#include "coordinator/cli/plan_cells.h"
#include "coordinator/cli/plan_time.h"
#include "coordinator/cli/plan_view.h"
#include "coordinator/cli/tables.h"
#include "results/store/store.h"

namespace bitsweep {

namespace {

namespace po = boost::program_options;

Result<ExperimentRequest> read_request(const Parsed& parsed) {
    ExperimentRequest request;
    if (!parsed.has("file")) {
        return make_error(ErrorCode::invalid_input, "write `bitsweep plan FILE`");
    }
    request.file = parsed.get<std::string>("file");
    request.overrides = TRY(parse_overrides(parsed.get<std::vector<std::string>>("set")));
    request.models = TRY(folders_of(parsed, "models"));
    return request;
}

// The database is optional: without one everything is new.
Result<std::unique_ptr<Store>> open_if_there(const std::filesystem::path& file) {
    std::error_code ignored;
    if (!std::filesystem::exists(file, ignored)) {
        return std::unique_ptr<Store>();
    }
    return Store::open(file, OpenMode::read_only);
}

// What a coordinator has attached; nothing: none answers, which is no mistake, a plan needs none.
std::optional<std::vector<DeviceInfo>> attached_devices(const SharedOptions& shared) {
    constexpr Duration patience{500};
    const Result<Access> access = find_access(shared, "client");
    if (!access) {
        return std::nullopt;
    }
    Result<Client> client = Client::connect(*access, patience);
    if (!client) {
        return std::nullopt;
    }
    const Result<StatusReply> reply = client->ask_for<StatusReply>(StatusRequest{}, patience);
    if (!reply) {
        return std::nullopt;
    }
    std::vector<DeviceInfo> devices;
    for (const WorkerStatus& worker : reply->workers) {
        devices.insert(devices.end(), worker.devices.begin(), worker.devices.end());
    }
    return devices;
}

std::string attached_in_words(const std::optional<std::vector<DeviceInfo>>& attached) {
    const std::string known = ": memory is compared with the known cards";
    if (!attached) {
        return "no coordinator answers" + known;
    }
    if (attached->empty()) {
        return "the coordinator has no worker yet" + known;
    }
    return attached->size() == 1 ? "1 device is attached"
                                 : std::to_string(attached->size()) + " devices are attached";
}

void print_head(const Expansion& expansion, const Parsed& parsed, bool has_store,
                const std::string& devices) {
    std::fprintf(stderr, "%s: %s\n", expansion.experiment.value.c_str(),
                 expansion.question.empty() ? "(no question)" : expansion.question.c_str());
    if (!expansion.cost.empty()) {
        std::fprintf(stderr, "cost: %s\n", expansion.cost.c_str());
    }
    std::fprintf(stderr, "compared with %s; %s\n",
                 has_store ? parsed.shared.db.c_str() : "no database: everything is new",
                 devices.c_str());
}

std::string former_in_words(const FormerCells& former) {
    return "cells that the experiment has and this file does not: a submission takes them out of "
           "its summary, results stay (`bitsweep query --view v_former`); " +
           std::to_string(former.waiting) + " wait and are cancelled, " +
           std::to_string(former.running) + " run and may finish";
}

Result<int> plan(const Parsed& parsed) {
    TRY(check_format(parsed.shared.format.empty() ? "table" : parsed.shared.format));
    PreparedExperiment prepared = TRY(prepare(TRY(read_request(parsed))));
    std::ranges::move(not_here(prepared.submit.cells),
                      std::back_inserter(prepared.expansion.notes));
    const std::unique_ptr<Store> store = TRY(open_if_there(parsed.shared.db));
    const Expansion& expansion = prepared.expansion;
    const std::optional<std::vector<DeviceInfo>> answer = attached_devices(parsed.shared);
    const std::vector<DeviceInfo> attached = answer.value_or(std::vector<DeviceInfo>());
    const Reasons reasons = parsed.has("why") ? Reasons::fields : Reasons::states;
    const std::vector<LeftOut> left_out =
        TRY(left_out_by_cards(expansion.experiment, prepared.submit.cells, store.get(), attached));
    const std::vector<PlannedCell> cells = TRY(
        plan_cells(expansion, std::move(prepared.submit.cells), store.get(), attached, reasons));
    print_head(expansion, parsed, store != nullptr, attached_in_words(answer));
    const bool list = parsed.has("list") || parsed.has("why");
    const ListDetail detail = parsed.has("why") ? ListDetail::reasons : ListDetail::cells;
    if (list) {
        return print_table(plan_list(cells, detail), parsed.shared);
    }
    const std::vector<TimeEstimate> times = TRY(estimate_times(cells, store.get()));
    Table table = plan_summary(expansion, cells, times);
    for (const LeftOut& one : left_out) {
        table.rows.push_back(
            {cell("left out on " + one.kind), cell(one.cells), cell("by `where`: " + one.why)});
    }
    const FormerCells former = TRY(cells_left_over(expansion.experiment, cells, store.get()));
    if (former.cells > 0) {
        table.rows.push_back({cell(std::string("no longer asked")), cell(former.cells),
                              cell(former_in_words(former))});
    }
    return print_table(table, parsed.shared);
}

}  // namespace

int command_plan(const Arguments& arguments) {
    OptionSet options("plan FILE [--list] [--why] [--set key=value] [--models DIR]",
                      "What would run, what not and why. Nothing is sent and nothing is changed.");
    // clang-format off
    options.add()
        ("list", "one row for each cell, in run order")
        ("why", "the same with the field that made it new, what it does not fit, line and key")
        ("set", po::value<std::vector<std::string>>()->composing()->value_name("key=value"),
            "replaces a value of the file; may be given several times")
        ("models", po::value<std::vector<std::string>>()->composing()->value_name("DIR"),
            "folder with models, to know their digests");
    // clang-format on
    options.positional("file", 1);
    const Parsed parsed = options.parse(arguments);
    if (parsed.stop) {
        return *parsed.stop;
    }
    const Result<int> code = plan(parsed);
    return code ? *code : report(code.error());
}

}  // namespace bitsweep
