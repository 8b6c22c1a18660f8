// Whatever goes wrong in a job is a result with a class and one line of words.
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/runner/support.h"

namespace bitsweep::test {
namespace {

namespace fs = std::filesystem;

RunResult result_of(const Dispatch& job, const std::string& options = "") {
    const Served served = serve(std::vector{job}, options);
    EXPECT_EQ(0, served.process.exit_code) << served.process.err;
    EXPECT_EQ(1U, served.results.size());
    return served.results.empty() ? RunResult{} : served.results[0];
}

RunResult result_of(const JobSpec& spec) {
    return result_of(dispatch_of(spec));
}

void expect_words(const RunResult& result, OutcomeClass outcome,
                  const std::vector<std::string>& words) {
    EXPECT_EQ(to_string(outcome), to_string(result.outcome.outcome)) << result.outcome.message;
    EXPECT_EQ(std::string::npos, result.outcome.message.find('\n')) << result.outcome.message;
    for (const std::string& word : words) {
        EXPECT_NE(std::string::npos, result.outcome.message.find(word))
            << "wanted '" << word << "' in: " << result.outcome.message;
    }
}

// Overwrites two bytes in the middle of one tensor's data.
void poison(const fs::path& file, const std::string& tensor, std::uint16_t half) {
    std::fstream stream(file, std::ios::binary | std::ios::in | std::ios::out);
    std::uint64_t length = 0;
    stream.read(reinterpret_cast<char*>(&length), sizeof length);
    std::string header(length, '\0');
    stream.read(header.data(), static_cast<std::streamsize>(length));
    const auto facts = nlohmann::json::parse(header)[tensor];
    ASSERT_EQ("F16", facts["dtype"]);
    const std::uint64_t begin = facts["data_offsets"][0];
    const std::uint64_t end = facts["data_offsets"][1];
    const std::uint64_t middle = (begin + end) / 4 * 2;
    stream.seekp(static_cast<std::streamoff>(8 + length + middle));
    stream.write(reinterpret_cast<const char*>(&half), sizeof half);
    ASSERT_TRUE(stream.good());
}

TEST(Failure, ADigestOtherThanTheBoundOneIsRefusedWithBoth) {
    Dispatch job = dispatch_of(job_of("llama-pico", "fp16"));
    job.weights_digest = std::string(64, 'a');
    const RunResult result = result_of(job);
    expect_words(result, OutcomeClass::refused, {std::string(64, 'a'), result.weights_digest});
    EXPECT_TRUE(result.measurements.empty());
}

TEST(Failure, ATextOtherThanTheBoundOneIsRefusedWithBoth) {
    Dispatch job = dispatch_of(job_of("llama-pico", "fp16"));
    job.dataset_digest = std::string(64, 'b');
    const RunResult result = result_of(job);
    expect_words(result, OutcomeClass::refused, {std::string(64, 'b'), result.dataset_digest});
}

TEST(Failure, TheBoundDigestsOfTheSameFilesPass) {
    const JobSpec spec = job_of("llama-pico", "fp16");
    const RunResult first = result_of(spec);
    Dispatch job = dispatch_of(spec);
    job.weights_digest = first.weights_digest;
    job.dataset_digest = first.dataset_digest;
    EXPECT_EQ(OutcomeClass::done, result_of(job).outcome.outcome);
}

TEST(Failure, AnUnknownMethodIsNamed) {
    expect_words(result_of(job_of("llama-pico", "int9-g64")), OutcomeClass::failure, {"int9-g64"});
}

TEST(Failure, AModelThatIsNotThereNamesWhereItWasSearched) {
    JobSpec spec = job_of("llama-pica", "fp16");
    expect_words(result_of(spec), OutcomeClass::failure, {"llama-pica", "llama-pico"});
}

TEST(Failure, ATextThatIsNotThereIsNamed) {
    JobSpec spec = job_of("llama-pico", "fp16");
    spec.quality.text = "no-such-text";
    expect_words(result_of(spec), OutcomeClass::failure, {"no-such-text"});
}

TEST(Failure, APromptLongerThanTheModelsPositionsSaysBothNumbers) {
    JobSpec spec = job_of("llama-pico", "fp16");
    spec.new_tokens = 600;
    expect_words(result_of(spec), OutcomeClass::failure, {"600", "512", "new_tokens"});
}

TEST(Failure, AKvCacheThatNobodyKnowsIsRefusedAtTheDoor) {
    JobSpec spec = job_of("llama-pico", "fp16");
    spec.kv = "int4";
    const Served served = serve(std::vector{dispatch_of(spec)}, "");
    EXPECT_EQ(2, served.process.exit_code);
    EXPECT_TRUE(served.results.empty());
    EXPECT_NE(std::string::npos, served.process.err.find("spec.kv: \"int4\" is refused"))
        << served.process.err;
}

TEST(Failure, ATruncatedWeightFileIsAFailureThatNamesTheFile) {
    const TempFolder folder;
    JobSpec spec = job_of("llama-pico", "fp16");
    spec.model.path = copy_model("llama-pico", folder.path());
    const fs::path file = fs::path(spec.model.path) / "model.safetensors";
    fs::resize_file(file, fs::file_size(file) / 2);
    expect_words(result_of(spec), OutcomeClass::failure, {"model.safetensors"});
}

TEST(Failure, AnEmptyWeightFileIsAFailure) {
    const TempFolder folder;
    JobSpec spec = job_of("llama-pico", "fp16");
    spec.model.path = copy_model("llama-pico", folder.path());
    fs::resize_file(fs::path(spec.model.path) / "model.safetensors", 0);
    expect_words(result_of(spec), OutcomeClass::failure, {"model.safetensors"});
}

TEST(Failure, ANaNInAWeightIsInvalidNumbersAndNamesTheLayer) {
    const TempFolder folder;
    JobSpec spec = job_of("llama-pico", "int8");
    spec.model.path = copy_model("llama-pico", folder.path());
    poison(fs::path(spec.model.path) / "model.safetensors", "model.layers.1.mlp.down_proj.weight",
           0x7e00);
    expect_words(result_of(spec), OutcomeClass::invalid_numbers, {"layers.1.mlp.down_proj"});
}

TEST(Failure, AnInfinityInANormIsInvalidNumbers) {
    const TempFolder folder;
    JobSpec spec = job_of("llama-pico", "fp16");
    spec.model.path = copy_model("llama-pico", folder.path());
    poison(fs::path(spec.model.path) / "model.safetensors", "model.norm.weight", 0x7c00);
    const RunResult result = result_of(spec);
    EXPECT_EQ(to_string(OutcomeClass::invalid_numbers), to_string(result.outcome.outcome))
        << result.outcome.message;
}

TEST(Failure, OfOneJobLeavesTheNextOneUnharmed) {
    const Served served = serve({job_of("llama-pico", "int9-g64"), job_of("llama-pico", "fp16")});
    ASSERT_EQ(2U, served.results.size());
    EXPECT_EQ(OutcomeClass::failure, served.results[0].outcome.outcome);
    EXPECT_EQ(OutcomeClass::done, served.results[1].outcome.outcome);
}

#if !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)  // their shadow memory alone is terabytes of addresses
TEST(Failure, TooLittleMemoryIsAnOutcomeAndTheProcessLives) {
    JobSpec large = job_of("llama-micro", "fp16");  // a KV cache of 6 GiB
    large.batch = 4096;
    large.new_tokens = 500;
    const Served served =
        serve({dispatch_of(large, 1), dispatch_of(job_of("llama-pico", "fp16"), 2)}, "",
              "ulimit -v 4194304\n");
    ASSERT_EQ(2U, served.results.size()) << served.process.err;
    expect_words(served.results[0], OutcomeClass::out_of_memory, {"memory"});
    EXPECT_EQ(OutcomeClass::done, served.results[1].outcome.outcome)
        << served.results[1].outcome.message;
}
#endif

}  // namespace
}  // namespace bitsweep::test
