// Seeds through the simulator, and one mutant for each safety rule. BITSWEEP_SIM_SEEDS sets how
// many seeds; BITSWEEP_SIM_FIRST where they start.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "tests/sim/mutants.h"
#include "tests/sim/simulator.h"
#include "tests/sim/weather.h"

namespace bitsweep::sim {
namespace {

std::uint64_t number_from_environment(const char* name, std::uint64_t otherwise) {
    const char* text = std::getenv(name);
    return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

const std::uint64_t seeds = number_from_environment("BITSWEEP_SIM_SEEDS", 2'000);
const std::uint64_t first = number_from_environment("BITSWEEP_SIM_FIRST", 1);

SimOptions options_of(std::uint64_t seed) {
    SimOptions options;
    options.seed = seed;
    options.workers = 1 + static_cast<int>(seed % 4);
    return options;
}

TEST(Simulator, every_promise_is_kept_whatever_is_killed_lost_doubled_or_late) {
    SimReport sum;
    for (std::uint64_t seed = first; seed < first + seeds; ++seed) {
        const SimReport report = simulate(options_of(seed));
        ASSERT_TRUE(report.breaches.empty())
            << "seed " << seed << ": " << report.breaches[0]
            << "\nreplay it with: build/tests/sim_replay " << seed << " --shrink";
        sum.turns += report.turns;
        sum.coordinator_deaths += report.coordinator_deaths;
        sum.worker_deaths += report.worker_deaths;
        sum.store_failures += report.store_failures;
        sum.orders += report.orders;
        sum.faulty_devices += report.faulty_devices;
        sum.retries += report.retries;
        sum.windows_again += report.windows_again;
        sum.sentinels += report.sentinels;
        sum.drifts += report.drifts;
    }
    // A world without faults would prove nothing.
    EXPECT_GT(sum.coordinator_deaths, static_cast<int>(seeds) / 4);
    EXPECT_GT(sum.worker_deaths, static_cast<int>(seeds) / 4);
    EXPECT_GT(sum.store_failures, static_cast<int>(seeds) / 4);
    EXPECT_GT(sum.orders, static_cast<int>(seeds) / 4);
    EXPECT_GT(sum.faulty_devices, static_cast<int>(seeds) / 8);
    EXPECT_GT(sum.retries, static_cast<int>(seeds) / 4);
    EXPECT_GT(sum.windows_again, static_cast<int>(seeds) / 4);
    EXPECT_GT(sum.sentinels, static_cast<int>(seeds));
    EXPECT_GT(sum.drifts, static_cast<int>(seeds) / 8);
    std::printf(
        "%llu seeds from %llu: %d turns, %d coordinator deaths, %d worker deaths, %d failed "
        "transactions, %d orders, %d faulty devices, %d retries, %d windows again, %d sentinels, "
        "%d "
        "drifts\n",
        static_cast<unsigned long long>(seeds), static_cast<unsigned long long>(first), sum.turns,
        sum.coordinator_deaths, sum.worker_deaths, sum.store_failures, sum.orders,
        sum.faulty_devices, sum.retries, sum.windows_again, sum.sentinels, sum.drifts);
}

TEST(Simulator, the_same_seed_gives_the_same_messages) {
    const SimReport once = simulate(options_of(7));
    const SimReport again = simulate(options_of(7));
    EXPECT_EQ(once.hash, again.hash);
    EXPECT_EQ(once.turns, again.turns);
    EXPECT_NE(simulate(options_of(8)).hash, once.hash);
}

TEST(Simulator, a_transcript_tells_what_happened_and_changes_nothing) {
    SimOptions options = options_of(7);
    std::string told;
    options.tell = [&](const std::string& line) { told += line + "\n"; };
    EXPECT_EQ(simulate(options).hash, simulate(options_of(7)).hash);
    EXPECT_NE(told.find("client -> coordinator: submit sweep, 10 cells"), std::string::npos);
    EXPECT_NE(told.find("dispatch "), std::string::npos);
}

TEST(Simulator, a_failing_seed_shrinks_to_fewer_faults_and_still_fails) {
    SimOptions options = options_of(1);
    options.rules.one_job_per_device = false;
    while (simulate(options).breaches.empty()) {
        ++options.seed;
    }
    const SimOptions small = shrink(options);
    EXPECT_FALSE(simulate(small).breaches.empty());
    EXPECT_LE(small.jobs, options.jobs);
    EXPECT_NE(small.without, 0u) << "this breach needs no fault at all";
}

// A connection takes with it what is on its way: dispatches, results, acknowledgements. The
// worker's next hello brings them back at once. Waiting for a lease instead cost ten seconds each
// time.
TEST(Simulator, connections_that_are_reset_again_and_again_cost_no_job_its_lease) {
    SimOptions options;
    options.workers = 1;
    options.without = ~0u;
    for (std::size_t bit = 0; bit < fault_names().size(); ++bit) {
        options.without &= fault_names()[bit] == "reset" ? ~(1u << bit) : ~0u;
    }
    int resets = 0;
    for (options.seed = 1; options.seed <= 200; ++options.seed) {
        const SimReport report = simulate(options);
        ASSERT_TRUE(report.breaches.empty())
            << "seed " << options.seed << ": " << report.breaches[0];
        EXPECT_EQ(report.taken_back, 0) << "seed " << options.seed;
        resets += report.resets;
    }
    EXPECT_GT(resets, 2'000);
}

// Runs seeds until the checker with these words notices; another one may see the same mutant first.
// What the last seeds said otherwise.
std::string breach_with(SimOptions options, std::string_view words, std::uint64_t most_seeds) {
    std::string last = "survived";
    for (std::uint64_t seed = 1; seed <= most_seeds; ++seed) {
        options.seed = seed;
        for (const std::string& breach : simulate(options).breaches) {
            last = breach;
            if (breach.find(words) != std::string::npos) {
                return breach;
            }
        }
    }
    return last;
}

class MutantTest : public ::testing::TestWithParam<Mutant> {};

TEST_P(MutantTest, dies) {
    SimOptions options;
    GetParam().mutate(options);
    const std::string breach = breach_with(options, GetParam().words, 100);
    EXPECT_NE(breach.find(GetParam().words), std::string::npos) << breach;
}

INSTANTIATE_TEST_SUITE_P(Mutants, MutantTest, ::testing::ValuesIn(mutants()),
                         [](const auto& instance) { return std::string(instance.param.name); });

}  // namespace
}  // namespace bitsweep::sim
