// `bitsweep analyze`: the statistics, one row of the table below for each question.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <sstream>

#include "coordinator/cli/command.h"
#include "coordinator/cli/options.h"
#include "coordinator/cli/output_file.h"
#include "results/analysis/compare.h"
#include "results/analysis/crossover.h"
#include "results/analysis/evidence.h"
#include "results/analysis/finding.h"
#include "results/analysis/latency.h"
#include "results/analysis/pareto.h"
#include "results/analysis/policy.h"
#include "results/analysis/scaling.h"
#include "results/analysis/summary.h"
#include "results/store/store.h"
#include "schemas/catalog/methods.h"

namespace bitsweep {

namespace {

namespace po = boost::program_options;

using Words = std::vector<std::string>;

struct Analysis {
    const char* name;
    const char* usage;
    const char* question;
    Result<Finding> (*run)(Store& store, const Parsed& parsed, const Words& words);
    const char* flags;  // of its own, beside everybody's
};

Result<Evidence> read(Store& store, const Parsed& parsed) {
    Evidence evidence = TRY(read_evidence(
        store, {parsed.get<std::string>("experiment"), parsed.get<std::string>("device"),
                parsed.get<std::string>("model")}));
    if (!evidence.cells.empty()) {
        return evidence;
    }
    if (!evidence.excluded.empty()) {
        return make_error(ErrorCode::not_found,
                          "every run was disturbed and is left out, the first one: " +
                              evidence.excluded.front().text());
    }
    // Other tools tell rates, without the samples and counters that an analysis reads.
    const Table external = TRY(store.query("SELECT count(*) FROM v_external"));
    const std::int64_t rows = external.rows.front().front().integer;
    return make_error(ErrorCode::not_found,
                      "nothing was measured yet" +
                          (rows == 0 ? std::string()
                                     : "; the " + std::to_string(rows) +
                                           " imported rows of other tools are shown by `bitsweep "
                                           "query --view v_external` and beside our own in every "
                                           "report"));
}

// An answer says which runs it does without; where there is none, that may be the reason.
template <class Answer>
Result<Finding> with_left_out(const Evidence& evidence, const Answer& answer) {
    Result<Finding> finding = answer();
    std::string why;
    for (const std::string& runs : evidence.left_out()) {
        why += (why.empty() ? "" : "; ") + runs;
        if (finding) {
            finding->notes.push_back("left out of every interval and fit: " + runs);
        }
    }
    if (!finding && finding.error().code == ErrorCode::not_found && !why.empty()) {
        return make_error(ErrorCode::not_found,
                          finding.error().message + "; left out as disturbed: " + why);
    }
    return finding;
}

Error usage_error(const char* usage, const std::string& why) {
    return make_error(ErrorCode::invalid_input, why + "; usage: bitsweep analyze " + usage);
}

Result<Finding> run_compare(Store& store, const Parsed& parsed, const Words& words) {
    if (words.size() != 2) {
        return usage_error("compare A B", "compare takes two methods or two devices");
    }
    const CompareQuestion question{words[0], words[1], parsed.get<double>("margin") / 100};
    const Evidence evidence = TRY(read(store, parsed));
    return with_left_out(evidence, [&]() -> Result<Finding> {
        return compare_finding(TRY(compare(evidence, question)), question);
    });
}

Result<Finding> run_scaling(Store& store, const Parsed& parsed, const Words& words) {
    if (!words.empty()) {
        return usage_error("scaling [--device KIND]", "scaling takes no words");
    }
    const Evidence evidence = TRY(read(store, parsed));
    return with_left_out(
        evidence, [&]() -> Result<Finding> { return scaling_finding(fit_scaling(evidence, {})); });
}

Result<Finding> run_crossover(Store& store, const Parsed& parsed, const Words& words) {
    if (words.size() > 2) {
        return usage_error("crossover [A [B]]", "crossover takes at most two methods");
    }
    const Evidence evidence = TRY(read(store, parsed));
    const CrossoverQuestion question{words.empty() ? "" : words[0],
                                     words.size() < 2 ? "" : words[1]};
    return with_left_out(evidence, [&]() -> Result<Finding> {
        return crossover_finding(
            TRY(find_crossovers(evidence, fit_scaling(evidence, {}), question, {})));
    });
}

// "8GiB", "500 MiB", "2e9": bytes.
Result<double> parse_bytes(const std::string& text) {
    char* rest = nullptr;
    const double number = std::strtod(text.c_str(), &rest);
    while (*rest == ' ') {
        ++rest;
    }
    const std::string unit = rest;
    const struct {
        const char* name;
        double bytes;
    } units[] = {{"", 1},     {"B", 1},    {"KiB", 1024}, {"MiB", 1048576.0}, {"GiB", 1073741824.0},
                 {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}};
    for (const auto& known : units) {
        if (unit == known.name && std::isfinite(number) && number > 0) {
            return number * known.bytes;
        }
    }
    return make_error(ErrorCode::invalid_input,
                      "--memory " + text + ": a size such as 8GiB, 500MiB or 2GB");
}

Result<Finding> run_pareto(Store& store, const Parsed& parsed, const Words& words) {
    if (!words.empty()) {
        return usage_error("pareto [--loss kl|bits-per-byte] [--max-loss X] [--memory SIZE]",
                           "pareto takes no words");
    }
    ParetoQuestion question;
    const auto loss = parsed.get<std::string>("loss");
    if (loss != "kl" && loss != "bits-per-byte") {
        return make_error(ErrorCode::invalid_input, "--loss " + loss + ": kl or bits-per-byte");
    }
    question.loss = loss == "kl" ? Loss::kl : Loss::bits_per_byte;
    if (parsed.has("max-loss")) {
        question.most_loss = parsed.get<double>("max-loss");
        if (!(*question.most_loss >= 0)) {
            return make_error(ErrorCode::invalid_input, "--max-loss: 0 or more");
        }
    }
    if (parsed.has("memory")) {
        question.most_bytes = TRY(parse_bytes(parsed.get<std::string>("memory")));
    }
    const Evidence evidence = TRY(read(store, parsed));
    return with_left_out(evidence, [&]() -> Result<Finding> {
        return pareto_finding(find_fronts(evidence, question, {}), question);
    });
}

Result<Finding> run_latency(Store& store, const Parsed& parsed, const Words& words) {
    if (words.size() > 1) {
        return usage_error("latency [METHOD]", "latency takes at most one method");
    }
    const Evidence evidence = TRY(read(store, parsed));
    const std::string method = words.empty() ? "" : TRY(resolve_method(evidence, words[0]));
    return with_left_out(evidence, [&]() -> Result<Finding> {
        return latency_finding(split_latency(evidence, fit_scaling(evidence, {}), {}), method);
    });
}

// "350us", "1.2 ms": nanoseconds; nothing for other text.
std::optional<double> parse_time(const std::string& text) {
    char* rest = nullptr;
    const double number = std::strtod(text.c_str(), &rest);
    while (*rest == ' ') {
        ++rest;
    }
    const std::string unit = rest;
    const double ns = unit == "us" ? 1e3 : unit == "ms" ? 1e6 : unit == "s" ? 1e9 : 0;
    const bool good = ns > 0 && std::isfinite(number) && number > 0;
    return good ? std::optional(number * ns) : std::nullopt;
}

Result<PolicyQuestion> policy_question(const Parsed& parsed) {
    PolicyQuestion question{.model = parsed.get<std::string>("model"),
                            .device = parsed.get<std::string>("device")};
    const auto by = parsed.get<std::string>("by");
    if (by != "time" && by != "memory") {
        return make_error(ErrorCode::invalid_input, "--by " + by + ": time or memory");
    }
    const auto budget = parsed.get<std::string>("budget");
    const bool of_memory = by == "memory" || parsed.has("memory");
    if (const auto time = parse_time(budget)) {
        if (of_memory) {
            return make_error(ErrorCode::invalid_input,
                              "--budget " + budget +
                                  ": a time, and the budget is of memory here; " +
                                  "give --memory SIZE alone, or --by time");
        }
        question.budget = *time;
    } else if (parsed.has("memory")) {
        question.budget = TRY(parse_bytes(parsed.get<std::string>("memory")));
    } else if (const auto method = parse_method(budget.substr(0, budget.find('@')))) {
        question.like = budget;
    } else {
        return make_error(ErrorCode::invalid_input,
                          "--budget " + budget + ": neither a time, such as 350us, nor a method: " +
                              method.error().message);
    }
    question.cost = of_memory ? PolicyCost::memory : PolicyCost::time;
    return question;
}

// "p.json", 3 -> "p-random-3.json"
std::string numbered(const std::string& file, int number) {
    const std::size_t dot = file.rfind(".json");
    return file.substr(0, dot) + "-random-" + std::to_string(number) + ".json";
}

// A folder of policies and the experiment that runs them.
Status write_check(const std::string& folder, const PolicyCheck& check) {
    const std::filesystem::path path(folder);
    std::error_code code;
    std::filesystem::create_directories(path, code);
    for (const PolicyCheck::File& file : check.files) {
        TRY(write_output("--check", path / file.name, to_json(file.policy)));
    }
    return write_output("--check", path / "check.yaml", check.yaml);
}

Result<Finding> run_policy(Store& store, const Parsed& parsed, const Words& words) {
    if (!words.empty()) {
        return usage_error("policy [--budget METHOD|TIME] [--memory SIZE] [--out F.json]",
                           "policy takes no words");
    }
    for (const char* flag : {"check", "out"}) {
        if (parsed.has(flag) && parsed.get<std::string>(flag).empty()) {
            return make_error(ErrorCode::invalid_input,
                              "--" + std::string(flag) + ": an empty name");
        }
    }
    const int random = parsed.get<int>("random");
    if (random < 0) {
        return make_error(ErrorCode::invalid_input,
                          "--random " + std::to_string(random) + ": a number of policies, from 0");
    }
    PolicyQuestion question = TRY(policy_question(parsed));
    const PolicyTable table = TRY(read_policy_table(store, question));
    const PolicyChoice choice = TRY(search_policy(table, question));
    Finding finding = TRY(policy_finding(store, table, choice, question));
    if (parsed.has("check")) {
        const auto folder = parsed.get<std::string>("check");
        const PolicyCheck check = TRY(policy_check(store, table, question, random, folder));
        TRY(write_check(folder, check));
        finding.sentences.push_back(std::to_string(check.files.size()) + " policies and " + folder +
                                    "/check.yaml, which runs them, are written.");
    }
    if (!parsed.has("out")) {
        return finding;
    }
    const auto file = parsed.get<std::string>("out");
    const std::string label = question.like.empty() ? "of a budget" : "like " + question.like;
    LayerPolicy policy = to_policy(table, choice, question, "found " + label);
    policy.budget = budget_text(question);
    TRY(write_output("--out", file, to_json(policy)));
    for (int i = 1; i <= random; ++i) {
        const PolicyChoice drawn = random_policy(table.layers, static_cast<std::uint64_t>(i));
        TRY(write_output(
            "--out", numbered(file, i),
            to_json(to_policy(table, drawn, question, "random " + std::to_string(i)))));
    }
    finding.sentences.push_back(
        "Written to " + file +
        (random > 0 ? " and " + std::to_string(random) + " random ones beside it." : "."));
    return finding;
}

// Flags of single analyses; --experiment, --device and --model are everybody's.
constexpr const char* compare_flags = "margin";
constexpr const char* pareto_flags = "loss max-loss memory";
constexpr const char* policy_flags = "memory budget by out random check";

constexpr Analysis analyses[] = {
    {"compare", "A B [--margin PERCENT]", "is A faster than B: SAME, FASTER or SLOWER", run_compare,
     compare_flags},
    {"crossover", "[A [B]]", "from which size does A beat B (else: every method, 16 bits)",
     run_crossover, ""},
    {"scaling", "", "time per token against products and bytes, quality against bits and size",
     run_scaling, ""},
    {"pareto", "[--loss kl|bits-per-byte] [--max-loss X] [--memory SIZE]",
     "what is worth running: speed, loss, memory, energy", run_pareto, pareto_flags},
    {"policy",
     "[--budget METHOD|TIME] [--by time|memory] [--memory SIZE] [--out F.json] [--check FOLDER]",
     "which method should each layer have, from cells of quality `layers`", run_policy,
     policy_flags},
    {"latency", "[METHOD]", "why is METHOD slower here: where a token's time goes", run_latency,
     ""},
};

std::string about() {
    std::string text = "The statistics over an experiment, or over the whole database:\n\n";
    for (const Analysis& analysis : analyses) {
        text += "  " + std::string(analysis.name) + " " + analysis.usage + "\n      " +
                analysis.question + "\n";
    }
    return text +
           "\n--format csv, json and jsonl print the first table of an answer, markdown all of "
           "it.\n";
}

Result<const Analysis*> find_analysis(const std::string& name) {
    Words names;
    std::string list;
    for (const Analysis& analysis : analyses) {
        if (analysis.name == name) {
            return &analysis;
        }
        names.emplace_back(analysis.name);
        list += (list.empty() ? "" : ", ") + names.back();
    }
    if (name.empty()) {
        return make_error(ErrorCode::invalid_input, "which analysis? one of " + list);
    }
    const std::string near = nearest(name, names);
    return make_error(ErrorCode::invalid_input,
                      "there is no analysis `" + name + "`; " +
                          (near.empty() ? "there are " + list : "did you mean `" + near + "`?"));
}

bool has_word(const std::string& words, const std::string& word) {
    return (" " + words + " ").find(" " + word + " ") != std::string::npos;
}

// A flag that this analysis does not read would look as if it had been heard. A configuration file
// may hold flags of all of them.
Status check_flags(const Arguments& arguments, const Analysis& asked) {
    for (const Analysis& owner : analyses) {
        std::istringstream flags(owner.flags);
        for (std::string flag; flags >> flag;) {
            const auto is_flag = [&](const std::string& word) {
                return word.substr(0, word.find('=')) == "--" + flag;
            };
            if (!has_word(asked.flags, flag) && std::ranges::any_of(arguments, is_flag)) {
                return make_error(
                    ErrorCode::invalid_input,
                    "--" + flag + ": " + asked.name + " has no such flag, " + owner.name + " has");
            }
        }
    }
    return {};
}

Status check_percent(const Parsed& parsed, const char* flag) {
    const auto value = parsed.get<double>(flag);
    if (std::isfinite(value) && value >= 0 && value < 100) {
        return {};
    }
    return make_error(ErrorCode::invalid_input,
                      "--" + std::string(flag) + ": a percentage from 0 to below 100");
}

Result<std::string> answer(const Arguments& arguments, const Parsed& parsed, Words words) {
    const std::string name = words.empty() ? "" : words.front();
    const Analysis* analysis = TRY(find_analysis(name));
    words.erase(words.begin());
    TRY(check_flags(arguments, *analysis));
    TRY(check_percent(parsed, "margin"));
    const auto store = TRY(Store::open(parsed.shared.db, OpenMode::read_only));
    const Finding finding = TRY(analysis->run(*store, parsed, words));
    const std::string& format = parsed.shared.format;
    if (format.empty() || format == "table") {
        return to_text(finding, is_terminal(1) ? terminal_width() : 0);
    }
    if (format == "markdown") {
        return to_markdown(finding);
    }
    return format_table(finding.tables.front().table, format, 0);
}

}  // namespace

int command_analyze(const Arguments& arguments) {
    OptionSet options("analyze ANALYSIS ... [--experiment E] [--device KIND]", about());
    // clang-format off
    options.add()
        ("experiment", po::value<std::string>()->value_name("E"), "only this experiment's cells")
        ("device", po::value<std::string>()->value_name("KIND"), "only this kind of device")
        ("model", po::value<std::string>()->value_name("NAME"), "only this model")
        ("margin", po::value<double>()->value_name("PERCENT")->default_value(1),
         "compare: a smaller difference is called the same")
        ("loss", po::value<std::string>()->value_name("L")->default_value("kl"),
         "pareto: kl, or bits-per-byte across models of different tokenizers")
        ("max-loss", po::value<double>()->value_name("X"), "pareto: at most this loss")
        ("memory", po::value<std::string>()->value_name("SIZE"),
         "pareto: fits in, e.g. 8GiB; policy: of all linear layers")
        ("budget", po::value<std::string>()->value_name("B")->default_value("int4-g64"),
         "policy: what this method costs in every layer, or a time of all linear layers: 350us")
        ("by", po::value<std::string>()->value_name("time|memory")->default_value("time"),
         "policy: what the budget is of")
        ("out", po::value<std::string>()->value_name("F.json"), "policy: writes the policy file")
        ("random", po::value<int>()->value_name("N")->default_value(0),
         "policy: and N random ones beside it")
        ("check", po::value<std::string>()->value_name("FOLDER"),
         "policy: writes policies within the time of every method, uniform and random ones, and "
         "the experiment that runs them all");
    // clang-format on
    options.positional("words", -1);
    const Parsed parsed = options.parse(arguments);
    if (parsed.stop) {
        return *parsed.stop;
    }
    const Result<std::string> text = answer(arguments, parsed, parsed.get<Words>("words"));
    if (!text) {
        return report(text.error());
    }
    std::cout << *text << std::flush;
    return exit_done;
}

}  // namespace bitsweep
