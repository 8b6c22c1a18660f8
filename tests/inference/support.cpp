#include "tests/inference/support.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <sstream>

#include "worker/inference/safetensors_header.h"

namespace bitsweep::testing_inference {
namespace {

// A test without its model cannot go on.
template <class T>
T value_or_die(Result<T> result, const std::string& what) {
    if (!result.ok()) {
        std::cerr << what << ": " << result.error().message << "\n";
        std::exit(1);
    }
    return std::move(result).value();
}

double log_sum_exp(const float* row, std::int64_t count) {
    const double largest = *std::max_element(row, row + count);
    double sum = 0;
    for (std::int64_t i = 0; i < count; ++i) {
        sum += std::exp(row[i] - largest);
    }
    return largest + std::log(sum);
}

}  // namespace

std::vector<std::string> trained_models() {
    std::vector<std::string> names{"llama-pico", "llama-nano", "llama-micro", "gpt2-nano",
                                   "opt-nano"};
    if (std::getenv("BITSWEEP_LLAMA_MINI") != nullptr) {
        names.push_back("llama-mini");
    }
    return names;
}

std::filesystem::path folder_of(const std::string& model) {
    return model == "llama-mini" ? std::getenv("BITSWEEP_LLAMA_MINI") : models_dir / model;
}

std::filesystem::path reference_of(const std::string& model) {
    const std::filesystem::path folder =
        model == "llama-mini" ? folder_of(model) : vectors_dir / "models" / model;
    return folder / "reference.safetensors";
}

std::string read_text(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    EXPECT_TRUE(in.good()) << path;
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
}

Reference read_reference(const std::filesystem::path& path) {
    const std::string bytes = read_text(path);
    const auto span = std::as_bytes(std::span(bytes));
    Reference reference;
    for (const SafetensorsEntry& entry :
         value_or_die(parse_safetensors_header(span, path.string()), path.string())) {
        const char* from = bytes.data() + entry.begin;
        if (entry.name == "input_ids" && entry.dtype == "I32") {
            reference.ids.resize((entry.end - entry.begin) / 4);
            std::memcpy(reference.ids.data(), from, entry.end - entry.begin);
        } else if (entry.name == "logits" && entry.dtype == "F32") {
            reference.logits.resize((entry.end - entry.begin) / 4);
            std::memcpy(reference.logits.data(), from, entry.end - entry.begin);
            reference.vocabulary = entry.shape.back();
        }
    }
    EXPECT_FALSE(reference.ids.empty()) << path;
    EXPECT_EQ(reference.logits.size(),
              reference.ids.size() * static_cast<std::size_t>(reference.vocabulary));
    return reference;
}

ModelFiles open_or_die(const std::filesystem::path& path) {
    return value_or_die(open_model(path), path.string());
}

ModelFiles random_or_die(const std::string& shape) {
    return value_or_die(open_random_model(shape, RandomWeightsOptions{}), shape);
}

ModelFiles random_model(const ModelShape& shape) {
    ModelFiles files;
    files.config = config_from_shape(shape);
    files.weights = random_weights(files.config, RandomWeightsOptions{});
    files.format = "random";
    return files;
}

MethodId method_of(const std::string& text) {
    return value_or_die(parse_method(text), text);
}

std::unique_ptr<Engine> engine_or_die(const ModelFiles& files, const EngineWish& wish) {
    EngineOptions options;
    options.method = method_of(wish.method);
    options.threshold = wish.threshold;
    options.head_bits = wish.head_bits;
    options.threads = wish.threads;
    options.batch = wish.batch;
    options.context = wish.context;
    options.prefill_rows = wish.prefill_rows;
    options.device = wish.device;
    options.decode_path = wish.decode_path;
    options.kv = wish.kv;
    options.layers = wish.layers;
    return value_or_die(load_engine(files, options, nullptr),
                        files.config.name + " " + wish.method);
}

std::vector<float> score_all(Engine& engine, std::span<const std::int32_t> ids,
                             std::int64_t vocabulary) {
    std::vector<float> logits(ids.size() * static_cast<std::size_t>(vocabulary));
    std::int64_t next = 0;
    const Status status = engine.score(
        ids,
        [&](std::int64_t first, std::int64_t count, const float* rows) -> Status {
            EXPECT_EQ(first, next);
            next = first + count;
            std::copy_n(rows, count * vocabulary, logits.begin() + first * vocabulary);
            return {};
        },
        nullptr);
    EXPECT_TRUE(status.ok()) << status.error().message;
    EXPECT_EQ(next, static_cast<std::int64_t>(ids.size()));
    return logits;
}

std::vector<float> decode_all(Engine& engine, std::span<const std::int32_t> ids,
                              std::int64_t vocabulary) {
    std::vector<float> logits(ids.size() * static_cast<std::size_t>(vocabulary));
    engine.reset();
    for (std::size_t i = 0; i < ids.size(); ++i) {
        float* row = logits.data() + i * static_cast<std::size_t>(vocabulary);
        const Status status = engine.forward(ids.subspan(i, 1), 1, row);
        EXPECT_TRUE(status.ok()) << status.error().message;
    }
    return logits;
}

std::vector<std::int32_t> greedy(Engine& engine, std::span<const std::int32_t> prompt,
                                 std::int64_t vocabulary, std::size_t count) {
    std::vector<float> logits(static_cast<std::size_t>(vocabulary));
    engine.reset();
    Status status = engine.forward(prompt, static_cast<std::int64_t>(prompt.size()), logits.data());
    std::vector<std::int32_t> made;
    while (status.ok() && made.size() < count) {
        made.push_back(argmax(logits));
        status = engine.forward(std::span(&made.back(), 1), 1, logits.data());
    }
    EXPECT_TRUE(status.ok()) << status.error().message;
    return made;
}

double max_difference(std::span<const float> a, std::span<const float> b) {
    EXPECT_EQ(a.size(), b.size());
    double largest = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        const double difference = std::fabs(static_cast<double>(a[i]) - b[i]);
        // A NaN compares false with everything and must not pass as a small difference.
        if (!(difference <= largest)) {
            largest = difference;
        }
    }
    return largest;
}

