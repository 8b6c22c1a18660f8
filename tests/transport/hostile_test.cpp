// Strangers, wrong keys, floods, half-open connections, oversized and malformed messages: refused
// without effect, in bounded memory, while a good peer goes on being served.
#include "tests/transport/hostile.h"

#include <chrono>
#include <memory>
#include <vector>

#include "coordinator/transport/limits.h"
#include "schemas/codec.h"
#include "schemas/sequence.h"
#include "tests/transport/fixture.h"

namespace bitsweep {

namespace {

using Clock = std::chrono::steady_clock;

// What a coordinator does with what comes in: what is refused gets its reason.
class Hostile : public TransportTest {
 protected:
    void SetUp() override {
        TransportTest::SetUp();
        ASSERT_TRUE(ensure_server_keys(keys_));
        RouterOptions options;
        options.keys = keys_;
        options.handshake = {400};
        options.most_submitted_bytes = 3 << 20;
        auto router = Router::bind(options);
        ASSERT_TRUE(router) << router.error().message;
        router_ = std::move(*router);
        good_ = access("good", Role::read, url());
    }

    std::string url() const { return router_->endpoint(); }

    void serve(int ms) {
        const auto end = Clock::now() + std::chrono::milliseconds(ms);
        do {
            for (Incoming& incoming : router_->receive({10}, 1'000)) {
                if (incoming.message) {
                    ++taken_;
                    (void)router_->send(incoming.from, StatusReply{});
                } else {
                    ++refused_;
                    reasons_.push_back(incoming.message.error().message);
                    (void)router_->send(incoming.from,
                                        Refusal{incoming.message.error().code, reasons_.back()});
                }
            }
        } while (Clock::now() < end);
    }

    // A person's status is answered within two seconds, whatever else goes on.
    void expect_good_peer_served() {
        const auto dealer = Dealer::connect(good_);
        ASSERT_TRUE(dealer);
        ASSERT_TRUE((*dealer)->send(StatusRequest{}));
        const auto start = Clock::now();
        while (Clock::now() - start < std::chrono::seconds(2)) {
            serve(5);
            const auto answer = (*dealer)->receive({0});
            if (answer && *answer && std::holds_alternative<StatusReply>(**answer)) {
                return;
            }
        }
        ADD_FAILURE() << "a good peer got no answer: " << (*dealer)->last_failure();
    }

    std::unique_ptr<Router> router_;
    Access good_;
    int taken_ = 0;
    int refused_ = 0;
    std::vector<std::string> reasons_;
};

TEST_F(Hostile, RandomBytesOfStrangersHaveNoEffect) {
    std::vector<std::unique_ptr<RawConnection>> strangers;
    for (unsigned seed = 1; seed <= 60; ++seed) {
        std::mt19937 random(seed);
        strangers.push_back(std::make_unique<RawConnection>(url()));
        ASSERT_TRUE(strangers.back()->connected());
        const char* mechanisms[] = {"CURVE", "NULL", "PLAIN", "GSSAPI"};
        strangers.back()->say(seed % 2 == 0 ? zmtp_greeting(mechanisms[seed / 2 % 4]) : "");
        strangers.back()->say(random_bytes(random, 1 + random() % 4'000));
        serve(2);
    }
    serve(600);
    EXPECT_EQ(taken_ + refused_, 0);
    for (const auto& stranger : strangers) {
        EXPECT_TRUE(stranger->closed());
    }
    expect_good_peer_served();
}

TEST_F(Hostile, AConnectionThatNeverFinishesItsHandshakeIsClosed) {
    RawConnection silent(url());
    RawConnection half(url());
    half.say(zmtp_greeting("CURVE"));
    ASSERT_TRUE(silent.connected() && half.connected());
    serve(100);
    EXPECT_FALSE(silent.closed());
    serve(900);
    EXPECT_TRUE(silent.closed());
    EXPECT_TRUE(half.closed());
}

TEST_F(Hostile, AFloodOfStrangersLocksNobodyOutAndFillsNoMemory) {
    const std::uint64_t before = resident_mib();
    std::vector<std::unique_ptr<RawConnection>> strangers;
    for (int i = 0; i < 300; ++i) {
        strangers.push_back(std::make_unique<RawConnection>(url()));
        strangers.back()->say(zmtp_greeting("CURVE"));
    }
    expect_good_peer_served();
    serve(900);
    EXPECT_EQ(refused_, 0);
    EXPECT_TRUE(strangers.front()->closed() && strangers.back()->closed());
    EXPECT_LT(resident_mib(), before + 64);
}

TEST_F(Hostile, WrongKeysByTheDozenNeverGetThrough) {
    Access wrong = access("revoked", Role::submit, url());
    ASSERT_TRUE(revoke_access(keys_, "revoked"));
    std::vector<std::unique_ptr<RawPeer>> peers;
    for (int i = 0; i < 24; ++i) {
        peers.push_back(std::make_unique<RawPeer>(wrong));
        peers.back()->say(to_json(Message(Shutdown{})));
    }
    serve(400);
    EXPECT_EQ(taken_ + refused_, 0);
    expect_good_peer_served();
}

TEST_F(Hostile, AMessageLongerThanItsRoleMaySendIsRefusedUnread) {
    RawPeer reader(good_);
    reader.say(std::string(65 << 10, '['));
    serve(200);
    ASSERT_EQ(refused_, 1);
    EXPECT_NE(reasons_[0].find("64 KiB"), std::string::npos) << reasons_[0];
    RawPeer worker(access("w", Role::work, url()));
    worker.say(std::string((16u << 20) + 1, '['));
    for (int i = 0; i < 50 && refused_ < 2; ++i) {
        serve(200);  // 16 MiB take their time on a busy machine
    }
    ASSERT_EQ(refused_, 2);
    EXPECT_NE(reasons_[1].find("role `work`"), std::string::npos) << reasons_[1];
}

TEST_F(Hostile, AFrameBeyondTheProtocolEndsTheConnectionInBoundedMemory) {
    const std::uint64_t before = resident_mib();
    {
        RawPeer peer(access("s", Role::submit, url()));
        peer.say(std::string(max_json_bytes + 1, '['));
        serve(800);
    }
    EXPECT_EQ(taken_ + refused_, 0);
    EXPECT_LT(resident_mib(), before + 160);  // the sender's own copy and what it has sent
    expect_good_peer_served();
}

TEST_F(Hostile, MalformedMessagesAreRefusedWithTheReasonAndThenTheConnectionEnds) {
    const Access worker = access("w", Role::work, url());
    RawPeer peer(worker);
    for (const char* text : {"", "{", "[]", "null", "{\"protocol\":4}", "{\"type\":\"hello\"}",
                             "{\"protocol\":4,\"type\":\"no such\"}", "\xff\xfe"}) {
        peer.say(text);
    }
    serve(200);
    EXPECT_EQ(refused_, 8);
    for (int i = 0; i < 1'000; ++i) {
        peer.say("{");
    }
    serve(500);
    EXPECT_EQ(taken_, 0);
    EXPECT_LE(refused_, 210);  // the rest was cut off unread
    expect_good_peer_served();
}

TEST_F(Hostile, AnotherProtocolVersionIsRefusedWithTheVersionWanted) {
    RawPeer peer(access("w", Role::work, url()));
    peer.say("{\"protocol\":2,\"type\":\"hello\",\"anything\":true}");
    serve(200);
    ASSERT_EQ(refused_, 1);
    EXPECT_NE(reasons_[0].find("protocol 2; this side speaks protocol 4"), std::string::npos)
        << reasons_[0];
    const Result<Message> answer = message_from_json(peer.hear());
    ASSERT_TRUE(answer);
    EXPECT_EQ(std::get<Refusal>(*answer).protocol_wanted, protocol_version);
}

TEST_F(Hostile, DamagedMessagesOfAnAuthorisedPeerAreEachTakenOrRefused) {
    Hello hello;
    hello.worker = {"w"};
    hello.session = {"s"};
    hello.devices = {{"cpu", "cpu", "A CPU", 1u << 30, 1u << 29, {{"cores", "2"}}}};
    ResultDelivery delivery;
    delivery.session = {"s"};
    delivery.result.key = {std::string(64, 'a')};
    delivery.result.attempt = {1};
    const std::vector<std::string> sound = {to_json(Message(hello)), to_json(Message(delivery)),
                                            to_json(Message(Heartbeat{{"s"}, {}, {}})),
                                            to_json(Message(Goodbye{{"s"}}))};
    constexpr int sent = 180;  // below what ends a connection
    RawPeer peer(access("w", Role::work, url()));
    for (unsigned seed = 1; seed <= sent; ++seed) {
        std::mt19937 random(seed);
        std::string text = sound[seed % sound.size()];
        for (unsigned left = 1 + random() % 4; left > 0; --left) {
            const std::size_t at = random() % text.size();
            if (random() % 3 == 0) {
                text.erase(at, 1 + random() % 8);
            } else {
                text[at] = static_cast<char>(random());
            }
            text += text.empty() ? "x" : "";
        }
        peer.say(text);
    }
    for (int i = 0; i < 40 && taken_ + refused_ < sent; ++i) {
        serve(50);
    }
    EXPECT_EQ(taken_ + refused_, sent);
    EXPECT_GT(refused_, sent / 2);
    expect_good_peer_served();
}

TEST_F(Hostile, SeveralFramesAreNoMessage) {
    RawPeer peer(access("w", Role::work, url()));
    peer.say_in_frames({to_json(Message(Goodbye{{"s"}})), "and more"});
    serve(200);
    EXPECT_EQ(taken_, 0);
    ASSERT_EQ(refused_, 1);
    EXPECT_NE(reasons_[0].find("one frame"), std::string::npos);
}

std::string submission(int rows, const std::string& row) {
    Submit submit;
    submit.experiment.value = "x";
    submit.cells.resize(1);
    submit.cells[0].spec.model.name = "m";
    submit.cells[0].spec.method = "fp16";
    std::string text = to_json(Message(submit));
    const std::string rows_of_one = "[[0]]";
    std::string many;
    for (int i = 0; i < rows; ++i) {
        many += (i == 0 ? "[" : ",") + row;
    }
    return text.replace(text.find(rows_of_one), rows_of_one.size(), many + "]");
}

TEST_F(Hostile, ARowThatPointsNowhereIsRefusedWithItsPlace) {
    RawPeer peer(access("s", Role::submit, url()));
    peer.say(submission(3, "[1]"));
    serve(200);
    EXPECT_EQ(taken_, 0);
    ASSERT_EQ(refused_, 1);
    EXPECT_NE(reasons_[0].find("cells.rows[0][0]: there is no shared cell 1; there are 1"),
              std::string::npos)
        << reasons_[0];
    expect_good_peer_served();
}

TEST_F(Hostile, FewBytesOfRowsFillNoMemory) {
    RawPeer peer(access("s", Role::submit, url()));
    std::string frame;
    for (int i = 0; i < 20; ++i) {
        frame += "\x1e" + submission(1'000, "[0]") + "\n";  // 1 MiB as cells
    }
    peer.say(frame);
    serve(200);
    EXPECT_EQ(taken_, 3);
    ASSERT_EQ(refused_, 17);
    EXPECT_NE(reasons_[0].find("try again"), std::string::npos) << reasons_[0];
    peer.say(submission(1'000, "[0]"));
    serve(200);
    EXPECT_EQ(taken_, 4) << "there is room again";
}

TEST_F(Hostile, OneBadMessageOfAFrameIsRefusedAndTheOthersAreTaken) {
    RawPeer peer(access("w", Role::work, url()));
    const std::string good = to_json(Message(Goodbye{{"s"}}));
    const std::string foreign = to_json(Message(Shutdown{}));
    peer.say("\x1e" + good + "\n\x1e{\n\x1e" + foreign + "\n\x1e\x1e" + good);
    serve(200);
    EXPECT_EQ(taken_, 2);
    ASSERT_EQ(refused_, 3);
    EXPECT_NE(reasons_[0].find("not JSON"), std::string::npos) << reasons_[0];
    EXPECT_NE(reasons_[1].find("--role submit"), std::string::npos) << reasons_[1];
    EXPECT_NE(reasons_[2].find("not JSON"), std::string::npos) << reasons_[2];
}

TEST_F(Hostile, MalformedMessagesOfOneFrameCountOneByOne) {
    RawPeer peer(access("w", Role::work, url()));
    std::string frame;
    for (std::size_t i = 0; i < most_messages_in_frame; ++i) {
        frame += "\x1e{";
    }
    peer.say(frame);
    serve(300);
    EXPECT_EQ(taken_, 0);
    EXPECT_LE(refused_, 201);  // the rest was cut off unread
    EXPECT_GE(refused_, 199);
    expect_good_peer_served();
}

TEST_F(Hostile, AFrameOfTooManyMessagesIsRefusedUnread) {
    RawPeer peer(access("w", Role::work, url()));
    std::string frame;
    for (std::size_t i = 0; i <= most_messages_in_frame; ++i) {
        frame += "\x1e" + to_json(Message(Goodbye{{"s"}})) + "\n";
    }
    peer.say(frame);
    serve(200);
    EXPECT_EQ(taken_, 0);
    ASSERT_EQ(refused_, 1);
    EXPECT_NE(reasons_[0].find("the limit is 256"), std::string::npos) << reasons_[0];
}

TEST_F(Hostile, AFrameIsNoLongerThanAMessageOfItsRole) {
    RawPeer reader(access("r", Role::read, url()));
    const std::string question = to_json(Message(StatusRequest{})) + std::string(1'000, ' ');
    std::string frame;
    for (int i = 0; i < 70; ++i) {
        frame += "\x1e" + question + "\n";
    }
    reader.say(frame);
    serve(200);
    EXPECT_EQ(taken_, 0);
    ASSERT_EQ(refused_, 1);
    EXPECT_NE(reasons_[0].find("64 KiB"), std::string::npos) << reasons_[0];
}

TEST_F(Hostile, QuestionsInOneFrameAreSlowedDownLikeOthers) {
    RawPeer peer(access("hasty", Role::read, url()));
    std::string frame;
    for (int i = 0; i < 250; ++i) {
        frame += "\x1e" + to_json(Message(StatusRequest{})) + "\n";
    }
    peer.say(frame);
    serve(200);
    EXPECT_GE(taken_, 200);
    EXPECT_LT(taken_, 250);
    ASSERT_GE(refused_, 1);
    EXPECT_NE(reasons_[0].find("too fast"), std::string::npos);
    EXPECT_LT(taken_ + refused_, 250);
    expect_good_peer_served();
}

TEST_F(Hostile, QuestionsWithoutPauseAreSlowedDownAndSaidSoOnce) {
    RawPeer peer(access("hasty", Role::read, url()));
    for (int i = 0; i < 350; ++i) {
        peer.say(to_json(Message(StatusRequest{})));
    }
    serve(300);
    EXPECT_GE(taken_, 200);
    EXPECT_LE(taken_, 340);
    EXPECT_GE(refused_, 1);
    EXPECT_LE(refused_, 140);
    EXPECT_NE(reasons_.at(0).find("too fast"), std::string::npos);
    expect_good_peer_served();
}

TEST_F(Hostile, ARevokedPeerHearsWhyAndThenLosesItsConnection) {
    const auto dealer = Dealer::connect(access("alice", Role::work, url()));
    ASSERT_TRUE((*dealer)->send(Heartbeat{{"s"}, {}, {}}));
    serve(200);
    ASSERT_EQ(taken_, 1);
    ASSERT_TRUE(revoke_access(keys_, "alice"));
    ASSERT_TRUE((*dealer)->send(Heartbeat{{"s"}, {}, {}}));
    serve(200);
    ASSERT_EQ(refused_, 1);
    EXPECT_NE(reasons_[0].find("not authorised any more"), std::string::npos);
    ASSERT_TRUE((*dealer)->send(Heartbeat{{"s"}, {}, {}}));
    for (int i = 0; i < 40 && (*dealer)->link().state != LinkState::rejected; ++i) {
        serve(50);
        (void)(*dealer)->receive({0});
    }
    EXPECT_EQ((*dealer)->link().state, LinkState::rejected);
    EXPECT_EQ(taken_, 1);
    EXPECT_EQ(refused_, 1);
}

TEST_F(Hostile, NothingIsSentToAPeerWhoseKeyWasRevoked) {
    const auto dealer = Dealer::connect(access("alice", Role::work, url()));
    ASSERT_TRUE((*dealer)->send(Heartbeat{{"s"}, {}, {}}));
    const auto incoming = take(*router_, 1);
    ASSERT_EQ(incoming.size(), 1u);
    EXPECT_TRUE(router_->send(incoming[0].from, Drain{}));
    ASSERT_TRUE(revoke_access(keys_, "alice"));
    (void)router_->receive({10}, 10);
    const Status sent = router_->send(incoming[0].from, Drain{});
    ASSERT_FALSE(sent);
    EXPECT_EQ(sent.error().code, ErrorCode::unavailable);
    const std::vector<Message> mixed = {Drain{}, Refusal{ErrorCode::refused, "why"}, Drain{}};
    EXPECT_FALSE(router_->send_all(incoming[0].from, mixed));
    const auto first = (*dealer)->receive({2'000});
    ASSERT_TRUE(first && *first);
    EXPECT_TRUE(std::holds_alternative<Drain>(**first)) << "said before the key was revoked";
    const auto second = (*dealer)->receive({2'000});
    ASSERT_TRUE(second && *second);
    EXPECT_EQ(std::get<Refusal>(**second).reason, "why");
    const auto nothing = (*dealer)->receive({200});
    EXPECT_TRUE(nothing && !*nothing);
}

TEST_F(Hostile, ASecondConnectionCannotTakeAnothersPlace) {
    RawPeer first(access("first", Role::work, url()), "same");
    first.say(to_json(Message(Heartbeat{{"s1"}, {}, {}})));
    const auto incoming = take(*router_, 1);
    ASSERT_EQ(incoming.size(), 1u);
    RawPeer second(access("second", Role::work, url()), "same");
    second.say(to_json(Message(Heartbeat{{"s2"}, {}, {}})));
    serve(300);
    ASSERT_TRUE(router_->send(incoming[0].from, Drain{}));
    serve(100);
    EXPECT_NE(first.hear(), "");
    EXPECT_EQ(second.hear(), "");
}

TEST(PeerLimits, ForgivesFaultsOverTimeAndCutsOffWhoGoesOn) {
    PeerLimits limits;
    const Peer worker{"id", "w", Role::work, "k"};
    TimePoint now{1'000'000};
    for (int i = 0; i < 199; ++i) {
        limits.note_malformed(worker, now);
    }
    EXPECT_EQ(limits.rule(worker, 100, now).verdict, PeerLimits::Verdict::take);
    limits.note_malformed(worker, now);
    EXPECT_EQ(limits.rule(worker, 100, now).verdict, PeerLimits::Verdict::cut);
    now = now + Duration{2'000};
    EXPECT_EQ(limits.rule(worker, 100, now).verdict, PeerLimits::Verdict::take);
    EXPECT_EQ(limits.rule({"id", "other", Role::work, "k2"}, 100, now).verdict,
              PeerLimits::Verdict::take);
}

TEST(PeerLimits, OneAccessFileHasOneBudgetWhateverItsConnections) {
    PeerLimits limits;
    const TimePoint now{1'000'000};
    int taken = 0;
    for (int i = 0; i < 1'000; ++i) {
        const Peer peer{"connection " + std::to_string(i), "reader", Role::read, "k"};
        taken += limits.rule(peer, 100, now).verdict == PeerLimits::Verdict::take ? 1 : 0;
    }
    EXPECT_EQ(taken, 200);
}

}  // namespace
}  // namespace bitsweep
