// `bitsweep analyze`: the statistics, one row of the table below for each question.
#include <algorithm>
#include <cmath>
#include <iostream>

#include "coordinator/cli/command.h"
#include "coordinator/cli/options.h"
#include "results/analysis/compare.h"
#include "results/analysis/evidence.h"
#include "results/analysis/finding.h"
#include "results/analysis/summary.h"
#include "results/store/store.h"

namespace bitsweep {

namespace {

namespace po = boost::program_options;

using Words = std::vector<std::string>;

struct Analysis {
    const char* name;
    const char* usage;
    const char* question;
    Result<Finding> (*run)(Store& store, const Parsed& parsed, const Words& words);
};

Result<Evidence> read(Store& store, const Parsed& parsed) {
    return read_evidence(
        store, {parsed.get<std::string>("experiment"), parsed.get<std::string>("device")});
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
    return compare_finding(TRY(compare(evidence, question)), question);
}

constexpr Analysis analyses[] = {
    {"compare", "A B [--margin PERCENT]", "is A faster than B: SAME, FASTER or SLOWER",
     run_compare},
};

std::string about() {
    std::string text = "The statistics over an experiment, or over the whole database:\n\n";
    for (const Analysis& analysis : analyses) {
        text += "  " + std::string(analysis.name) + " " + analysis.usage + "\n      " +
                analysis.question + "\n";
    }
    return text;
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

Status check_percent(const Parsed& parsed, const char* flag) {
    const auto value = parsed.get<double>(flag);
    if (std::isfinite(value) && value >= 0 && value < 100) {
        return {};
    }
    return make_error(ErrorCode::invalid_input,
                      "--" + std::string(flag) + ": a percentage from 0 to below 100");
}

Result<std::string> answer(const Parsed& parsed, Words words) {
    const std::string name = words.empty() ? "" : words.front();
    const Analysis* analysis = TRY(find_analysis(name));
    words.erase(words.begin());
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
        ("margin", po::value<double>()->value_name("PERCENT")->default_value(1),
         "compare: a smaller difference is called the same");
    // clang-format on
    options.positional("words", -1);
    const Parsed parsed = options.parse(arguments);
    if (parsed.stop) {
        return *parsed.stop;
    }
    const Result<std::string> text = answer(parsed, parsed.get<Words>("words"));
    if (!text) {
        return report(text.error());
    }
    std::cout << *text << std::flush;
    return exit_done;
}

}  // namespace bitsweep
