// A machine with two kinds of card and a CPU: every cell runs on a device of the kind it asks for.
// The cards are the fake runner's; what they compute is tested in tests/decode and tests/inference.
#include <fstream>

#include "schemas/codec.h"
#include "tests/end_to_end/cluster.h"

namespace bitsweep {
namespace {

constexpr std::uint64_t gib = std::uint64_t{1} << 30;

std::string machine_with_cards() {
    Hello hello;
    hello.worker = {"capabilities"};
    hello.session = {"capabilities"};
    hello.host = "fake";
    hello.version = "fake-1";
    hello.devices = {
        {"cpu", "cpu", "Fake CPU", gib, gib / 2, {{"cores", "2"}}},
        {"cuda:0",
         "nvidia-h100-80gb-hbm3-80gib-700w",
         "NVIDIA H100 80GB HBM3",
         80 * gib,
         79 * gib,
         {}},
        {"cuda:1", "tesla-t4-15gib-70w", "Tesla T4", 15 * gib, 14 * gib, {}},
    };
    hello.models = {"llama-pico"};
    return to_json(Message(hello));
}

class Cards : public Cluster {
 protected:
    void write(const std::string& gpu) {
        std::ofstream(folder_ / "cards.yaml")
            << "experiment: cards\nquestion: Does every cell run where it asks to?\n"
            << "defaults: {protocol: quick, prompt: \"work 20\", new_tokens: 4, quality: off}\n"
            << "matrix:\n  model: [llama-pico]\n  method: [fp16, int8, nf4]\n"
            << "  gpu: " << gpu << "\n  repeat: 2\n";
    }

    // `bitsweep submit --wait` with one worker that offers everything.
    void run() {
        environment_["FAKE_RUNNER_CAPABILITIES"] = machine_with_cards();
        serve();
        const auto worker = start_worker("one", {"--cpu", "--gpus", "all"});
        ASSERT_TRUE(worker->says("waiting for jobs", 10)) << worker->err();
        const auto client = submit("cards");
        EXPECT_EQ(client->wait(60), 0) << client->err();
    }
};

TEST_F(Cards, EveryCellRunsOnADeviceOfTheKindItNames) {
    write("[H100, T4, cpu]");
    run();
    expect_each_cell_once(18);
    for (const auto& [asked, device] :
         {std::pair{"H100", "cuda:0"}, {"T4", "cuda:1"}, {"cpu", "cpu"}}) {
        const std::string of =
            "SELECT COUNT(*) FROM runs r JOIN jobs j ON j.id = r.job WHERE "
            "j.gpu = '" +
            std::string(asked) + "'";
        EXPECT_EQ(number(of), 6) << asked;
        EXPECT_EQ(number(of + " AND r.device = '" + device + "'"), 6) << asked;
    }
}

TEST_F(Cards, EachKindThatAttachesGetsTheCellsOfAny) {
    write("{each: any}");
    run();
    expect_each_cell_once(18);
    EXPECT_EQ(number("SELECT COUNT(DISTINCT gpu) FROM jobs"), 3);
    EXPECT_EQ(number("SELECT COUNT(*) FROM runs r JOIN jobs j ON j.id = r.job WHERE "
                     "j.gpu = r.device_kind"),
              18);
    EXPECT_EQ(number("SELECT COUNT(DISTINCT device) FROM runs"), 3);
}

}  // namespace
}  // namespace bitsweep
