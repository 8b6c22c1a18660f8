// What a flag names as an output: never a database, never half a file.
#include "coordinator/cli/output_file.h"

#include <gtest/gtest.h>

#include <fstream>

#include "tests/temp_folder.h"

namespace bitsweep {
namespace {

namespace fs = std::filesystem;

class OutputFile : public testing::Test {
 protected:
    fs::path write(const std::string& name, const std::string& text) {
        std::ofstream(folder_ / name, std::ios::binary) << text;
        return folder_ / name;
    }
    static std::string read(const fs::path& file) {
        std::ifstream stream(file, std::ios::binary);
        return {std::istreambuf_iterator<char>(stream), {}};
    }

    TempFolder folder_;
};

std::string words_of(const Status& status) {
    return status ? "" : status.error().message;
}

TEST_F(OutputFile, ADatabaseIsRefusedAndStaysWhatItIs) {
    const std::string content = std::string("SQLite format 3\0", 16) + "results of a week";
    const fs::path db = write("a.db", content);
    EXPECT_NE(words_of(write_output("-o", db, "<html>")).find("is a database"), std::string::npos);
    EXPECT_EQ(read(db), content);
    fs::create_symlink(db, folder_ / "link.html");
    EXPECT_FALSE(write_output("-o", folder_ / "link.html", "<html>"));
    EXPECT_EQ(read(db), content);
}

TEST_F(OutputFile, WhereNoFileCanBeIsSaidBeforeAnythingIsWritten) {
    EXPECT_NE(
        words_of(check_output("--report", folder_ / "none/x.html")).find("there is no folder"),
        std::string::npos);
    EXPECT_NE(words_of(check_output("--report", folder_)).find("is a folder"), std::string::npos);
    EXPECT_NE(words_of(check_output("--report", "")).find("--report: an empty name"),
              std::string::npos);
    EXPECT_TRUE(check_output("--report", folder_ / "x.html"));
    EXPECT_FALSE(fs::exists(folder_ / "x.html"));
}

TEST_F(OutputFile, ALinkStaysALinkAndADeviceADevice) {
    const fs::path target = write("target.html", "old");
    fs::create_symlink(target, folder_ / "link.html");
    ASSERT_TRUE(write_output("-o", folder_ / "link.html", "new"));
    EXPECT_TRUE(fs::is_symlink(folder_ / "link.html"));
    EXPECT_EQ(read(target), "new");
    ASSERT_TRUE(write_output("-o", "/dev/null", "new"));
    EXPECT_TRUE(fs::is_character_file("/dev/null"));
    EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 2);  // no draft is left
}

}  // namespace
}  // namespace bitsweep
