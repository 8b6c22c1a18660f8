// `bitsweep report`: an experiment as one file that opens offline.
#include <cstdio>
#include <iostream>

#include "coordinator/cli/command.h"
#include "coordinator/cli/options.h"
#include "coordinator/cli/output_file.h"
#include "results/analysis/report.h"
#include "results/store/store.h"

namespace bitsweep {

namespace {

namespace po = boost::program_options;

Status write_report(const Parsed& parsed) {
    const auto experiment = parsed.get<std::string>("name");
    const auto output = parsed.get<std::string>("output");
    if (experiment.empty()) {
        return make_error(ErrorCode::invalid_input,
                          "which experiment? usage: bitsweep report EXPERIMENT -o F.html");
    }
    if (output.empty()) {
        return make_error(ErrorCode::invalid_input,
                          "where to? add -o F.html, or -o - for standard output");
    }
    if (output != "-") {
        TRY(check_output("-o", output));
    }
    const auto store = TRY(Store::open(parsed.shared.db, OpenMode::read_only));
    const Report report = TRY(make_report(*store, {experiment}));
    const std::string text =
        parsed.shared.format == "markdown" ? to_markdown(report) : to_html(report);
    if (output == "-") {
        std::cout << text << std::flush;
        return {};
    }
    TRY(write_output("-o", output, text));
    std::fprintf(stderr, "wrote %s\n", output.c_str());
    return {};
}

}  // namespace

int command_report(const Arguments& arguments) {
    OptionSet options(
        "report EXPERIMENT -o F.html",
        "An experiment as one HTML page that opens offline: answer, plots, tables, provenance.\n"
        "--format markdown: without plots, for a paper's appendix.");
    // clang-format off
    options.add()
        ("output,o", po::value<std::string>()->value_name("F"), "the file; - for standard output");
    // clang-format on
    options.positional("name", 1);
    const Parsed parsed = options.parse(arguments);
    if (parsed.stop) {
        return *parsed.stop;
    }
    const Status written = write_report(parsed);
    return written ? exit_done : report(written.error());
}

}  // namespace bitsweep
