// `bitsweep explain`: of a job, why it waits or how it ended (asked of the coordinator); of a cell
// of an experiment file, which line makes it or leaves it out (explain_cell.cpp).
#include <chrono>
#include <cstdio>
#include <filesystem>

#include "coordinator/cli/client.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/explain_cell.h"
#include "coordinator/cli/options.h"
#include "coordinator/server/recover.h"
#include "results/store/store.h"

namespace bitsweep {

namespace {

constexpr Duration answer_limit{10'000};

Result<Explanation> ask_coordinator(const std::string& job, const Parsed& parsed) {
    Client client = TRY(Client::connect(TRY(find_access(parsed.shared, "client"))));
    return client.ask_for<Explanation>(ExplainRequest{job}, answer_limit);
}

Result<Explanation> ask_database(const std::string& job, const Parsed& parsed) {
    const std::unique_ptr<Store> store = TRY(Store::open(parsed.shared.db, OpenMode::read_only));
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return explain_stored(*store, job,
                          {std::chrono::duration_cast<std::chrono::milliseconds>(now).count()});
}

// Where no coordinator runs, its database still knows.
Result<int> explain_job(const std::string& job, const Parsed& parsed) {
    Result<Explanation> asked = ask_coordinator(job, parsed);
    std::error_code code;
    if (!asked && asked.error().code == ErrorCode::unavailable &&
        std::filesystem::exists(parsed.shared.db, code)) {
        asked = ask_database(job, parsed);
    }
    const Explanation answer = TRY(std::move(asked));
    std::printf("%s is %s\n", answer.key.value.c_str(), answer.state.c_str());
    for (const std::string& line : answer.lines) {
        std::printf("  %s\n", line.c_str());
    }
    return int{exit_done};
}

Result<int> explain(const Parsed& parsed) {
    std::vector<std::string> words = parsed.get<std::vector<std::string>>("words");
    if (words.empty()) {
        return make_error(
            ErrorCode::invalid_input,
            "write `bitsweep explain JOB`, or `bitsweep explain FILE field=value ...`");
    }
    const std::string first = words.front();
    words.erase(words.begin());
    std::error_code code;
    const bool file = std::filesystem::exists(first, code) ||
                      first.find('/') != std::string::npos || first.ends_with(".yaml") ||
                      first.ends_with(".yml");
    if (file) {
        return explain_cell(first, words, parsed);
    }
    if (!words.empty()) {
        return make_error(ErrorCode::invalid_input, "there is no experiment file " + first +
                                                        " to look for " + words.front() + " in");
    }
    return explain_job(first, parsed);
}

}  // namespace

int command_explain(const Arguments& arguments) {
    namespace po = boost::program_options;
    OptionSet options(
        "explain JOB | explain FILE field=value ...",
        "Why a job waits or how it ended; or which lines of an experiment file make a "
        "cell,\nor leave it out: `explain FILE model=llama-nano bits=4 'batch=>=8'`.");
    // clang-format off
    options.add()
        ("set", po::value<std::vector<std::string>>()->composing()->value_name("key=value"),
            "replaces a value of the file; may be given several times");
    // clang-format on
    options.positional("words", -1);
    const Parsed parsed = options.parse(arguments);
    if (parsed.stop) {
        return *parsed.stop;
    }
    const Result<int> code = explain(parsed);
    return code ? *code : report(code.error());
}

}  // namespace bitsweep
