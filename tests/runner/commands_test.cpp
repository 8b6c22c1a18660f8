// The commands that people type: logits, generate, quantize, bench, capabilities; usage errors.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <variant>

#include "schemas/catalog/methods.h"
#include "schemas/codec.h"
#include "tests/runner/support.h"
#include "worker/metrics/quality.h"
#include "worker/runner/safetensors_writer.h"

namespace bitsweep::test {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

const std::vector<std::string> models = {"llama-pico", "llama-nano", "llama-micro", "gpt2-nano",
                                         "opt-nano"};

std::string joined(const std::vector<std::int32_t>& ids) {
    std::string text;
    for (const std::int32_t id : ids) {
        text += (text.empty() ? "" : ",") + std::to_string(id);
    }
    return text;
}

struct Distance {
    double largest = 0;  // of the absolute differences
    double kl = 0;       // mean over positions
};

// Logits of the CLI against the committed ones of transformers, on the same ids.
Distance distance_of(const std::string& model, const std::string& method) {
    const fs::path vectors = source_dir() / "tests/inference/vectors/models";
    const auto reference = read_safetensors(vectors / model / "reference.safetensors");
    const auto ids = reference.at("input_ids").ints();
    const auto wanted = reference.at("logits").floats();
    const TempFolder folder;
    const fs::path file = folder.path() / "logits.safetensors";
    const Ended ended = runner({"logits", "--model", model_path(model), "--ids", joined(ids),
                                "--method", method, "-o", file});
    EXPECT_EQ(0, ended.exit_code) << ended.err;
    EXPECT_EQ("", ended.out);
    const Tensor logits = read_safetensors(file).at("logits");
    EXPECT_EQ(reference.at("logits").shape, logits.shape);
    const auto got = logits.floats();
    EXPECT_EQ(wanted.size(), got.size());
    Distance distance;
    for (std::size_t i = 0; i < std::min(wanted.size(), got.size()); ++i) {
        distance.largest = std::max(distance.largest, std::abs(double{wanted[i]} - got[i]));
    }
    const std::int64_t vocabulary = logits.shape.at(1);
    for (std::int64_t row = 0; row < logits.shape[0]; ++row) {
        distance.kl += score_position(wanted.data() + row * vocabulary,
                                      got.data() + row * vocabulary, vocabulary, 0)
                           .kl /
                       static_cast<double>(logits.shape[0]);
    }
    return distance;
}

TEST(Logits, OfFp32AreThoseOfTransformersForEveryTrainedModel) {
    for (const std::string& model : models) {
        const Distance distance = distance_of(model, "fp32");
        EXPECT_LE(distance.largest, 1e-3) << model;
        EXPECT_LE(distance.kl, 1e-9) << model;
    }
}

TEST(Logits, OfFp16AreCloseAndOfFourBitsAreNotTheSame) {
    for (const std::string& model : models) {
        EXPECT_LT(distance_of(model, "fp16").kl, 1e-4) << model;
    }
    EXPECT_GT(distance_of("llama-nano", "int4-g64").kl, 1e-3);
}

TEST(Generate, ChoosesTheGreedyIdsOfTransformersForEveryTrainedModelAndPrompt) {
    std::ifstream file(source_dir() / "tests/inference/vectors/models/reference.json");
    const Json reference = Json::parse(file);
    for (const std::string& model : models) {
        for (const auto& [prompt, wanted] : reference["models"][model]["greedy"].items()) {
            const Ended ended =
                runner({"generate", "--model", model_path(model), "--prompt", prompt,
                        "--new-tokens", "32", "--method", "fp32", "--format", "json"});
            ASSERT_EQ(0, ended.exit_code) << ended.err;
            const Json got = Json::parse(ended.out, nullptr, false);
            ASSERT_TRUE(got.is_object()) << ended.out;
            EXPECT_EQ(wanted["prompt_ids"], got["prompt_ids"]) << model << ": " << prompt;
            EXPECT_EQ(wanted["new_ids"], got["new_ids"]) << model << ": " << prompt;
            EXPECT_EQ(wanted["text"], got["text"]) << model << ": " << prompt;
        }
    }
}

TEST(Generate, PrintsPromptAndTextForPeople) {
    const Ended ended = runner({"generate", "--model", model_path("llama-nano"), "--prompt",
                                "Hello, how are you?", "--new-tokens", "4"});
    EXPECT_EQ(0, ended.exit_code) << ended.err;
    EXPECT_EQ("Hello, how are you? You are not a\n", ended.out);
}

TEST(Quantize, WritesCodesScalesAndTheWeightTheyStandFor) {
    const TempFolder folder;
    const fs::path file = folder.path() / "layer.safetensors";
    const std::string layer = "model.layers.2.mlp.down_proj";
    const Ended ended = runner({"quantize", "--model", model_path("llama-nano"), "--method", "int8",
                                "--layer", layer, "-o", file});
    ASSERT_EQ(0, ended.exit_code) << ended.err;
    const auto packed = read_safetensors(file);
    const Tensor& weight = packed.at("dequantized");
    const std::vector<std::int64_t> shape = {128, 384};
    EXPECT_EQ(shape, weight.shape);
    EXPECT_EQ("U8", packed.at("codes").dtype);
    EXPECT_FALSE(packed.at("codes").bytes.empty());
    const auto scales = packed.at("scales").floats();
    ASSERT_EQ(128U, scales.size());
    // Symmetric per output channel: every value is code x scale with |code| <= 127.
    const auto values = weight.floats();
    for (std::size_t row = 0; row < 128; ++row) {
        for (std::size_t column = 0; column < 384; ++column) {
            const double steps = values[row * 384 + column] / scales[row];
            ASSERT_NEAR(std::round(steps), steps, 1e-3);
            ASSERT_LE(std::abs(steps), 127.001);
        }
    }
}

TEST(Quantize, AMethodHasAsManyScalesAsItNeeds) {
    const TempFolder folder;
    const fs::path file = folder.path() / "layer.safetensors";
    const std::vector<std::pair<std::string, std::size_t>> scales_of = {
        {"fp32", 0}, {"fp16", 0}, {"fp8", 1}, {"fp8-channel", 128}, {"nf4", 768}};
    for (const auto& [method, scales] : scales_of) {
        const Ended ended = runner({"quantize", "--model", model_path("llama-nano"), "--method",
                                    method, "--layer", "model.layers.2.mlp.down_proj", "-o", file});
        ASSERT_EQ(0, ended.exit_code) << method << ": " << ended.err;
        EXPECT_EQ(scales, read_safetensors(file).at("scales").floats().size()) << method;
    }
}

TEST(Quantize, OfALayerThatIsNotThereNamesANearOne) {
    const Ended ended = runner({"quantize", "--model", model_path("llama-nano"), "--method", "int8",
                                "--layer", "model.layers.2.mlp.down_pro", "-o", "/dev/null"});
    EXPECT_EQ(2, ended.exit_code);
    EXPECT_NE(std::string::npos, ended.err.find("down_proj")) << ended.err;
}

Ended shortest_bench(const std::string& model, const std::string& weights,
                     const std::string& methods) {
    return runner({"bench", "--device", "cpu", "--model", model, "--weights", weights, "--json",
                   "--methods", methods, "--threads", "1", "--rounds", "1", "--tokens", "1",
                   "--prefill", "1"});
}

// The JSON object of the last line.
Json figures_of(const std::string& out) {
    return Json::parse(out.substr(out.rfind('\n', out.size() - 2) + 1), nullptr, false);
}

TEST(Bench, AllIsOneOfEveryMethodThatRunsHereAndTheFirstIsToldOnce) {
    const Ended ended = shortest_bench("llama-pico", "random", "fp16,all");
    ASSERT_EQ(0, ended.exit_code) << ended.err;
    for (const MethodRow& row : method_table()) {
        if (row.family == MethodFamily::mixed) {
            continue;
        }
        const std::string begin(row.id.substr(0, row.id.find_first_of("BN")));
        EXPECT_NE(std::string::npos, ended.out.find(" " + begin)) << row.id;
    }
    const std::size_t first = ended.out.find("llama-pico     fp16 ");
    ASSERT_NE(std::string::npos, first);
    EXPECT_EQ(std::string::npos, ended.out.find("llama-pico     fp16 ", first + 1));
}

TEST(Bench, ARowSaysOnHowManyTokensItsMethodCalibrated) {
    const std::string methods = "fp16,smoothquant-o2,smoothquant-o3,gptq-int4-g64,awq-int4-g64";
    const auto tokens_of = [](const Json& figures, const std::string& model,
                              const std::string& method) {
        return figures.at(model + "/" + method + "/head8/t1/calibration_tokens").get<int>();
    };
    const Ended random = shortest_bench("llama-pico", "random", methods);
    ASSERT_EQ(0, random.exit_code) << random.err;
    const Json drawn = figures_of(random.out);
    EXPECT_EQ(0, tokens_of(drawn, "llama-pico", "fp16"));
    EXPECT_EQ(0, tokens_of(drawn, "llama-pico", "gptq-int4-g64"));  // its codes need none
    EXPECT_EQ(32, tokens_of(drawn, "llama-pico", "smoothquant-o3"));

    const std::string model = model_path("llama-pico");
    const Ended trained = shortest_bench(model, "real", methods);
    ASSERT_EQ(0, trained.exit_code) << trained.err;
    const Json read = figures_of(trained.out);
    EXPECT_EQ(0, tokens_of(read, model, "fp16"));
    for (const char* method :
         {"smoothquant-o2", "smoothquant-o3", "gptq-int4-g64", "awq-int4-g64"}) {
        EXPECT_EQ(32, tokens_of(read, model, method)) << method;
    }
}

TEST(Bench, AMethodThatCannotCalibrateIsLeftOutOfAllAndRefusedByName) {
    const fs::path model = source_dir() / "tests/inference/vectors/families/opt-post-norm";
    const Ended all = shortest_bench(model, "real", "fp16,all");
    EXPECT_EQ(0, all.exit_code) << all.err;
    EXPECT_EQ(std::string::npos, all.out.find(" smoothquant"));
    EXPECT_NE(std::string::npos, all.out.find(" gptq-int4-g64 "));  // folds nothing into a norm
    EXPECT_NE(std::string::npos, all.err.find("leaving out smoothquant-o3: ")) << all.err;
    const Ended named = shortest_bench(model, "real", "fp16,smoothquant-o3");
    EXPECT_NE(0, named.exit_code);
    EXPECT_NE(std::string::npos, named.err.find("folds scales into norms")) << named.err;
}

TEST(Bench, PrintsOneRowForEachMethodAndNamedFiguresOnTheLastLine) {
    const Ended ended = runner({"bench", "--device", "cpu", "--model", model_path("llama-nano"),
                                "--methods", "fp16,w8a8", "--threads", "1", "--rounds", "1",
                                "--tokens", "4", "--prefill", "16", "--head", "8", "--json"});
    ASSERT_EQ(0, ended.exit_code) << ended.err;
    std::istringstream lines(ended.out);
    std::vector<std::string> rows;
    for (std::string line; std::getline(lines, line);) {
        rows.push_back(line);
    }
    ASSERT_EQ(4U, rows.size()) << ended.out;  // heading, two rows, the object
    EXPECT_NE(std::string::npos, rows[2].find("8 bits")) << rows[2];
    const Json figures = Json::parse(rows.back(), nullptr, false);
    ASSERT_TRUE(figures.is_object());
    const std::string name = model_path("llama-nano").string() + "/w8a8/head8/t1/";
    EXPECT_GT(figures[name + "decode_tokens_per_s"].get<double>(), 0);
    EXPECT_GT(figures[name + "prefill_tokens_per_s"].get<double>(), 0);
    EXPECT_GT(figures[name + "read_bandwidth"].get<double>(), 1e8);
    EXPECT_EQ(1, figures[name + "rounds_activations"].get<int>());
    EXPECT_GT(figures[name + "over_fp16"].get<double>(), 0);
}

TEST(Capabilities, AreAHelloMessageWithTheDeviceAndTheModelsFound) {
    const Ended ended = runner({"capabilities", "--models", source_dir() / "experiments/models"});
    ASSERT_EQ(0, ended.exit_code) << ended.err;
    const auto message = message_from_json(ended.out);
    ASSERT_TRUE(message.ok()) << message.error().message;
    const auto* hello = std::get_if<Hello>(&*message);
    ASSERT_NE(nullptr, hello);
    ASSERT_EQ(1U, hello->devices.size());
    EXPECT_EQ("cpu", hello->devices[0].id);
    EXPECT_GT(hello->devices[0].memory_bytes, std::uint64_t{1} << 28);
    EXPECT_GT(hello->devices[0].free_bytes, 0U);
    EXPECT_TRUE(hello->devices[0].facts.contains("isa"));
    for (const std::string& model : models) {
        EXPECT_TRUE(std::count(hello->models.begin(), hello->models.end(), model)) << model;
    }
}

TEST(Perplexity, OfAMethodStandsBesideThatOfFp32) {
    const auto figures_of = [](const std::string& method) {
        const Ended ended = runner({"perplexity", "--model", model_path("llama-pico"), "--method",
                                    method, "--data", source_dir() / "experiments/data", "--tokens",
                                    "512", "--window", "128", "--format", "json"});
        EXPECT_EQ(0, ended.exit_code) << ended.err;
        return Json::parse(ended.out, nullptr, false);
    };
    const Json same = figures_of("fp32");
    ASSERT_TRUE(same.is_object());
    EXPECT_EQ(508, same["tokens"]);  // 4 windows, each scored from its second token
    EXPECT_EQ(same["perplexity"], same["perplexity_fp32"]);
    EXPECT_NEAR(0, same["kl_mean"].get<double>(), 1e-12);
    EXPECT_EQ(1.0, same["top1_agreement"]);
    const Json rounded = figures_of("int3-g64");
    ASSERT_TRUE(rounded.is_object());
    EXPECT_EQ(same["perplexity_fp32"], rounded["perplexity_fp32"]);
    EXPECT_GT(rounded["kl_mean"].get<double>(), 1e-4);
    EXPECT_LT(rounded["top1_agreement"].get<double>(), 1.0);
}

// ---- usage: exit code 2, one line that says what to do

void expect_usage_error(const Ended& ended, const std::string& words) {
    EXPECT_EQ(2, ended.exit_code) << ended.err;
    EXPECT_EQ("", ended.out);
    EXPECT_NE(std::string::npos, ended.err.find(words)) << ended.err;
    EXPECT_EQ(1, std::count(ended.err.begin(), ended.err.end(), '\n')) << ended.err;
}

TEST(Usage, AThresholdBelowZeroIsRefused) {
    expect_usage_error(runner({"logits", "--model", model_path("llama-pico"), "--ids", "1",
                               "--method", "llmint8-bnb", "--threshold", "-1", "-o", "/dev/null"}),
                       "threshold is -1");
}

TEST(Usage, AThresholdForAMethodThatReadsNoneIsRefused) {
    expect_usage_error(runner({"logits", "--model", model_path("llama-pico"), "--ids", "1",
                               "--method", "nf4", "--threshold", "6", "-o", "/dev/null"}),
                       "reads no threshold");
}

TEST(Usage, BitsThatNoMethodHasAreRefused) {
    expect_usage_error(runner({"generate", "--model", model_path("llama-pico"), "--prompt", "x",
                               "--method", "int9-g64"}),
                       "int9-g64");
    expect_usage_error(runner({"generate", "--model", model_path("llama-pico"), "--prompt", "x",
                               "--method", "int8", "--head", "9"}),
                       "16, 8 or 4");
}

TEST(Usage, TokenIdsThatAreNoListOrOutsideTheVocabularyAreRefused) {
    for (const char* ids : {"1,,2", "1,2,", "one", "1;2", "99999999999"}) {
        expect_usage_error(runner({"logits", "--model", model_path("llama-pico"), "--ids", ids,
                                   "-o", "/dev/null"}),
                           "--ids");
    }
    expect_usage_error(
        runner({"logits", "--model", model_path("llama-pico"), "--ids", "4096", "-o", "/dev/null"}),
        "4096");
}

TEST(Usage, ATextThatIsNotThereOrTooShortIsNamed) {
    expect_usage_error(
        runner({"perplexity", "--model", model_path("llama-pico"), "--text", "no-such-text"}),
        "no-such-text");
    expect_usage_error(runner({"perplexity", "--model", model_path("llama-pico"), "--tokens", "1"}),
                       "--tokens");
    expect_usage_error(runner({"bench", "--model", model_path("llama-pico"), "--head", "5"}),
                       "--head");
    expect_usage_error(runner({"generate", "--model", model_path("llama-pico"), "--prompt", "x",
                               "--decode", "fast"}),
                       "--decode");
}

TEST(Usage, ADeviceThatThisBuildLacksIsRefused) {
    expect_usage_error(runner({"generate", "--model", model_path("llama-pico"), "--prompt", "x",
                               "--device", "cuda:7"}),
                       "cuda:7");
}

TEST(Usage, AnUnknownCommandOptionOrModelIsNamed) {
    expect_usage_error(runner({"logit"}), "logit");
    expect_usage_error(runner({"logits", "--modle", "x"}), "--modle");
    expect_usage_error(runner({"generate", "--model", "/no/such/folder", "--prompt", "x"}),
                       "/no/such/folder");
}

TEST(Usage, AnOutputThatCannotBeWrittenLeavesNoFile) {
    const Ended ended = runner({"logits", "--model", model_path("llama-pico"), "--ids", "1", "-o",
                                "/no/such/folder/x.safetensors"});
    EXPECT_EQ(1, ended.exit_code);
    EXPECT_NE(std::string::npos, ended.err.find("/no/such/folder")) << ended.err;
}

TEST(Usage, HelpAndVersionGoToStandardOutput) {
    for (const char* command : {"job", "logits", "generate", "quantize", "bench", "capabilities"}) {
        const Ended help = runner({command, "--help"});
        EXPECT_EQ(0, help.exit_code) << command;
        EXPECT_NE(std::string::npos, help.out.find("usage: bitsweep-runner")) << command;
        EXPECT_EQ("", help.err) << command;
    }
    EXPECT_EQ(0, runner({"--version"}).exit_code);
}

// ---- the job command's own edges

TEST(JobCommand, EndsWithZeroAtTheEndOfItsInput) {
    const Ended ended = shell("exec \"$RUNNER\" job\n");
    EXPECT_EQ(0, ended.exit_code) << ended.err;
    EXPECT_EQ("", ended.results);
}

TEST(JobCommand, RefusesALineThatIsNoDispatch) {
    for (const char* line : {"{", "{}", "[1]", "{\"protocol\":4,\"type\":\"drain\"}",
                             "{\"protocol\":99,\"type\":\"drain\"}"}) {
        const Ended ended = shell("exec \"$RUNNER\" job\n", std::string(line) + "\n");
        expect_usage_error(ended, "line 1");
        EXPECT_EQ("", ended.results) << line;
    }
}

TEST(JobCommand, WithoutItsResultDescriptorSaysHowToGiveOne) {
    expect_usage_error(shell("exec \"$RUNNER\" job 3>&-\n"), "3>FILE");
}

TEST(JobCommand, EndsPromptlyOnSigterm) {
    const Ended ended = shell(
        "mkfifo \"$0.pipe\"\n"
        "\"$RUNNER\" job < \"$0.pipe\" & pid=$!\n"
        "exec 9> \"$0.pipe\"\n"
        "sleep 0.5; kill -TERM $pid; wait $pid; echo $?\n");
    EXPECT_EQ("143\n", ended.out) << ended.err;
}

TEST(JobCommand, ThatLosesItsReaderSaysSoAndEnds) {
    const std::string line = to_json(Message(dispatch_of(job_of("llama-pico", "fp16")))) + "\n";
    const Ended ended = shell("\"$RUNNER\" job 3> >(exec 0<&-; sleep 0)\necho $?\n", line);
    EXPECT_EQ("1\n", ended.out) << ended.err;
    EXPECT_NE(std::string::npos, ended.err.find("descriptor 3")) << ended.err;
}

TEST(Quantize, OfAMethodThatCalibratesIsRefusedWithoutACalibration) {
    for (const char* method : {"gptq-int4-g64", "smoothquant-o1", "awq-int4-g64"}) {
        expect_usage_error(
            runner({"quantize", "--model", model_path("llama-pico"), "--method", method, "--layer",
                    "model.layers.0.mlp.down_proj", "-o", "/nonexistent/x.safetensors"}),
            "needs a calibration on a text");
    }
}

TEST(Quantize, WritesIntoPipesAndBehindLinksAndReplacesNeither) {
    const std::string command = "\"$RUNNER\" quantize --model " +
                                model_path("llama-pico").string() +
                                " --method nf4 --layer model.layers.0.mlp.down_proj -o ";
    const Ended ended = shell("set -e; cd $(mktemp -d); mkfifo pipe; cat pipe >got & " + command +
                              "pipe; wait; test -p pipe; mkdir far; echo old >far/file; ln -s "
                              "far/file link; " +
                              command + "link; test -L link; cmp got far/file; echo same");
    EXPECT_EQ(0, ended.exit_code) << ended.err;
    EXPECT_EQ("same\n", ended.out);
}

TEST(Usage, AnAnswerThatDoesNotFitOnTheDiskIsAnError) {
    const Ended ended = shell("\"$RUNNER\" capabilities >/dev/full");
    EXPECT_EQ(1, ended.exit_code);
    EXPECT_NE(std::string::npos, ended.err.find("took only part of the answer")) << ended.err;
}

// ---- the safetensors writer

TEST(SafetensorsWriter, WritesWhatAReaderReadsBackAligned) {
    const TempFolder folder;
    const fs::path file = folder.path() / "x.safetensors";
    const std::vector<float> values = {1.5F, -2, 3};
    const std::vector<std::uint8_t> codes = {7};
    ASSERT_TRUE(write_safetensors(file,
                                  {{"codes", "U8", {1}, std::as_bytes(std::span(codes))},
                                   {"values", "F32", {3, 1}, std::as_bytes(std::span(values))}},
                                  {{"note", "a \"quoted\" word"}}));
    const auto tensors = read_safetensors(file);
    EXPECT_EQ(values, tensors.at("values").floats());
    EXPECT_EQ(std::byte{7}, tensors.at("codes").bytes.at(0));
    std::ifstream in(file, std::ios::binary);
    std::uint64_t length = 0;
    in.read(reinterpret_cast<char*>(&length), sizeof length);
    EXPECT_EQ(0U, length % 8);
    EXPECT_FALSE(fs::exists(file.string() + ".partial"));
}

TEST(SafetensorsWriter, RefusesAShapeThatDisagreesWithTheBytes) {
    const std::vector<float> values = {1, 2, 3};
    const Status status =
        write_safetensors("/dev/null", {{"x", "F32", {2}, std::as_bytes(std::span(values))}}, {});
    ASSERT_FALSE(status);
    EXPECT_EQ(ErrorCode::invalid_input, status.error().code);
}

}  // namespace
}  // namespace bitsweep::test
