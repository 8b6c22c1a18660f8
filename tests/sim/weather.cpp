#include "tests/sim/weather.h"

#include <iterator>

namespace bitsweep::sim {

namespace {

struct Fault {
    const char* name;
    double Weather::*rate;
    double most;
};

constexpr Fault faults[] = {
    {"loss", &Weather::loss, 0.3},
    {"duplication", &Weather::duplication, 0.3},
    {"partition", &Weather::partition, 0.003},
    {"worker_death", &Weather::worker_death, 0.01},
    {"worker_freeze", &Weather::worker_freeze, 0.005},
    {"worker_stop", &Weather::worker_stop, 0.003},
    {"coordinator_death", &Weather::coordinator_death, 0.01},
    {"store_failure", &Weather::store_failure, 0.05},
    {"death_after_commit", &Weather::death_after_commit, 0.02},
    {"death_between_sends", &Weather::death_between_sends, 0.01},
    {"clock_jump", &Weather::clock_jump, 0.5},
    {"orders", &Weather::orders, 0.02},
    {"hang", &Weather::hang, 0.03},
    {"failure", &Weather::failure, 0.05},
    {"gpu_fault", &Weather::gpu_fault, 0.1},
    {"reset", &Weather::reset, 0.05},
    {"disturbance", &Weather::disturbance, 0.5},
    {"drift", &Weather::drift, 0.3},
};

constexpr std::uint32_t delay_bit = 1u << std::size(faults);

}  // namespace

const std::vector<std::string>& fault_names() {
    static const std::vector<std::string> names = [] {
        std::vector<std::string> all;
        for (const Fault& fault : faults) {
            all.emplace_back(fault.name);
        }
        all.emplace_back("delay");
        return all;
    }();
    return names;
}

Weather weather_of(Random& random, std::uint32_t without) {
    Weather weather;
    weather.delay_ms_max = between(random, 1, 2'000);
    if ((without & delay_bit) != 0) {
        weather.delay_ms_max = 20;
        weather.in_order = true;
    }
    std::uint32_t bit = 1;
    for (const Fault& fault : faults) {
        const bool calm = chance(random, 0.3);
        const double share = static_cast<double>(between(random, 0, 100)) / 100;
        weather.*fault.rate = calm || (without & bit) != 0 ? 0.0 : fault.most * share;
        bit <<= 1;
    }
    return weather;
}

}  // namespace bitsweep::sim
