// Windows that do not count and sentinels, with real processes and a real database: what is
// measured again, what is shown, what a coordinator that was killed in between still knows.
#include <signal.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "tests/end_to_end/cluster.h"

namespace bitsweep {

namespace {

namespace fs = std::filesystem;

class Windows : public Cluster {
 protected:
    void SetUp() override {
        Cluster::SetUp();
        environment_["FAKE_RUNNER_RATE"] = (folder_ / "rate").string();
        rate("100");
        serve();
    }

    // What the next measurements say. Renamed into place: a runner may read at any moment.
    void rate(const std::string& words) {
        std::ofstream(folder_ / "rate.new") << words << "\n";
        fs::rename(folder_ / "rate.new", folder_ / "rate");
    }

    void write(const std::string& name, const std::string& protocol, const std::string& methods) {
        std::ofstream(folder_ / (name + ".yaml"))
            << "experiment: " << name << "\nquestion: Does the device stay what it was?\n"
            << "defaults: {protocol: " << protocol
            << ", prompt: \"work 100\", new_tokens: 4, quality: off}\n"
            << "matrix:\n  model: [llama-pico]\n  method: [" << methods
            << "]\n  gpu: cpu\n  repeat: 1\n";
    }
};

TEST_F(Windows, AFlaggedWindowIsKeptAndAValidOneShownInItsPlace) {
    write("throttled", "standard", "fp16, int8");
    rate("90 window_throttled");
    const auto only = worker("only");
    const auto client = submit("throttled");
    ASSERT_TRUE(reaches("SELECT count(*) FROM runs", 2, 20)) << client->err();
    rate("100");
    const Ended status = bitsweep(folder_, {"status"});
    EXPECT_NE(status.out.find("does not count: throttled"), std::string::npos) << status.out;
    EXPECT_EQ(client->wait(40), 0) << client->err();
    EXPECT_EQ(number("SELECT count(*) FROM v_cells"), 2);
    EXPECT_EQ(number("SELECT count(*) FROM v_windows WHERE NOT flagged"), 2);
    EXPECT_EQ(number("SELECT count(*) FROM jobs WHERE shown = 'valid' AND windows_again = 1"), 2);
    EXPECT_EQ(number("SELECT count(*) FROM v_again WHERE flags = 'window_throttled' "
                     "AND NOT is_shown"),
              2)
        << "the first windows are kept";
}

TEST_F(Windows, ACellIsMeasuredAgainAsOftenAsItsProtocolAllowsThenItStandsFlagged) {
    write("hot", "quick", "fp16");
    rate("90 window_throttled");
    const auto only = worker("only");
    EXPECT_EQ(submit("hot")->wait(40), 0);
    EXPECT_EQ(number("SELECT count(*) FROM runs"), 2);
    EXPECT_EQ(number("SELECT count(*) FROM v_cells"), 1);
    EXPECT_EQ(number("SELECT count(*) FROM v_windows WHERE flagged"), 1);
    const std::string key = query("SELECT key FROM jobs").rows.at(0).at(0).text;
    const Ended told = bitsweep(folder_, {"explain", key});
    EXPECT_NE(told.out.find("its window does not count: throttled"), std::string::npos) << told.out;
    EXPECT_NE(told.out.find("1 of 1 times that protocol quick allows"), std::string::npos)
        << told.out;
}

TEST_F(Windows, SentinelsThatDifferTakeBackWhatWasMeasuredBetweenThemThroughAKill) {
    write("drift", "headline",
          "fp16, int8, nf4, fp4, w8a8, int4-g64, int3-g64, int5-g64, int6-g64, int7-g64, bf16, "
          "fp32");
    auto only = worker("only");
    const auto client = submit("drift");
    ASSERT_TRUE(reaches("SELECT count(*) FROM v_cells", 4, 30)) << client->err();
    kill_server();  // the open window is known by the database alone
    rate("80");
    serve(url_);
    EXPECT_EQ(client->wait(90), 0) << client->err() << server_->err();
    EXPECT_EQ(number("SELECT count(*) FROM v_cells"), 12);
    EXPECT_EQ(number("SELECT count(*) FROM jobs WHERE shown = 'valid'"), 13);  // and the sentinel
    EXPECT_EQ(number("SELECT count(*) FROM sentinels"), 1);
    EXPECT_GE(number("SELECT count(*) FROM v_sentinels"), 3);
    EXPECT_GE(number("SELECT count(*) FROM v_sentinels WHERE compared"), 2);
    EXPECT_EQ(number("SELECT count(*) FROM v_sentinels WHERE abs(change_since_last) > 0.05"), 1);
    EXPECT_GE(number("SELECT count(*) FROM v_again WHERE flags = 'window_sentinel_drift'"), 4);
    EXPECT_EQ(number("SELECT count(*) FROM v_again WHERE is_shown"), 0);
    EXPECT_EQ(number("SELECT count(*) FROM v_windows WHERE flagged"), 0);
    EXPECT_NE(server_->err().find("-20.0 % since the last one"), std::string::npos)
        << server_->err();
    // What is shown was measured beside sentinels of its own speed.
    EXPECT_EQ(number("SELECT count(*) FROM v_cells c JOIN measurements m ON m.run = c.run AND "
                     "m.metric = 'decode_tokens_per_s' WHERE m.value <> 80"),
              0);
}

}  // namespace
}  // namespace bitsweep
