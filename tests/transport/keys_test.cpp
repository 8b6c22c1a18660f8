#include "coordinator/transport/keys.h"

#include <sys/stat.h>

#include <fstream>

#include "tests/transport/fixture.h"

namespace bitsweep {

namespace {

class Keys : public TransportTest {};

int mode_of(const std::filesystem::path& file) {
    struct stat facts {};
    EXPECT_EQ(stat(file.c_str(), &facts), 0);
    return facts.st_mode & 0777;
}

TEST_F(Keys, SecretsAreReadableByTheirOwnerOnly) {
    ASSERT_TRUE(ensure_server_keys(keys_));
    const auto file = new_access(keys_, "alice", Role::work, "tcp://h:1");
    ASSERT_TRUE(file);
    EXPECT_EQ(mode_of(keys_ / "server.json"), 0600);
    EXPECT_EQ(mode_of(*file), 0600);
    EXPECT_EQ(mode_of(keys_), 0700);
}

TEST_F(Keys, ASecondStartKeepsTheServerKeys) {
    ASSERT_TRUE(ensure_server_keys(keys_));
    const auto first = read_server_keys(keys_);
    ASSERT_TRUE(ensure_server_keys(keys_));
    const auto second = read_server_keys(keys_);
    ASSERT_TRUE(first && second);
    EXPECT_EQ(first->secret_key, second->secret_key);
}

TEST_F(Keys, AWorldReadableServerKeyIsRefusedWithItsRemedy) {
    ASSERT_TRUE(ensure_server_keys(keys_));
    chmod((keys_ / "server.json").c_str(), 0644);
    const auto keys = read_server_keys(keys_);
    ASSERT_FALSE(keys);
    EXPECT_EQ(keys.error().code, ErrorCode::refused);
    EXPECT_NE(keys.error().message.find("chmod 600"), std::string::npos);
}

TEST_F(Keys, AnAccessFileThatOthersCanReadIsRefused) {
    const auto file = new_access(keys_, "alice", Role::work, "tcp://h:1");
    ASSERT_TRUE(file);
    chmod(file->c_str(), 0640);
    const auto access = read_access(*file);
    ASSERT_FALSE(access);
    EXPECT_EQ(access.error().code, ErrorCode::refused);
}

TEST_F(Keys, AnAccessFileWithoutAKeyNamesWhatIsMissing) {
    const auto file = folder_ / "broken.json";
    std::ofstream(file) << R"({"coordinator": "tcp://h:1", "server_key": ""})";
    chmod(file.c_str(), 0600);
    const auto access = read_access(file);
    ASSERT_FALSE(access);
    EXPECT_EQ(access.error().code, ErrorCode::corrupt);
    EXPECT_NE(access.error().message.find("server_key"), std::string::npos);
}

TEST_F(Keys, ANameIsUsedOnceAndFreeAgainAfterItsRevocation) {
    ASSERT_TRUE(new_access(keys_, "alice", Role::work, "tcp://h:1"));
    const auto again = new_access(keys_, "alice", Role::submit, "tcp://h:1");
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().code, ErrorCode::already_exists);
    ASSERT_TRUE(revoke_access(keys_, "alice"));
    EXPECT_TRUE(new_access(keys_, "alice", Role::submit, "tcp://h:1"));
}

TEST_F(Keys, ANameThatIsAPathIsRefused) {
    for (const char* name : {"", "..", "../alice", "a/b", ".hidden", "a b", "a\n"}) {
        const auto file = new_access(keys_, name, Role::work, "tcp://h:1");
        ASSERT_FALSE(file) << name;
        EXPECT_EQ(file.error().code, ErrorCode::invalid_input) << name;
    }
    EXPECT_FALSE(revoke_access(keys_, "../server"));
}

TEST_F(Keys, TheListShowsNamesAndRolesWithoutSecrets) {
    ASSERT_TRUE(new_access(keys_, "bob", Role::read, "tcp://h:1"));
    ASSERT_TRUE(new_access(keys_, "alice", Role::work, "tcp://h:1"));
    const auto peers = list_access(keys_);
    ASSERT_TRUE(peers);
    ASSERT_EQ(peers->size(), 2u);
    EXPECT_EQ((*peers)[0].name, "alice");
    EXPECT_EQ((*peers)[0].role, Role::work);
    EXPECT_EQ((*peers)[1].name, "bob");
    EXPECT_EQ((*peers)[1].public_key.size(), 40u);
}

TEST_F(Keys, RevokingSomebodyUnknownSaysSo) {
    ASSERT_TRUE(ensure_server_keys(keys_));
    const auto revoked = revoke_access(keys_, "nobody");
    ASSERT_FALSE(revoked);
    EXPECT_EQ(revoked.error().code, ErrorCode::not_found);
}

TEST_F(Keys, ANewAddressReachesTheAccessFilesThatAreStillHere) {
    const auto file = new_access(keys_, "alice", Role::work, "tcp://h:1");
    ASSERT_TRUE(new_access(keys_, "carried-away", Role::work, "tcp://h:1"));
    std::filesystem::remove(keys_ / "access" / "carried-away.json");
    ASSERT_TRUE(refresh_access(keys_, "tcp://h:2"));
    EXPECT_EQ(read_access(*file)->coordinator, "tcp://h:2");
    EXPECT_FALSE(std::filesystem::exists(keys_ / "access" / "carried-away.json"));
}

TEST_F(Keys, AnAddressThatAPersonGaveStays) {
    const auto file =
        new_access(keys_, "far", Role::work, "tcp://head.example:1", AddressFrom::person);
    ASSERT_TRUE(refresh_access(keys_, "tcp://h:2"));
    EXPECT_EQ(read_access(*file)->coordinator, "tcp://head.example:1");
}

TEST_F(Keys, AFileThatIsNoAuthorisationAdmitsNobodyAndHarmsNobodyElse) {
    ASSERT_TRUE(new_access(keys_, "alice", Role::work, "tcp://h:1"));
    std::ofstream(keys_ / "authorized" / "oops.json") << "{";
    std::vector<std::string> flaws;
    const auto peers = list_access(keys_, &flaws);
    ASSERT_TRUE(peers);
    ASSERT_EQ(peers->size(), 1u);
    EXPECT_EQ((*peers)[0].name, "alice");
    ASSERT_EQ(flaws.size(), 1u);
    EXPECT_NE(flaws[0].find("oops.json"), std::string::npos);
}

TEST_F(Keys, AFolderInPlaceOfAnAccessFileIsNotToldToChangeItsMode) {
    const auto access = read_access(folder_);
    ASSERT_FALSE(access);
    EXPECT_NE(access.error().message.find("is a folder"), std::string::npos);
}

}  // namespace
}  // namespace bitsweep
