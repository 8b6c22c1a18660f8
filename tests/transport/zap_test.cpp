#include "coordinator/transport/zap.h"

#include <zmq.h>

#include <fstream>

#include "tests/transport/fixture.h"

namespace bitsweep {

namespace {

class Zap : public TransportTest {
 protected:
    std::vector<std::string> request(const std::string& z85) {
        std::string bytes(32, '\0');
        zmq_z85_decode(reinterpret_cast<std::uint8_t*>(bytes.data()), z85.c_str());
        return {"1.0", "7", "bitsweep", "127.0.0.1", "", "CURVE", bytes};
    }
};

TEST_F(Zap, AnAuthorisedKeyIsAnsweredWithItselfAsUser) {
    const Access alice = access("alice", Role::work, "tcp://h:1");
    AllowList allowed(keys_);
    const auto reply = answer_zap(request(alice.public_key), allowed);
    ASSERT_EQ(reply.size(), 6u);
    EXPECT_EQ(reply[1], "7");
    EXPECT_EQ(reply[2], "200");
    EXPECT_EQ(reply[4], alice.public_key);
}

TEST_F(Zap, AnythingElseIsAnsweredWithNo) {
    const Access alice = access("alice", Role::work, "tcp://h:1");
    AllowList allowed(keys_);
    EXPECT_EQ(answer_zap(request(alice.server_key), allowed)[2], "400");
    auto plain = request(alice.public_key);
    plain[5] = "PLAIN";
    EXPECT_EQ(answer_zap(plain, allowed)[2], "400");
    auto null = request(alice.public_key);
    null[5] = "NULL";
    EXPECT_EQ(answer_zap(null, allowed)[2], "400");
    auto short_key = request(alice.public_key);
    short_key[6].pop_back();
    EXPECT_EQ(answer_zap(short_key, allowed)[2], "400");
    EXPECT_EQ(answer_zap({}, allowed)[2], "500");
    EXPECT_EQ(answer_zap({"2.0", "7"}, allowed)[2], "500");
}

TEST_F(Zap, ChangesWithinTheSameMomentAreSeen) {
    AllowList allowed(keys_);
    for (int i = 0; i < 20; ++i) {
        const std::string name = "peer-" + std::to_string(i);
        const Access peer = access(name, Role::work, "tcp://h:1");
        ASSERT_NE(allowed.find(peer.public_key), nullptr) << i;
        ASSERT_TRUE(revoke_access(keys_, name));
        ASSERT_EQ(allowed.find(peer.public_key), nullptr) << i;
    }
}

TEST_F(Zap, AFileThatCannotBeReadIsNamedOnceAndAFolderThatIsGoneAdmitsNobody) {
    const Access alice = access("alice", Role::work, "tcp://h:1");
    AllowList allowed(keys_);
    ASSERT_NE(allowed.find(alice.public_key), nullptr);
    std::ofstream(keys_ / "authorized" / "broken.json") << "{";
    EXPECT_NE(allowed.find(alice.public_key), nullptr);
    EXPECT_EQ(allowed.new_flaws().size(), 1u);
    std::ofstream(keys_ / "authorized" / "other.json") << "[]";
    EXPECT_NE(allowed.find(alice.public_key), nullptr);
    const std::vector<std::string> flaws = allowed.new_flaws();
    ASSERT_EQ(flaws.size(), 1u);
    EXPECT_NE(flaws[0].find("other.json"), std::string::npos);
    std::filesystem::remove_all(keys_ / "authorized");
    EXPECT_EQ(allowed.find(alice.public_key), nullptr);
}

}  // namespace
}  // namespace bitsweep
