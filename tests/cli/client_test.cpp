// A client and a coordinator that only keeps what it is sent.
#include "coordinator/cli/client.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "coordinator/transport/router.h"

namespace bitsweep {
namespace {

class Listener {
 public:
    explicit Listener(std::unique_ptr<Router> router) : router_(std::move(router)) {
        thread_ = std::thread([this] {
            while (!stop_) {
                for (Incoming& incoming : router_->receive({20}, 100)) {
                    take(incoming);
                }
            }
        });
    }
    // What came until now.
    std::vector<Submit> end() {
        stop_ = true;
        thread_.join();
        return std::move(came_);
    }

 private:
    void take(Incoming& incoming) {
        if (!incoming.message) {
            ADD_FAILURE() << incoming.message.error().message;
            return;
        }
        came_.push_back(std::get<Submit>(*incoming.message));
        Submitted answer;
        answer.experiment = came_.back().experiment;
        answer.cells = static_cast<std::int64_t>(came_.size());
        EXPECT_TRUE(router_->send(incoming.from, answer).ok());
    }

    std::unique_ptr<Router> router_;
    std::vector<Submit> came_;
    std::atomic<bool> stop_{false};
    std::thread thread_;
};

struct Sent {
    Result<Submitted> answer;
    std::vector<Submit> came;
};

Sent submit(const Submit& whole) {
    auto router = Router::bind({}).value();
    Access access;
    access.coordinator = router->endpoint();
    Listener listener(std::move(router));
    Client client = Client::connect(access).value();
    Result<Submitted> answer = client.submit(whole, {60'000});
    return {std::move(answer), listener.end()};
}

Submit submission(int cells, std::size_t prompt_bytes) {
    Submit submit;
    submit.experiment.value = "large";
    submit.yaml = "experiment: large";
    submit.tags = {{"a", "b"}};
    for (int i = 0; i < cells; ++i) {
        Cell cell;
        cell.spec.model.name = "m";
        cell.spec.method = "fp16";
        cell.spec.prompt = std::to_string(i) + std::string(prompt_bytes, 'x');
        submit.cells.push_back(cell);
    }
    return submit;
}

TEST(Client, whatFitsOneMessageGoesInOne) {
    const Sent sent = submit(submission(1'000, 10));
    ASSERT_TRUE(sent.answer.ok()) << sent.answer.error().message;
    ASSERT_EQ(sent.came.size(), 1u);
    EXPECT_EQ(sent.came[0].cells.size(), 1'000u);
    EXPECT_EQ(sent.came[0].piece, 0);
    EXPECT_FALSE(sent.came[0].continues);
    EXPECT_EQ(sent.came[0].yaml, "experiment: large");
}

TEST(Client, whatIsLongerGoesInPiecesThatTheCoordinatorReads) {
    const Submit whole = submission(12, 1'000'000);
    const Sent sent = submit(whole);
    ASSERT_TRUE(sent.answer.ok()) << sent.answer.error().message;
    EXPECT_EQ(sent.answer->cells, 3) << "the answer to the last";
    ASSERT_EQ(sent.came.size(), 3u);
    std::size_t next = 0;
    for (std::size_t i = 0; i < sent.came.size(); ++i) {
        const Submit& piece = sent.came[i];
        const bool is_last = i + 1 == sent.came.size();
        EXPECT_EQ(piece.piece, static_cast<std::int64_t>(i));
        EXPECT_EQ(piece.continues, !is_last);
        EXPECT_EQ(piece.yaml, is_last ? whole.yaml : "");
        EXPECT_EQ(piece.tags, whole.tags);
        for (const Cell& cell : piece.cells) {
            EXPECT_EQ(cell.spec.prompt, whole.cells[next++].spec.prompt);
        }
    }
    EXPECT_EQ(next, whole.cells.size());
}

TEST(Client, aSubmissionWithoutCellsIsSentForItsAnswer) {
    const Sent sent = submit(submission(0, 0));
    ASSERT_TRUE(sent.answer.ok()) << sent.answer.error().message;
    EXPECT_EQ(sent.came.size(), 1u);
}

}  // namespace
}  // namespace bitsweep
