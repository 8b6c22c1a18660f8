// `bitsweep plan`: what an experiment file would run, and what not, without sending anything.
#include <cstdio>
#include <filesystem>
#include <memory>

#include "coordinator/cli/command.h"
#include "coordinator/cli/experiment_file.h"
#include "coordinator/cli/options.h"
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
    for (const std::string& folder : parsed.get<std::vector<std::string>>("models")) {
        request.models.emplace_back(folder);
    }
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

Result<int> plan(const Parsed& parsed) {
    TRY(check_format(parsed.shared.format.empty() ? "table" : parsed.shared.format));
    const PreparedExperiment prepared = TRY(prepare(TRY(read_request(parsed))));
    const std::unique_ptr<Store> store = TRY(open_if_there(parsed.shared.db));
    const Expansion& expansion = prepared.expansion;
    const std::vector<PlannedCell> cells =
        TRY(plan_cells(expansion, prepared.submit.cells, store.get()));
    std::fprintf(stderr, "%s: %s\n", expansion.experiment.value.c_str(),
                 expansion.question.empty() ? "(no question)" : expansion.question.c_str());
    if (!expansion.cost.empty()) {
        std::fprintf(stderr, "cost: %s\n", expansion.cost.c_str());
    }
    std::fprintf(stderr, "compared with %s\n",
                 store ? parsed.shared.db.c_str() : "no database: everything is new");
    const bool list = parsed.has("list") || parsed.has("why");
    const ListDetail detail = parsed.has("why") ? ListDetail::reasons : ListDetail::cells;
    return print_table(list ? plan_list(cells, detail) : plan_summary(expansion, cells),
                       parsed.shared);
}

}  // namespace

int command_plan(const Arguments& arguments) {
    OptionSet options("plan FILE [--list] [--why] [--set key=value] [--models DIR]",
                      "What would run, what not and why. Nothing is sent and nothing is changed.");
    // clang-format off
    options.add()
        ("list", "one row for each cell, in run order")
        ("why", "the same with the reason, the line of the file and the key")
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
