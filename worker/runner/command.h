// One command of `bitsweep-runner`: a row of the table in main.cpp, one file each.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace bitsweep {

using Arguments = std::vector<std::string>;  // without program and command name

// Prints data on stdout and words on stderr; returns the exit code (0 done, 1 ran and failed, 2 bad
// usage or input). Option parsing may throw boost::program_options::error: main.cpp ends it.
struct RunnerCommand {
    std::string_view name;
    std::string_view summary;
    int (*run)(const Arguments& arguments);
};

int command_job(const Arguments& arguments);
int command_logits(const Arguments& arguments);
int command_generate(const Arguments& arguments);
int command_quantize(const Arguments& arguments);
int command_perplexity(const Arguments& arguments);
int command_bench(const Arguments& arguments);
int command_capabilities(const Arguments& arguments);

}  // namespace bitsweep
