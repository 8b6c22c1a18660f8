#include "worker/metrics/rapl.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace bitsweep {
namespace {

namespace fs = std::filesystem;

class Rapl : public ::testing::Test {
 protected:
    Rapl() : folder_(fs::temp_directory_path() / ("rapl-" + std::to_string(::getpid()))) {
        fs::remove_all(folder_);
        fs::create_directories(folder_);
    }
    ~Rapl() override { fs::remove_all(folder_); }

    void zone(const std::string& name, const std::string& energy, const std::string& range) const {
        fs::create_directories(folder_ / name);
        std::ofstream(folder_ / name / "energy_uj") << energy << "\n";
        std::ofstream(folder_ / name / "max_energy_range_uj") << range << "\n";
    }

    fs::path folder_;
};

TEST_F(Rapl, CountsPackagesAndNotTheirParts) {
    zone("intel-rapl:1", "2000000", "9000000");
    zone("intel-rapl:0", "1000000", "9000000");
    zone("intel-rapl:0:0", "500000", "9000000");
    zone("intel-rapl-mmio", "700000", "9000000");
    const auto energy = read_cpu_energy(folder_);
    ASSERT_TRUE(energy) << energy.error().message;
    ASSERT_EQ(2u, energy->packages.size());
    EXPECT_EQ("intel-rapl:0", energy->packages[0].name);
    EXPECT_EQ(2'000'000u, energy->packages[1].energy_uj);
}

TEST_F(Rapl, JoulesAddUpOverPackagesAndACounterMayWrapOnce) {
    zone("intel-rapl:0", "1000000", "9000000");
    zone("intel-rapl:1", "8500000", "9000000");
    const auto before = read_cpu_energy(folder_);
    zone("intel-rapl:0", "3000000", "9000000");
    zone("intel-rapl:1", "500000", "9000000");
    const auto joules = joules_between(*before, *read_cpu_energy(folder_));
    ASSERT_TRUE(joules);
    EXPECT_DOUBLE_EQ(2 + 1, *joules);
}

TEST_F(Rapl, MachineWithoutCountersIsAReason) {
    for (const fs::path& folder : {folder_, folder_ / "absent"}) {
        const auto energy = read_cpu_energy(folder);
        ASSERT_FALSE(energy);
        EXPECT_EQ(ErrorCode::unavailable, energy.error().code);
        EXPECT_NE(std::string::npos, energy.error().message.find("no RAPL counters"));
    }
}

TEST_F(Rapl, CounterThatCannotBeReadIsAReasonThatNamesIt) {
    zone("intel-rapl:0", "many", "9000000");
    EXPECT_NE(std::string::npos, read_cpu_energy(folder_).error().message.find("energy_uj"));
    fs::remove(folder_ / "intel-rapl:0" / "energy_uj");
    EXPECT_NE(std::string::npos, read_cpu_energy(folder_).error().message.find("No such file"));
    if (::geteuid() != 0) {  // root reads everything
        zone("intel-rapl:0", "1", "9");
        fs::permissions(folder_ / "intel-rapl:0" / "energy_uj", fs::perms::none);
        EXPECT_NE(std::string::npos, read_cpu_energy(folder_).error().message.find("root"));
    }
}

TEST_F(Rapl, OtherPackagesAfterTheWindowAreAnError) {
    zone("intel-rapl:0", "1", "9");
    const auto before = read_cpu_energy(folder_);
    zone("intel-rapl:1", "1", "9");
    EXPECT_FALSE(joules_between(*before, *read_cpu_energy(folder_)));
    CpuEnergy renamed = *before;
    renamed.packages[0].name = "intel-rapl:7";
    EXPECT_FALSE(joules_between(*before, renamed));
}

}  // namespace
}  // namespace bitsweep
