// Submissions in pieces: nothing of them exists before the last one.
#include "coordinator/server/pieces.h"
#include "tests/server/loop_fixture.h"

namespace bitsweep {
namespace {

class PiecesTest : public LoopTest {
 protected:
    // Cells `first` to `end` of one submission.
    static Submit piece(std::int64_t number, int first, int end, bool continues) {
        Submit submit = submission(0);
        submit.yaml = continues ? "" : "experiment: sweep";
        for (int i = first; i < end; ++i) {
            submit.cells.push_back(cell(static_cast<std::uint64_t>(i)));
        }
        submit.piece = number;
        submit.continues = continues;
        return submit;
    }
    std::size_t stored_jobs() { return store_.jobs(ExperimentName{}).value().size(); }
    std::size_t known_jobs() const { return loop_->scheduler().state().jobs().size(); }
    std::string refusal() {
        const auto refused = take<Refusal>("client");
        return refused ? refused->reason : "";
    }
};

TEST_F(PiecesTest, nothingIsStoredOrHandedOutBeforeTheLastPiece) {
    say(worker_peer(), hello());
    say(client_peer(), piece(0, 0, 3, true));
    turn();
    EXPECT_EQ(take<Submitted>("client")->cells, 3) << "a receipt";
    say(client_peer(), piece(1, 3, 5, true));
    turn();
    EXPECT_EQ(take<Submitted>("client")->cells, 5);
    EXPECT_EQ(known_jobs(), 0u);
    EXPECT_EQ(stored_jobs(), 0u);
    EXPECT_TRUE(store_.experiments().value().empty());
    EXPECT_FALSE(take<Dispatch>("w1"));

    say(client_peer(), piece(2, 5, 6, false));
    turn();
    const auto answer = take<Submitted>("client");
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->cells, 6);
    EXPECT_EQ(answer->new_cells, 6);
    EXPECT_EQ(stored_jobs(), 6u);
    EXPECT_EQ(store_.experiments().value().at(0).yaml, "experiment: sweep");
    EXPECT_TRUE(take<Dispatch>("w1"));
}

TEST_F(PiecesTest, aClientThatDiesHalfwayLeavesNothing) {
    say(client_peer(), piece(0, 0, 3, true));
    turn();
    turn_after(120'000);
    EXPECT_EQ(known_jobs(), 0u);
    EXPECT_EQ(stored_jobs(), 0u);
    say(client_peer(), piece(1, 3, 4, false));
    turn();
    ASSERT_TRUE(take<Submitted>("client")) << "the receipt of the first";
    EXPECT_NE(refusal().find("piece 1 of experiment sweep came where piece 0 belongs"),
              std::string::npos);
    EXPECT_EQ(stored_jobs(), 0u);
}

TEST_F(PiecesTest, aCoordinatorThatDiesHalfwayLeavesNothing) {
    say(client_peer(), piece(0, 0, 3, true));
    turn();
    start(RoleCheck::by_role);
    EXPECT_EQ(known_jobs(), 0u);
    say(client_peer(), piece(1, 3, 4, false));
    turn();
    EXPECT_NE(refusal(), "");
    EXPECT_EQ(stored_jobs(), 0u);
}

TEST_F(PiecesTest, anInvalidCellInTheLastPieceUndoesThemAll) {
    say(client_peer(), piece(0, 0, 3, true));
    Submit last = piece(1, 3, 4, false);
    last.cells[0].policy.timeout = {0};
    say(client_peer(), last);
    turn();
    EXPECT_NE(refusal().find("timeout"), std::string::npos);
    EXPECT_EQ(stored_jobs(), 0u);
}

// ---- alone

TEST(Pieces, ofTwoClientsEachHasItsOwn) {
    Pieces pieces;
    Submit a;
    a.experiment.value = "a";
    a.continues = true;
    a.cells.resize(2);
    Submit b = a;
    b.experiment.value = "b";
    EXPECT_FALSE(*pieces.take("one", a, {0}));
    EXPECT_FALSE(*pieces.take("two", b, {0}));
    a.piece = 1;
    a.continues = false;
    const auto whole = pieces.take("one", a, {1});
    ASSERT_TRUE(whole.ok() && whole->has_value());
    EXPECT_EQ((*whole)->experiment.value, "a");
    EXPECT_EQ((*whole)->cells.size(), 4u);
    EXPECT_EQ(pieces.cells("one"), 0u);
    EXPECT_EQ(pieces.cells("two"), 2u);
}

TEST(Pieces, oneThatIsMissingTwiceOrOfAnotherExperimentEndsTheSubmission) {
    for (const auto& [number, name] : {std::pair{2, "a"}, std::pair{1, "b"}, std::pair{7, "a"}}) {
        Pieces pieces;
        Submit one;
        one.experiment.value = "a";
        one.continues = true;
        ASSERT_TRUE(pieces.take("c", one, {0}).ok());
        one.piece = number;
        one.experiment.value = name;
        const auto wrong = pieces.take("c", one, {0});
        ASSERT_FALSE(wrong.ok()) << number << name;
        EXPECT_EQ(wrong.error().code, ErrorCode::invalid_input);
        one.piece = 1;
        one.experiment.value = "a";
        EXPECT_FALSE(pieces.take("c", one, {0}).ok()) << "it has to begin again";
    }
}

TEST(Pieces, theFirstPieceBeginsAgain) {
    Pieces pieces;
    Submit one;
    one.continues = true;
    one.cells.resize(5);
    ASSERT_TRUE(pieces.take("c", one, {0}).ok());
    ASSERT_TRUE(pieces.take("c", one, {0}).ok());
    EXPECT_EQ(pieces.cells("c"), 5u);
}

TEST(Pieces, allTogetherHoldNoMoreThanTheLargestExperiment) {
    Pieces pieces;
    Submit big;
    big.continues = true;
    big.cells.resize(most_cells_of_a_submission - 1);
    ASSERT_TRUE(pieces.take("one", std::move(big), {0}).ok());
    Submit other;
    other.continues = true;
    other.cells.resize(2);
    const auto refused = pieces.take("two", other, {0});
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, ErrorCode::unavailable);
    other.piece = 1;
    const auto too_many = pieces.take("one", other, {0});
    ASSERT_FALSE(too_many.ok());
    EXPECT_EQ(too_many.error().code, ErrorCode::invalid_input);
    EXPECT_EQ(pieces.cells("one"), 0u);
}

TEST(Pieces, longTextsFillNoMoreThanTheirRoom) {
    Pieces pieces(5'000);
    Submit one;
    one.continues = true;
    one.cells.resize(1);
    one.cells[0].spec.prompt = std::string(1'000, 'x');
    ASSERT_TRUE(pieces.take("one", one, {0}).ok());
    ASSERT_TRUE(pieces.take("two", one, {0}).ok());
    const auto refused = pieces.take("three", one, {0});
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, ErrorCode::unavailable);
    EXPECT_EQ(pieces.cells("one"), 1u);
    one.piece = 1;
    one.cells.resize(3, one.cells[0]);
    const auto too_long = pieces.take("one", one, {0});
    ASSERT_FALSE(too_long.ok());
    EXPECT_EQ(too_long.error().code, ErrorCode::invalid_input);
    EXPECT_NE(too_long.error().message.find("shorter prompts"), std::string::npos);
    EXPECT_EQ(pieces.cells("one"), 0u);
    one.piece = 0;
    one.cells.resize(1);
    EXPECT_TRUE(pieces.take("three", one, {0}).ok()) << "there is room again";
}

}  // namespace
}  // namespace bitsweep
