#include "schemas/content.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "tests/temp_folder.h"

namespace bitsweep {
namespace {

namespace fs = std::filesystem;

// A folder of the test's own, removed at its end.
class Content : public ::testing::Test {
 protected:
    void write(const std::string& name, const std::string& bytes) {
        fs::create_directories((folder_ / name).parent_path());
        std::ofstream(folder_ / name, std::ios::binary) << bytes;
    }
    std::vector<fs::path> dirs() const { return {folder_ / "a", folder_ / "b"}; }

    TempFolder folder_;
};

TEST_F(Content, Sha256IsThePublishedOne) {
    // FIPS 180-2, appendix B.1.
    EXPECT_EQ(sha256_hex("abc"),
              "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST_F(Content, FileDigestIsBlake2b256AcrossBufferBoundaries) {
    write("abc", "abc");
    // b2sum -l 256
    EXPECT_EQ(*file_digest(folder_ / "abc"),
              "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
    write("big", std::string((1u << 20) + 1, 'x'));
    write("bigger", std::string((1u << 20) + 2, 'x'));
    EXPECT_NE(*file_digest(folder_ / "big"), *file_digest(folder_ / "bigger"));
}

TEST_F(Content, AFileThatIsNotThereHasNoDigestAndSaysWhy) {
    const Result<std::string> digest = file_digest(folder_ / "nothing");
    ASSERT_FALSE(digest.ok());
    EXPECT_EQ(digest.error().code, ErrorCode::not_found);
    EXPECT_NE(digest.error().message.find("No such file"), std::string::npos);
    EXPECT_EQ(file_digest(folder_).error().code, ErrorCode::io);
}

TEST_F(Content, TheDigestOfAFolderFollowsItsModelFilesAndNothingElse) {
    write("a/m/config.json", "{}");
    write("a/m/model.safetensors", "weights");
    write("a/m/tokenizer.json", "{1}");
    const std::string before = *model_digest(folder_ / "a/m");
    write("a/m/README.md", "words");
    write("a/m/generation_config.json", "{}");
    EXPECT_EQ(*model_digest(folder_ / "a/m"), before);
    write("a/m/model.safetensors", "weightz");
    const std::string other = *model_digest(folder_ / "a/m");
    EXPECT_NE(other, before);
    write("a/m/tokenizer.json", "{2}");
    EXPECT_NE(*model_digest(folder_ / "a/m"), other);
    write("a/m/model.safetensors", "weights");
    write("a/m/tokenizer.json", "{1}");
    EXPECT_EQ(*model_digest(folder_ / "a/m"), before);
    write("a/m/model.safetensors.index.json", "{}");
    EXPECT_NE(*model_digest(folder_ / "a/m"), before);
}

TEST_F(Content, TheDigestOfAFolderDoesNotDependOnWhereItLies) {
    for (const char* where : {"a", "b"}) {
        write(std::string(where) + "/m/config.json", "{}");
        write(std::string(where) + "/m/model.safetensors", "weights");
        write(std::string(where) + "/tokenizer.json", "{1}");
    }
    const std::string digest = *model_digest(folder_ / "a/m");
    EXPECT_EQ(*model_digest(folder_ / "b/m"), digest);
    EXPECT_EQ(*model_digest(folder_ / "b/m/"), digest);
    // The parent's tokenizer counts as the folder's own.
    write("b/m/tokenizer.json", "{1}");
    EXPECT_EQ(*model_digest(folder_ / "b/m"), digest);
    write("b/m/tokenizer.json", "{2}");
    EXPECT_NE(*model_digest(folder_ / "b/m"), digest);
}

TEST_F(Content, AFolderWithoutAModelSaysWhatIsExpected) {
    fs::create_directories(folder_ / "empty/inner");
    const Result<std::string> digest = model_digest(folder_ / "empty/inner");
    ASSERT_FALSE(digest.ok());
    EXPECT_NE(digest.error().message.find("expected config.json and *.safetensors"),
              std::string::npos);
}

TEST_F(Content, ModelsAreFoundAsFoldersAndAsGgufFilesWithoutCaseAndInTheOrderOfTheFolders) {
    write("a/Llama-Nano/config.json", "{}");
    write("a/SmolLM2-135M.gguf", "GGUF");
    write("a/packed/weights.Q8_0.gguf", "GGUF");
    write("a/not-a-model/readme.txt", "");
    write("b/llama-nano/config.json", "{}");
    write("b/only-in-b/config.json", "{}");
    EXPECT_EQ(*find_model("llama-nano", dirs()), folder_ / "a/Llama-Nano");
    EXPECT_EQ(*find_model("smollm2-135m", dirs()), folder_ / "a/SmolLM2-135M.gguf");
    EXPECT_EQ(*find_model("packed", dirs()), folder_ / "a/packed/weights.Q8_0.gguf");
    EXPECT_EQ(*find_model("ONLY-in-b", dirs()), folder_ / "b/only-in-b");
    EXPECT_EQ(list_models(dirs()), (std::vector<std::string>{"Llama-Nano", "SmolLM2-135M",
                                                             "llama-nano", "only-in-b", "packed"}));
    EXPECT_FALSE(find_model("not-a-model", dirs()).ok());
}

TEST_F(Content, AModelThatIsNotThereNamesTheFoldersAndTheNearestName) {
    write("a/llama-nano/config.json", "{}");
    const Result<fs::path> found = find_model("llama-nan0", dirs());
    ASSERT_FALSE(found.ok());
    EXPECT_EQ(found.error().code, ErrorCode::not_found);
    EXPECT_EQ(found.error().message, "model 'llama-nan0' is not in " + (folder_ / "a").string() +
                                         ", " + (folder_ / "b").string() +
                                         "; the nearest name there is 'llama-nano'");
    EXPECT_EQ(find_model("x", {}).error().message,
              "model 'x' is not in any folder: none was given");
}

TEST_F(Content, NamesThatLeaveTheFolderAreRefused) {
    write("secret.txt", "x");
    write("a/x/config.json", "{}");
    for (const char* name : {"../secret", "..", ".", "", "/etc/passwd", "x/../../b", "a\\b"}) {
        const Result<fs::path> text = find_text(name, dirs());
        ASSERT_FALSE(text.ok()) << name;
        EXPECT_EQ(text.error().code, ErrorCode::invalid_input) << name;
        EXPECT_EQ(find_model(name, dirs()).error().code, ErrorCode::invalid_input) << name;
    }
}

TEST_F(Content, TextsAreFoundByNameAndMissingOnesNameTheNearest) {
    write("b/heldout-fiction.txt", "words");
    EXPECT_EQ(*find_text("heldout-fiction", dirs()), folder_ / "b/heldout-fiction.txt");
    EXPECT_NE(find_text("heldout-fictoin", dirs())
                  .error()
                  .message.find("the nearest name there is 'heldout-fiction'"),
              std::string::npos);
}

TEST_F(Content, TheEnvironmentComesBeforeTheFoldersOfTheProgram) {
    fs::create_directories(folder_ / "mine");
    const std::string list = ":" + (folder_ / "mine").string() + ":/does/not/exist:";
    ASSERT_EQ(setenv("BITSWEEP_MODELS", list.c_str(), 1), 0);
    const std::vector<fs::path> found = default_model_dirs();
    ASSERT_EQ(unsetenv("BITSWEEP_MODELS"), 0);
    ASSERT_FALSE(found.empty());
    EXPECT_EQ(found[0], folder_ / "mine");
    for (const fs::path& dir : found) {
        EXPECT_TRUE(fs::is_directory(dir)) << dir;
    }
}

}  // namespace
}  // namespace bitsweep
