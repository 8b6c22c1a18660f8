// Seeds through the simulator, and one mutant for each safety rule. BITSWEEP_SIM_SEEDS sets how
// many seeds; BITSWEEP_SIM_FIRST where they start.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "tests/sim/simulator.h"

namespace bitsweep::sim {
namespace {

std::uint64_t number_from_environment(const char* name, std::uint64_t otherwise) {
    const char* text = std::getenv(name);
    return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

const std::uint64_t seeds = number_from_environment("BITSWEEP_SIM_SEEDS", 1'000);
const std::uint64_t first = number_from_environment("BITSWEEP_SIM_FIRST", 1);

TEST(Simulator, every_promise_is_kept_whatever_is_killed_lost_doubled_or_late) {
    SimReport sum;
    for (std::uint64_t seed = first; seed < first + seeds; ++seed) {
        SimOptions options;
        options.seed = seed;
        options.workers = 1 + static_cast<int>(seed % 4);
        const SimReport report = simulate(options);
        ASSERT_TRUE(report.breaches.empty()) << "seed " << seed << ": " << report.breaches[0];
        sum.turns += report.turns;
        sum.coordinator_deaths += report.coordinator_deaths;
        sum.worker_deaths += report.worker_deaths;
        sum.store_failures += report.store_failures;
        sum.retries += report.retries;
    }
    // A world without faults would prove nothing.
    EXPECT_GT(sum.coordinator_deaths, static_cast<int>(seeds) / 4);
    EXPECT_GT(sum.worker_deaths, static_cast<int>(seeds) / 4);
    EXPECT_GT(sum.store_failures, static_cast<int>(seeds) / 4);
    EXPECT_GT(sum.retries, static_cast<int>(seeds) / 4);
    std::printf(
        "%llu seeds: %d turns, %d coordinator deaths, %d worker deaths, %d failed "
        "transactions, %d retries\n",
        static_cast<unsigned long long>(seeds), sum.turns, sum.coordinator_deaths,
        sum.worker_deaths, sum.store_failures, sum.retries);
}

TEST(Simulator, the_same_seed_gives_the_same_messages) {
    SimOptions options;
    options.seed = 7;
    const SimReport once = simulate(options);
    const SimReport again = simulate(options);
    EXPECT_EQ(once.hash, again.hash);
    EXPECT_EQ(once.turns, again.turns);
    options.seed = 8;
    EXPECT_NE(simulate(options).hash, once.hash);
}

// Runs seeds until a checker notices; the words of the checker are returned.
std::string first_breach(SimOptions options, std::uint64_t most_seeds) {
    for (std::uint64_t seed = 1; seed <= most_seeds; ++seed) {
        options.seed = seed;
        const SimReport report = simulate(options);
        if (!report.breaches.empty()) {
            return report.breaches[0];
        }
    }
    return "survived";
}

struct Mutant {
    const char* name;
    void (*mutate)(SimOptions&);
    const char* words;  // what the checker must say
};

class MutantTest : public ::testing::TestWithParam<Mutant> {};

TEST_P(MutantTest, dies) {
    SimOptions options;
    GetParam().mutate(options);
    const std::string breach = first_breach(options, 60);
    EXPECT_NE(breach.find(GetParam().words), std::string::npos) << breach;
}

const Mutant mutants[] = {
    {"attempt_fence", [](SimOptions& o) { o.rules.attempt_fence = false; },
     "was stored while the job was running with attempt"},
    {"leases_expire", [](SimOptions& o) { o.rules.leases_expire = false; }, "a job never ended"},
    {"one_job_per_device", [](SimOptions& o) { o.rules.one_job_per_device = false; }, "two live"},
    {"terminal_is_final", [](SimOptions& o) { o.rules.terminal_is_final = false; },
     "was stored while the job was done"},
    {"done_stays_done", [](SimOptions& o) { o.rules.done_stays_done = false; },
     "memory and store disagree"},
    {"budgets", [](SimOptions& o) { o.rules.budgets = false; }, "a job never ended"},
    {"acknowledge_after_commit", [](SimOptions& o) { o.safety.acknowledge_after_commit = false; },
     "a result was acknowledged before it was stored"},
    {"dispatch_after_commit", [](SimOptions& o) { o.safety.dispatch_after_commit = false; },
     "a dispatch left before it was stored"},
};

INSTANTIATE_TEST_SUITE_P(Mutants, MutantTest, ::testing::ValuesIn(mutants),
                         [](const auto& instance) { return std::string(instance.param.name); });

}  // namespace
}  // namespace bitsweep::sim
