#include "worker/agent/capabilities.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <chrono>
#include <fstream>

#include "tests/temp_folder.h"

namespace bitsweep::agent {

namespace {

DeviceInfo device(const std::string& id) {
    DeviceInfo info;
    info.id = id;
    info.kind = id == "cpu" ? "cpu" : "card";
    return info;
}

std::string chosen(const std::vector<std::string>& have, bool cpu, const std::string& gpus) {
    std::vector<DeviceInfo> found;
    for (const std::string& id : have) {
        found.push_back(device(id));
    }
    const auto result = choose_devices(found, {cpu, gpus});
    if (!result) {
        return "error: " + result.error().message;
    }
    std::string ids;
    for (const DeviceInfo& info : *result) {
        ids += (ids.empty() ? "" : " ") + info.id;
    }
    return ids;
}

TEST(ChooseDevices, WithoutFlagsEveryGpuOrElseTheCpu) {
    EXPECT_EQ(chosen({"cpu", "cuda:0", "cuda:1"}, false, ""), "cuda:0 cuda:1");
    EXPECT_EQ(chosen({"cpu"}, false, ""), "cpu");
}

TEST(ChooseDevices, FlagsSayExactlyWhich) {
    EXPECT_EQ(chosen({"cpu", "cuda:0", "cuda:1"}, true, ""), "cpu");
    EXPECT_EQ(chosen({"cpu", "cuda:0", "cuda:1"}, false, "1"), "cuda:1");
    EXPECT_EQ(chosen({"cpu", "cuda:0", "cuda:1"}, true, "all"), "cpu cuda:0 cuda:1");
    EXPECT_EQ(chosen({"cpu", "cuda:0"}, true, "0"), "cpu cuda:0");
    EXPECT_EQ(chosen({"cpu"}, true, "all"), "cpu");
}

TEST(ChooseDevices, ADeviceThatIsNotThereIsNamedBesideThoseThatAre) {
    EXPECT_EQ(chosen({"cpu", "cuda:0"}, false, "3"),
              "error: no device cuda:3 here; this machine has: cpu, cuda:0");
    EXPECT_EQ(chosen({"cpu"}, false, "all"), "error: no such device here; this machine has: cpu");
}

TEST(AskRunner, TheFakeRunnerSaysWhatItHas) {
    const auto found = ask_runner(FAKE_RUNNER, {}, {10'000});
    ASSERT_TRUE(found) << found.error().message;
    EXPECT_EQ(found->version, "fake-1");
    ASSERT_EQ(found->devices.size(), 1u);
    EXPECT_EQ(found->devices[0].name, "Fake CPU");
    EXPECT_FALSE(found->models.empty());
}

class MoodyRunner : public testing::Test {
 protected:
    void TearDown() override { unsetenv("FAKE_RUNNER_CAPABILITIES"); }
};

TEST_F(MoodyRunner, ARunnerThatFailsIsQuoted) {
    setenv("FAKE_RUNNER_CAPABILITIES", "fail", 1);
    const auto found = ask_runner(FAKE_RUNNER, {}, {10'000});
    ASSERT_FALSE(found);
    EXPECT_NE(found.error().message.find("no torch here"), std::string::npos);
}

TEST_F(MoodyRunner, ARunnerThatPrintsSomethingElseIsCorrupt) {
    setenv("FAKE_RUNNER_CAPABILITIES", "hello", 1);
    const auto found = ask_runner(FAKE_RUNNER, {}, {10'000});
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().code, ErrorCode::corrupt);
}

TEST(AskRunner, WhoWantsToStopDoesNotWaitForIt) {
    TempFolder folder;
    const auto runner = folder / "hangs";
    std::ofstream(runner) << "#!/bin/sh\nsleep 60\n";
    chmod(runner.c_str(), 0755);
    const std::atomic<bool> stop{true};
    const auto start = std::chrono::steady_clock::now();
    const auto found = ask_runner(runner, {}, {60'000}, stop);
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().code, ErrorCode::interrupted);
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(30));
}

TEST(FindRunner, AMissingRunnerIsNamedWithTheFlagThatHelps) {
    const auto runner = find_runner("/nowhere/bitsweep-runner");
    ASSERT_FALSE(runner);
    EXPECT_EQ(runner.error().code, ErrorCode::not_found);
    EXPECT_NE(runner.error().message.find("--runner"), std::string::npos);
}

}  // namespace
}  // namespace bitsweep::agent
