#include "tests/sim/simulator.h"
#include "tests/sim/weather.h"

namespace bitsweep::sim {

namespace {

// The sentence without its time: shrinking may move it.
std::string kind_of_breach(const SimReport& report) {
    if (report.breaches.empty()) {
        return {};
    }
    const std::string& sentence = report.breaches.front();
    return sentence.substr(sentence.find(": ") + 2, 24);
}

}  // namespace

SimOptions shrink(SimOptions options) {
    const std::string wanted = kind_of_breach(simulate(options));
    if (wanted.empty()) {
        return options;
    }
    const auto keep_if_it_still_breaks = [&](SimOptions smaller) {
        if (kind_of_breach(simulate(smaller)) != wanted) {
            return false;
        }
        options = smaller;
        return true;
    };
    for (std::size_t bit = 0; bit < fault_names().size(); ++bit) {
        SimOptions smaller = options;
        smaller.without |= 1u << bit;
        keep_if_it_still_breaks(smaller);
    }
    for (int* number : {&options.jobs, &options.workers}) {
        while (*number > 1) {
            SimOptions smaller = options;
            (number == &options.jobs ? smaller.jobs : smaller.workers) = *number - 1;
            if (!keep_if_it_still_breaks(smaller)) {
                break;
            }
        }
    }
    for (std::int64_t cut = options.faults_ms / 2; cut >= 500; cut /= 2) {
        SimOptions smaller = options;
        smaller.faults_ms -= cut;
        keep_if_it_still_breaks(smaller);
    }
    return options;
}

}  // namespace bitsweep::sim
