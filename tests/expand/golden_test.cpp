// Golden files: valid/*.yaml beside what they expand to (*.cells), invalid/*.yaml that open with
// the message they must give. BITSWEEP_UPDATE_GOLDEN=1 writes both anew: read the difference.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "schemas/codec.h"
#include "tests/expand/files.h"

namespace bitsweep::testing {
namespace {

namespace fs = std::filesystem;

bool updating() {
    return std::getenv("BITSWEEP_UPDATE_GOLDEN") != nullptr;
}

TEST(ExpandGolden, EveryValidFileExpandsToItsCells) {
    const std::vector<fs::path> files = yaml_files("valid");
    EXPECT_GE(files.size(), 60u);
    for (const fs::path& file : files) {
        SCOPED_TRACE(file.filename().string());
        const Result<Expansion> expansion =
            expand_yaml(read_text_file(file), file.filename().string(), {});
        ASSERT_TRUE(expansion.ok()) << expansion.error().message;
        fs::path golden = file;
        golden.replace_extension(".cells");
        const std::string got = describe(*expansion);
        if (updating()) {
            std::ofstream(golden, std::ios::binary) << got;
        }
        EXPECT_EQ(got, read_text_file(golden));
    }
}

TEST(ExpandGolden, EveryWrongFileGivesExactlyTheMessageItOpensWith) {
    const std::vector<fs::path> files = yaml_files("invalid");
    EXPECT_GE(files.size(), 60u);
    for (const fs::path& file : files) {
        SCOPED_TRACE(file.filename().string());
        const std::string text = read_text_file(file);
        const std::string mark = "# want: ";
        ASSERT_TRUE(text.starts_with(mark));
        const std::string want = text.substr(mark.size(), text.find('\n') - mark.size());
        const std::string name = file.filename().string();
        const Result<Expansion> expansion = expand_yaml(text, name, {});
        ASSERT_FALSE(expansion.ok());
        if (updating() && expansion.error().message.starts_with(name + ":")) {
            std::ofstream(file, std::ios::binary)
                << mark << expansion.error().message.substr(name.size() + 1)
                << text.substr(text.find('\n'));
        }
        EXPECT_EQ(expansion.error().message, name + ":" + want);
        EXPECT_EQ(expansion.error().code, ErrorCode::invalid_input);
    }
}

TEST(ExpandGolden, EveryCellOfAValidFileIsAValidJobWithItsOwnKey) {
    for (const fs::path& file : yaml_files("valid")) {
        SCOPED_TRACE(file.filename().string());
        const Expansion expansion = expanded(read_text_file(file));
        for (const Cell& cell : expansion.cells) {
            const Status valid = validate(Noun::job, to_json(cell.spec));
            EXPECT_TRUE(valid.ok()) << (valid.ok() ? "" : valid.error().message);
            EXPECT_EQ(cell.identity.spec_key, spec_key(cell.spec));
        }
    }
}

}  // namespace
}  // namespace bitsweep::testing
