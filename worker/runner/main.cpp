// bitsweep-runner: a table of contents, no logic. Exceptions of option parsing end here.
#include <array>
#include <boost/program_options.hpp>
#include <cstdio>
#include <exception>

#include "worker/runner/build_info.h"
#include "worker/runner/command.h"
#include "worker/runner/devices.h"
#include "worker/runner/options.h"

namespace {

using bitsweep::RunnerCommand;

constexpr std::array commands = {
    RunnerCommand{"job", "JobSpecs on stdin, RunResults on their own descriptor",
                  bitsweep::command_job},
    RunnerCommand{"logits", "float32 logits of given token ids, as safetensors",
                  bitsweep::command_logits},
    RunnerCommand{"generate", "greedy text of a prompt and its token ids",
                  bitsweep::command_generate},
    RunnerCommand{"perplexity", "a method against fp32 over a text: perplexity, KL, top-1",
                  bitsweep::command_perplexity},
    RunnerCommand{"quantize", "one packed layer: codes, scales, dequantised weight",
                  bitsweep::command_quantize},
    RunnerCommand{"bench", "decode and prefill beside the measured memory bandwidth",
                  bitsweep::command_bench},
    RunnerCommand{"capabilities", "this machine's devices and models, as one JSON line",
                  bitsweep::command_capabilities},
};

void print_help() {
    std::printf("usage: bitsweep-runner COMMAND [OPTIONS]\n\n");
    for (const RunnerCommand& command : commands) {
        std::printf("  %-13s %s\n", command.name.data(), command.summary.data());
    }
    std::printf("\n`bitsweep-runner COMMAND --help` lists the options of one.\n");
}

int run(const RunnerCommand& command, const bitsweep::Arguments& arguments) {
    try {
        return command.run(arguments);
    } catch (const boost::program_options::error& problem) {
        std::fprintf(stderr, "bitsweep-runner %s: %s (--help lists the options)\n",
                     command.name.data(), problem.what());
        return 2;
    } catch (const std::bad_alloc&) {
        std::fprintf(stderr, "bitsweep-runner %s: out of host memory\n", command.name.data());
        return 1;
    } catch (const std::exception& problem) {
        std::fprintf(stderr, "bitsweep-runner %s: %s\n", command.name.data(), problem.what());
        return 1;
    }
}

}  // namespace

int main(int argc, char** argv) {
    const std::string name = argc > 1 ? argv[1] : "--help";
    if (name == "--help" || name == "-h" || name == "help") {
        print_help();
        return argc > 1 ? 0 : 2;
    }
    if (name == "--version") {
        std::printf("bitsweep-runner %s (%s), torch %s\n", bitsweep::build_info::version,
                    bitsweep::build_info::git, bitsweep::build_info::torch);
        return 0;
    }
    bitsweep::number_cards_by_bus();
    for (const RunnerCommand& command : commands) {
        if (command.name == name) {
            return bitsweep::with_whole_output(
                run(command, bitsweep::Arguments(argv + 2, argv + argc)));
        }
    }
    std::fprintf(stderr, "bitsweep-runner: no command '%s' (--help lists them)\n", name.c_str());
    return 2;
}
