#include "coordinator/transport/router.h"

#include <vector>

#include "coordinator/transport/zap.h"
#include "tests/transport/fixture.h"

namespace bitsweep {

namespace {

class RouterWithKeys : public TransportTest {};
class RouterWithoutKeys : public TransportTest {};

Heartbeat heartbeat(const std::string& session) {
    return Heartbeat{{session}, {}};
}

// Both ends have to be looked at until the handshake has settled.
Link settle(Router& router, Dealer& dealer) {
    for (int i = 0; i < 100; ++i) {
        (void)router.receive({20}, 100);
        const Link link = dealer.link();
        if (link.state == LinkState::connected || link.state == LinkState::rejected) {
            return link;
        }
    }
    return dealer.link();
}

TEST_F(RouterWithKeys, AnAuthorisedPeerIsKnownByNameAndRole) {
    const auto router = bind();
    const auto dealer = Dealer::connect(access("alice", Role::work, router->endpoint()));
    ASSERT_TRUE(dealer);
    ASSERT_TRUE((*dealer)->send(heartbeat("s1")));
    const auto incoming = take(*router, 1);
    ASSERT_EQ(incoming.size(), 1u);
    EXPECT_EQ(incoming[0].from.name, "alice");
    EXPECT_EQ(incoming[0].from.role, Role::work);
    ASSERT_TRUE(incoming[0].message);
    EXPECT_EQ(std::get<Heartbeat>(*incoming[0].message).session.value, "s1");
    EXPECT_EQ((*dealer)->last_failure(), "");
}

TEST_F(RouterWithKeys, AnAnswerReachesThePeerThatAsked) {
    const auto router = bind();
    const auto alice = Dealer::connect(access("alice", Role::work, router->endpoint()));
    const auto bob = Dealer::connect(access("bob", Role::work, router->endpoint()));
    ASSERT_TRUE((*alice)->send(heartbeat("a")));
    ASSERT_TRUE((*bob)->send(heartbeat("b")));
    const auto incoming = take(*router, 2);
    ASSERT_EQ(incoming.size(), 2u);
    for (const Incoming& one : incoming) {
        ASSERT_TRUE(
            router->send(one.from, Refusal{ErrorCode::refused, "you are " + one.from.name}));
    }
    const auto answer = (*bob)->receive({2'000});
    ASSERT_TRUE(answer && *answer);
    EXPECT_EQ(std::get<Refusal>(**answer).reason, "you are bob");
}

TEST_F(RouterWithKeys, SeveralMessagesTravelTogetherInTheirOrderEitherWay) {
    const auto router = bind();
    const auto dealer = Dealer::connect(access("alice", Role::work, router->endpoint()));
    const std::vector<Message> said = {heartbeat("s1"), Goodbye{{"s2"}}, heartbeat("s3")};
    ASSERT_TRUE((*dealer)->send_all(said));
    const auto incoming = take(*router, 3);
    ASSERT_EQ(incoming.size(), 3u);
    for (const Incoming& one : incoming) {
        ASSERT_TRUE(one.message);
        EXPECT_EQ(one.from.name, "alice");
    }
    EXPECT_EQ(std::get<Heartbeat>(*incoming[0].message).session.value, "s1");
    EXPECT_EQ(std::get<Goodbye>(*incoming[1].message).session.value, "s2");
    EXPECT_EQ(std::get<Heartbeat>(*incoming[2].message).session.value, "s3");

    const std::vector<Message> answers = {ResultAck{{"k"}, {1}}, Drain{}};
    ASSERT_TRUE(router->send_all(incoming[0].from, answers));
    const auto first = (*dealer)->receive({2'000});
    ASSERT_TRUE(first && *first);
    EXPECT_EQ(std::get<ResultAck>(**first).key.value, "k");
    const auto second = (*dealer)->receive({0});  // came with it
    ASSERT_TRUE(second && *second);
    EXPECT_TRUE(std::holds_alternative<Drain>(**second));
    const auto nothing = (*dealer)->receive({0});
    ASSERT_TRUE(nothing);
    EXPECT_FALSE(nothing->has_value());
}

TEST_F(RouterWithKeys, AKeyThatIsNotAuthorisedIsRejectedAtTheHandshake) {
    const auto router = bind();
    const Access known = access("alice", Role::work, router->endpoint());
    ASSERT_TRUE(revoke_access(keys_, "alice"));
    const auto dealer = Dealer::connect(known);
    ASSERT_TRUE((*dealer)->send(heartbeat("s1")));
    EXPECT_EQ(settle(*router, **dealer).state, LinkState::rejected);
    EXPECT_NE((*dealer)->last_failure().find("does not know our key"), std::string::npos);
    EXPECT_TRUE(router->receive({100}, 10).empty());
}

TEST_F(RouterWithKeys, AWrongServerKeyIsRejectedAndSaidSo) {
    const auto router = bind();
    Access wrong = access("alice", Role::work, router->endpoint());
    wrong.server_key = wrong.public_key;
    const auto dealer = Dealer::connect(wrong);
    ASSERT_TRUE((*dealer)->send(heartbeat("s1")));
    EXPECT_EQ(settle(*router, **dealer).state, LinkState::rejected);
    EXPECT_NE((*dealer)->last_failure().find("handshake failed"), std::string::npos);
}

TEST_F(RouterWithKeys, APeerWithoutAnyKeyNeverGetsThrough) {
    const auto router = bind();
    const auto dealer = Dealer::connect(Access{router->endpoint(), "", "", "", "", ""});
    ASSERT_TRUE((*dealer)->send(heartbeat("s1")));
    EXPECT_TRUE(take(*router, 1).empty());
    EXPECT_NE((*dealer)->link().state, LinkState::connected);
}

TEST_F(RouterWithKeys, ANewKeyIsAdmittedByARunningCoordinator) {
    const auto router = bind();
    (void)router->receive({10}, 10);
    const auto dealer = Dealer::connect(access("late", Role::submit, router->endpoint()));
    ASSERT_TRUE((*dealer)->send(StatusRequest{}));
    const auto incoming = take(*router, 1);
    ASSERT_EQ(incoming.size(), 1u);
    EXPECT_EQ(incoming[0].from.name, "late");
}

TEST_F(RouterWithKeys, ARevokedKeyLosesItsOpenConnectionToo) {
    const auto router = bind();
    const auto dealer = Dealer::connect(access("alice", Role::work, router->endpoint()));
    ASSERT_TRUE((*dealer)->send(heartbeat("s1")));
    ASSERT_EQ(take(*router, 1).size(), 1u);
    ASSERT_TRUE(revoke_access(keys_, "alice"));
    ASSERT_TRUE((*dealer)->send(heartbeat("s1")));
    const auto incoming = take(*router, 1);
    ASSERT_EQ(incoming.size(), 1u);
    ASSERT_FALSE(incoming[0].message);
    EXPECT_EQ(incoming[0].message.error().code, ErrorCode::refused);
}

TEST_F(RouterWithKeys, AWorkersKeyCannotSubmit) {
    const auto router = bind();
    const auto dealer = Dealer::connect(access("alice", Role::work, router->endpoint()));
    ASSERT_TRUE((*dealer)->send(Shutdown{}));
    const auto incoming = take(*router, 1);
    ASSERT_EQ(incoming.size(), 1u);
    ASSERT_FALSE(incoming[0].message);
    EXPECT_EQ(incoming[0].message.error().code, ErrorCode::refused);
    EXPECT_NE(incoming[0].message.error().message.find("--role submit"), std::string::npos);
}

TEST(Roles, SubmitMayReadAndReadMayNotSubmit) {
    EXPECT_TRUE(check_role(Role::submit, StatusRequest{}));
    EXPECT_TRUE(check_role(Role::read, StatusRequest{}));
    EXPECT_FALSE(check_role(Role::work, StatusRequest{}));
    EXPECT_FALSE(check_role(Role::read, Submit{}));
    EXPECT_FALSE(check_role(Role::submit, Hello{}));
    EXPECT_TRUE(check_role(Role::work, Hello{}));
}

TEST_F(RouterWithoutKeys, PortZeroBecomesAFreePort) {
    const auto first = Router::bind({"tcp://127.0.0.1:0", {}});
    const auto second = Router::bind({"tcp://127.0.0.1:0", {}});
    ASSERT_TRUE(first && second);
    EXPECT_NE((*first)->endpoint(), (*second)->endpoint());
    EXPECT_EQ((*first)->endpoint().find(":0", 15), std::string::npos) << (*first)->endpoint();
}

TEST_F(RouterWithoutKeys, APortInUseIsNamed) {
    const auto first = Router::bind({"tcp://127.0.0.1:0", {}});
    ASSERT_TRUE(first);
    const std::string url = (*first)->endpoint();
    const auto second = Router::bind({url, {}});
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, ErrorCode::already_exists);
    EXPECT_NE(second.error().message.find(url.substr(url.rfind(':') + 1)), std::string::npos)
        << second.error().message;
}

TEST_F(RouterWithoutKeys, APeerReachesAnAddressOfTheSixthVersionToo) {
    const auto router = Router::bind({"tcp://[::1]:0", {}});
    if (!router) {
        GTEST_SKIP() << "no IPv6 here: " << router.error().message;
    }
    Access access;
    access.coordinator = (*router)->endpoint();
    const auto dealer = Dealer::connect(access);
    ASSERT_TRUE(dealer);
    ASSERT_TRUE((*dealer)->send(StatusRequest{}));
    EXPECT_EQ(take(**router, 1).size(), 1u);
}

TEST_F(RouterWithoutKeys, AnAddressBeyondLoopbackNeedsKeys) {
    for (const char* url : {"tcp://0.0.0.0:0", "tcp://*:0", "tcp://192.0.2.1:0", "tcp://[::]:0"}) {
        const auto router = Router::bind({url, {}});
        ASSERT_FALSE(router) << url;
        EXPECT_EQ(router.error().code, ErrorCode::refused) << url;
    }
}

TEST_F(RouterWithoutKeys, WhatIsNoAddressIsSaidToBeNone) {
    for (const char* url :
         {"", "7420", "http://127.0.0.1:1", "tcp://127.0.0.1", "tcp://127.0.0.1:99999",
          "tcp://127.0.0.1:x", "tcp://:1", "tcp://300.1.1.1:0", "tcp://localhost:0"}) {
        EXPECT_FALSE(Router::check({url, {}})) << url;
        const auto router = Router::bind({url, {}});
        ASSERT_FALSE(router) << url;
        EXPECT_EQ(router.error().code, ErrorCode::invalid_input) << url;
    }
}

TEST_F(RouterWithoutKeys, KeysThatDoNotExistAreNotFound) {
    const auto router = Router::bind({"tcp://127.0.0.1:0", folder_ / "nothing"});
    ASSERT_FALSE(router);
    EXPECT_EQ(router.error().code, ErrorCode::not_found);
}

TEST_F(RouterWithoutKeys, SendingToAPeerThatIsGoneIsAnErrorAndNeverWaits) {
    const auto router = Router::bind({"tcp://127.0.0.1:0", {}});
    ASSERT_TRUE(router);
    const Status sent = (*router)->send(Peer{"gone", "gone", Role::work}, Drain{});
    ASSERT_FALSE(sent);
    EXPECT_EQ(sent.error().code, ErrorCode::unavailable);
}

TEST_F(RouterWithoutKeys, AFullQueueIsAnErrorAndNeverWaits) {
    const auto router = Router::bind({"tcp://127.0.0.1:0", {}});
    const auto dealer = Dealer::connect(Access{(*router)->endpoint(), "", "", "", "", ""});
    ASSERT_TRUE((*dealer)->send(heartbeat("slow")));
    const auto incoming = take(**router, 1);
    ASSERT_EQ(incoming.size(), 1u);
    const Refusal large{ErrorCode::refused, std::string(16u << 10, 'x')};
    Status sent;
    for (int i = 0; i < 3'000 && sent; ++i) {
        sent = (*router)->send(incoming[0].from, large);
    }
    ASSERT_FALSE(sent);
    EXPECT_EQ(sent.error().code, ErrorCode::unavailable);
}

TEST_F(RouterWithoutKeys, SilenceOfACoordinatorThatIsNotThereHasAReason) {
    std::string url;
    {
        const auto router = Router::bind({"tcp://127.0.0.1:0", {}});
        url = (*router)->endpoint();
    }
    const auto dealer = Dealer::connect(Access{url, "", "", "", "", ""});
    const auto answer = (*dealer)->receive({500});
    ASSERT_TRUE(answer);
    EXPECT_FALSE(answer->has_value());
    EXPECT_EQ((*dealer)->link().state, LinkState::unreachable);
    EXPECT_NE((*dealer)->last_failure().find("connection refused"), std::string::npos);
}

TEST_F(RouterWithoutKeys, ADealerFindsACoordinatorThatStartsLater) {
    std::string url;
    {
        const auto router = Router::bind({"tcp://127.0.0.1:0", {}});
        url = (*router)->endpoint();
    }
    const auto dealer = Dealer::connect(Access{url, "", "", "", "", ""});
    ASSERT_TRUE((*dealer)->send(heartbeat("early")));
    (void)(*dealer)->receive({300});
    const auto router = Router::bind({url, {}});
    ASSERT_TRUE(router) << router.error().message;
    EXPECT_EQ(take(**router, 1).size(), 1u);
    EXPECT_EQ((*dealer)->link().handshakes, 1u);
}

}  // namespace
}  // namespace bitsweep
