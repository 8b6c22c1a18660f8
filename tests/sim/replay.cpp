// One seed of the simulator, told line by line. This is what a failing seed's message names.
//
//   sim_replay SEED [--shrink] [--quiet] [--mutant NAME] [--workers N] [--jobs N] [--faults-ms N]
//              [--without FAULT]...
//
// --shrink first looks for a smaller world with the same breach. Exit 0: every promise was kept;
// 1: a breach; 2: bad usage.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "tests/sim/mutants.h"
#include "tests/sim/simulator.h"
#include "tests/sim/weather.h"

namespace bitsweep::sim {
namespace {

struct Wishes {
    SimOptions options;
    bool shrink = false;
    bool quiet = false;
    std::string mutant;
};

int usage() {
    std::fputs(
        "usage: sim_replay SEED [--shrink] [--quiet] [--mutant NAME] [--workers N] [--jobs N]\n"
        "                  [--faults-ms N] [--without FAULT]...\nfaults:",
        stderr);
    for (const std::string& name : fault_names()) {
        std::fprintf(stderr, " %s", name.c_str());
    }
    std::fputs("\nmutants:", stderr);
    for (const Mutant& mutant : mutants()) {
        std::fprintf(stderr, " %s", mutant.name);
    }
    std::fputs("\n", stderr);
    return 2;
}

bool take_option(Wishes& wishes, const std::string& name, const std::string& value) {
    SimOptions& options = wishes.options;
    if (name == "--workers" || name == "--jobs") {
        const int number = std::atoi(value.c_str());
        (name == "--jobs" ? options.jobs : options.workers) = number;
        return number >= 1 && number <= 1'000;
    }
    if (name == "--faults-ms") {
        options.faults_ms = std::atoll(value.c_str());
        return options.faults_ms >= 0;
    }
    if (name == "--without") {
        const auto& names = fault_names();
        const auto found = std::find(names.begin(), names.end(), value);
        options.without |= found == names.end() ? 0 : 1u << (found - names.begin());
        return found != names.end();
    }
    if (name == "--mutant") {
        const auto found = std::find_if(mutants().begin(), mutants().end(),
                                        [&](const Mutant& mutant) { return value == mutant.name; });
        if (found == mutants().end()) {
            return false;
        }
        found->mutate(options);
        wishes.mutant = value;
        return true;
    }
    return false;
}

bool read(Wishes& wishes, const std::vector<std::string>& arguments) {
    if (arguments.empty() || arguments[0].find_first_not_of("0123456789") != std::string::npos) {
        return false;
    }
    wishes.options.seed = std::strtoull(arguments[0].c_str(), nullptr, 10);
    wishes.options.workers = 1 + static_cast<int>(wishes.options.seed % 4);
    for (std::size_t i = 1; i < arguments.size(); ++i) {
        if (arguments[i] == "--shrink") {
            wishes.shrink = true;
        } else if (arguments[i] == "--quiet") {
            wishes.quiet = true;
        } else if (i + 1 >= arguments.size() ||
                   !take_option(wishes, arguments[i], arguments[i + 1])) {
            return false;
        } else {
            ++i;
        }
    }
    return true;
}

std::string command_of(const Wishes& wishes) {
    const SimOptions& options = wishes.options;
    std::string command = "sim_replay " + std::to_string(options.seed) + " --workers " +
                          std::to_string(options.workers) + " --jobs " +
                          std::to_string(options.jobs) + " --faults-ms " +
                          std::to_string(options.faults_ms);
    for (std::size_t bit = 0; bit < fault_names().size(); ++bit) {
        if ((options.without >> bit & 1) != 0) {
            command += " --without " + fault_names()[bit];
        }
    }
    return wishes.mutant.empty() ? command : command + " --mutant " + wishes.mutant;
}

int replay(Wishes wishes) {
    if (wishes.shrink) {
        wishes.options = shrink(wishes.options);
        std::printf("shrunk to: %s\n", command_of(wishes).c_str());
    }
    if (!wishes.quiet) {
        wishes.options.tell = [](const std::string& line) { std::printf("%s\n", line.c_str()); };
    }
    const SimReport report = simulate(wishes.options);
    for (const std::string& breach : report.breaches) {
        std::printf("breach %s\n", breach.c_str());
    }
    std::printf("seed %llu: %s after %lld virtual ms\n",
                static_cast<unsigned long long>(wishes.options.seed),
                report.breaches.empty() ? "every promise was kept" : "a promise was broken",
                static_cast<long long>(report.virtual_ms));
    return report.breaches.empty() ? 0 : 1;
}

}  // namespace
}  // namespace bitsweep::sim

int main(int argc, char** argv) {
    bitsweep::sim::Wishes wishes;
    if (!bitsweep::sim::read(wishes, {argv + 1, argv + argc})) {
        return bitsweep::sim::usage();
    }
    return bitsweep::sim::replay(std::move(wishes));
}
