// The database's disk, with real processes: full, read-only, locked by another tool. The
// coordinator says so, hands nothing out, loses nothing, and goes on by itself when it is mended.
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "tests/end_to_end/cluster.h"

namespace bitsweep {

namespace {

namespace fs = std::filesystem;

constexpr const char* shell = "/usr/bin/sqlite3";

void sleep_ms(int ms) {
    std::this_thread::sleep_for(std::chrono::milliseconds(ms));
}

std::size_t count_of(const std::string& text, const std::string& part) {
    std::size_t count = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
        ++count;
    }
    return count;
}

class Database : public Cluster {
 protected:
    void TearDown() override {
        if (mounted_) {
            umount2(disk_.c_str(), MNT_DETACH);
        }
        Cluster::TearDown();
    }

    // The database lies on a disk of its own, so that only the coordinator feels what it lacks.
    // False: this machine lets nobody mount.
    bool small_disk(const char* size) {
        disk_ = folder_ / "disk";
        fs::create_directory(disk_);
        mounted_ = mount("none", disk_.c_str(), "tmpfs", 0, size) == 0;
        if (mounted_) {
            std::ofstream(disk_ / "bitsweep.db");
            fs::create_symlink("disk/bitsweep.db", folder_ / "bitsweep.db");
        }
        return mounted_;
    }

    void begin(const std::string& name) {
        write_experiment(name, 150, 2);
        worker_ = worker("only");
        client_ = submit(name);
        ASSERT_TRUE(reaches(done_count, 2, 20)) << client_->err();
    }

    std::string state() {
        const Ended status = bitsweep(folder_, {"status"});
        return status.out + status.err;
    }

    // While the store is away nothing more begins than what was on its way.
    void expect_nothing_begins() {
        sleep_ms(500);
        const std::size_t begun = count_of(worker_->err(), " on cpu");
        sleep_ms(1'000);
        EXPECT_EQ(count_of(worker_->err(), " on cpu"), begun) << worker_->err();
    }

    void expect_it_goes_on() {
        EXPECT_TRUE(server_->says("resumed: the database can be written again", 20))
            << server_->err();
        EXPECT_EQ(client_->wait(60), 0) << client_->err() << server_->err();
        expect_each_cell_once(16);
        EXPECT_EQ(number("SELECT MAX(attempt) FROM jobs"), 1) << "a job was done twice";
        EXPECT_EQ(query("PRAGMA integrity_check").rows.at(0).at(0).text, "ok");
        EXPECT_TRUE(query("PRAGMA foreign_key_check").rows.empty());
    }

    fs::path disk_;
    bool mounted_ = false;
    std::unique_ptr<Program> worker_;
    std::unique_ptr<Program> client_;
};

TEST_F(Database, AFullDiskStopsDispatchUntilThereIsRoom) {
    if (!small_disk("size=4m")) {
        GTEST_SKIP() << "mounting needs root";
    }
    serve();
    begin("full");
    {
        std::ofstream filler(disk_ / "filler", std::ios::binary);
        const std::vector<char> block(4'096, 'x');
        while (filler.write(block.data(), static_cast<std::streamsize>(block.size())).flush()) {
        }
    }
    // What the log has room for is overwritten in place; the first page beyond it says so.
    ASSERT_TRUE(server_->says("stopped: ", 20)) << server_->err();
    EXPECT_NE(server_->err().find("disk is full"), std::string::npos) << server_->err();
    EXPECT_NE(server_->err().find("bitsweep.db"), std::string::npos);
    EXPECT_NE(state().find("disk is full"), std::string::npos) << state();
    expect_nothing_begins();
    fs::remove(disk_ / "filler");
    expect_it_goes_on();
}

TEST_F(Database, AFileThatLostItsNameStopsDispatchUntilItIsBack) {
    serve();
    begin("moved");
    fs::rename(folder_ / "bitsweep.db", folder_ / "elsewhere.db");
    ASSERT_TRUE(server_->says("stopped: ", 20)) << server_->err();
    EXPECT_NE(server_->err().find("moved, removed or replaced"), std::string::npos)
        << server_->err();
    expect_nothing_begins();
    fs::rename(folder_ / "elsewhere.db", folder_ / "bitsweep.db");
    expect_it_goes_on();
}

TEST_F(Database, ALockOfAnotherToolStopsDispatchUntilItIsGone) {
    if (!fs::exists(shell)) {
        GTEST_SKIP() << "no sqlite3 shell";
    }
    serve();
    begin("locked");
    Program other(folder_, {shell, "bitsweep.db", "BEGIN EXCLUSIVE", ".shell sleep 7", "ROLLBACK"});
    ASSERT_TRUE(server_->says("stopped: ", 20)) << server_->err();
    EXPECT_NE(server_->err().find("locked"), std::string::npos) << server_->err();
    EXPECT_NE(state().find("locked"), std::string::npos) << state();
    expect_nothing_begins();
    EXPECT_EQ(other.wait(20), 0) << other.err();
    expect_it_goes_on();
}

TEST_F(Database, AFileThatMayNotBeChangedStopsDispatchUntilItMay) {
    serve();
    begin("frozen");
    const auto freeze = [&](bool on) {
        const int file = open((folder_ / "bitsweep.db-wal").c_str(), O_RDONLY | O_CLOEXEC);
        int flags = 0;
        const bool read = ioctl(file, FS_IOC_GETFLAGS, &flags) == 0;
        flags = on ? flags | FS_IMMUTABLE_FL : flags & ~FS_IMMUTABLE_FL;
        const bool done = read && ioctl(file, FS_IOC_SETFLAGS, &flags) == 0;
        close(file);
        return done;
    };
    if (!freeze(true)) {
        GTEST_SKIP() << "this file system, or this user, freezes no file";
    }
    const bool said = server_->says("stopped: ", 20);
    if (said) {
        EXPECT_NE(state().find("stopped: "), std::string::npos) << state();
        expect_nothing_begins();
    }
    ASSERT_TRUE(freeze(false));
    ASSERT_TRUE(said) << server_->err();
    expect_it_goes_on();
}

TEST_F(Database, AReadOnlyDiskIsRefusedAtTheStartAndTheWorkGoesOnWhenItIsWritable) {
    if (!small_disk("size=16m")) {
        GTEST_SKIP() << "mounting needs root";
    }
    serve();
    begin("read-only");
    kill_server();
    ASSERT_EQ(mount("none", disk_.c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr), 0);
    const Ended refused = bitsweep(folder_, {"serve", "--listen", url_});
    EXPECT_EQ(refused.code, 2) << refused.err;
    EXPECT_NE(refused.err.find("bitsweep.db"), std::string::npos) << refused.err;
    EXPECT_NE(refused.err.find("ead-only"), std::string::npos) << refused.err;
    ASSERT_EQ(mount("none", disk_.c_str(), nullptr, MS_REMOUNT, nullptr), 0);
    serve(url_);
    EXPECT_EQ(client_->wait(60), 0) << client_->err() << server_->err();
    expect_each_cell_once(16);
}

}  // namespace
}  // namespace bitsweep