double mean_kl(std::span<const float> reference, std::span<const float> other,
               std::int64_t vocabulary) {
    EXPECT_EQ(reference.size(), other.size());
    const std::size_t rows = reference.size() / static_cast<std::size_t>(vocabulary);
    double total = 0;
    for (std::size_t row = 0; row < rows; ++row) {
        const float* p = reference.data() + row * static_cast<std::size_t>(vocabulary);
        const float* q = other.data() + row * static_cast<std::size_t>(vocabulary);
        const double p_sum = log_sum_exp(p, vocabulary);
        const double q_sum = log_sum_exp(q, vocabulary);
        for (std::int64_t i = 0; i < vocabulary; ++i) {
            const double log_p = p[i] - p_sum;
            total += std::exp(log_p) * (log_p - (q[i] - q_sum));
        }
    }
    return total / static_cast<double>(rows);
}

double perplexity(Engine& engine, std::span<const std::int32_t> ids, std::int64_t vocabulary,
                  std::int64_t window) {
    double loss = 0;
    std::int64_t scored = 0;
    const auto size = static_cast<std::int64_t>(ids.size());
    for (std::int64_t begin = 0; begin + window <= size; begin += window) {
        const auto text =
            ids.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(window));
        const auto add = [&](std::int64_t first, std::int64_t count, const float* rows) -> Status {
            for (std::int64_t i = 0; i < count && first + i + 1 < window; ++i) {
                const float* row = rows + i * vocabulary;
                loss += log_sum_exp(row, vocabulary) -
                        row[text[static_cast<std::size_t>(first + i + 1)]];
                ++scored;
            }
            return {};
        };
        const Status status = engine.score(text, add, nullptr);
        EXPECT_TRUE(status.ok()) << status.error().message;
    }
    return std::exp(loss / static_cast<double>(scored));
}

std::vector<std::int32_t> heldout_ids(const ModelFiles& files, std::size_t count) {
    const std::filesystem::path path = source_dir / "experiments" / "data" / "heldout-fiction.txt";
    std::vector<std::int32_t> ids = files.tokenizer->encode(read_text(path));
    EXPECT_GE(ids.size(), count);
    ids.resize(count);
    return ids;
}

const std::vector<std::string>& all_methods() {
    static const std::vector<std::string> methods{"fp32",
                                                  "fp16",
                                                  "bf16",
                                                  "int8",
                                                  "fp8",
                                                  "fp8-channel",
                                                  "w8a8",
                                                  "llmint8-bnb",
                                                  "llmint8-fused",
                                                  "nf4",
                                                  "fp4",
                                                  "int2-g32",
                                                  "int3-g64",
                                                  "int4-g16",
                                                  "int4-g64",
                                                  "int5-g128",
                                                  "int6-g64",
                                                  "int7-g32",
                                                  "int8-g64",
                                                  "int2-g32-asym",
                                                  "int3-g64-asym",
                                                  "int4-g64-asym",
                                                  "int5-g16-asym",
                                                  "int6-g128-asym",
                                                  "int7-g64-asym",
                                                  "int8-g32-asym",
                                                  "nf4-b32",
                                                  "nf4-b256",
                                                  "fp4-b128-dq",
                                                  "nf4-b64-dq",
                                                  "hqq-int2-g32",
                                                  "hqq-int3-g64",
                                                  "hqq-int4-g128",
                                                  "hqq-int8-g64",
                                                  "llmint8-paper",
                                                  "int8-absmax-tensor",
                                                  "int8-rowwise",
                                                  "int8-vectorwise",
                                                  "int8-zeropoint",
                                                  "int8-zeropoint-vectorwise"};
    return methods;
}

std::vector<std::string> methods_of_cards() {
    std::vector<std::string> methods = all_methods();
    std::erase_if(methods,
                  [](const std::string& id) { return !method_row(method_of(id)).on_cuda; });
    return methods;
}

}  // namespace bitsweep::testing_inference
