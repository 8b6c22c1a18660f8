// Seeded damage to valid small files: whatever comes out, it is a value or an error, never a crash.
// Sanitised builds (preset "sanitize") look for reads outside the mapping.
#include <gtest/gtest.h>

#include <random>

#include "tests/files/support.h"
#include "worker/inference/model_files.h"
#include "worker/inference/weight_names.h"

namespace bitsweep {
namespace {

using namespace testing_files;

class Mutator {
 public:
    explicit Mutator(std::uint64_t seed) : random_(seed) {}

    // One to four damages: a byte changed, bytes removed or repeated, a number made extreme, the
    // end cut off. Most fall into the first `hot` bytes, where the structure is.
    std::string damage(std::string bytes, std::size_t hot) {
        for (std::uint64_t i = 0, count = 1 + below(4); i < count && !bytes.empty(); ++i) {
            const std::size_t at =
                below(below(8) == 0 ? bytes.size() : std::min(hot, bytes.size()));
            switch (below(6)) {
                case 0:
                    bytes[at] = static_cast<char>(below(256));
                    break;
                case 1:
                    bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
                    break;
                case 2:
                    bytes.erase(at, 1 + below(16));
                    break;
                case 3:
                    bytes.insert(at, bytes.substr(at, 1 + below(32)));
                    break;
                case 4:
                    put_extreme(&bytes, at);
                    break;
                default:
                    if (below(4) == 0) {
                        bytes.resize(at);
                    } else {
                        bytes[at] = "0123456789{}[]\",:-e."[below(20)];
                    }
            }
        }
        return bytes;
    }

 private:
    std::uint64_t below(std::uint64_t limit) { return random_() % limit; }

    void put_extreme(std::string* bytes, std::size_t at) {
        static constexpr std::uint64_t extremes[] = {
            0, 1, 0x7F, 0xFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1ull << 60, 1ull << 63, ~0ull};
        const std::string number = bytes_of(extremes[below(10)]);
        const std::size_t width = std::size_t{1} << (below(4));
        bytes->replace(at, std::min(width, bytes->size() - at), number.substr(0, width));
    }

    std::mt19937_64 random_;
};

// Reads everything that an opened model offers, within reason.
void use(const ModelFiles& model) {
    for (const TensorSpec& spec : required_tensors(model.config)) {
        const auto shape = model.weights->shape(spec.name);
        ASSERT_TRUE(shape.ok() && *shape == spec.shape);
        std::size_t count = 1;
        for (const std::int64_t dimension : spec.shape) {
            count *= static_cast<std::size_t>(dimension);
        }
        ASSERT_LT(count, std::size_t{1} << 24);  // the file has no more bytes than that
        std::vector<float> values(count);
        const std::int64_t rows = spec.shape.size() == 1 ? 1 : spec.shape[0];
        ASSERT_TRUE(model.weights->read_rows(spec.name, 0, rows, values.data()).ok());
    }
    if (model.tokenizer != nullptr) {
        const std::string text = "the cat 123 \u00e9 <|endoftext|>!!\xFF";
        model.tokenizer->decode(model.tokenizer->encode(text));
    }
}

// Opens `count` damaged forms of `file`, which belongs to a complete model at `model`; how many
// were refused.
int refused_of(const std::filesystem::path& model, const std::filesystem::path& file,
               std::size_t hot, int count, std::uint64_t seed) {
    const std::string whole = read_file(file);
    Mutator mutator(seed);
    int opened = 0;
    int refused = 0;
    for (int i = 0; i < count; ++i) {
        write_file(file, mutator.damage(whole, hot));
        const auto result = open_model(model);
        if (result.ok()) {
            ++opened;
            use(*result);
        } else {
            ++refused;
            const std::string& message = result.error().message;
            EXPECT_FALSE(message.empty());
            EXPECT_EQ(message.find('\n'), std::string::npos) << message;
            EXPECT_NE(result.error().code, ErrorCode::internal) << message;
        }
        if (testing::Test::HasFatalFailure()) {
            ADD_FAILURE() << "seed " << seed << ", case " << i;
            return refused;
        }
    }
    write_file(file, whole);
    EXPECT_TRUE(open_model(model).ok());
    std::printf("%d opened, %d refused\n", opened, refused);
    return refused;
}

class Damaged : public testing::Test {
 protected:
    void copy(const std::string& name) {
        for (const char* file : {"config.json", "model.safetensors"}) {
            write_file(folder_.path() / file, read_file(vectors_dir / name / file));
        }
        write_file(folder_.path() / "tokenizer.json", read_file(vectors_dir / "tokenizer.json"));
    }
    TempFolder folder_;
};

TEST_F(Damaged, safetensors_never_crash_the_reader) {
    for (const char* name : {"llama-tiny", "gpt2-tiny"}) {
        copy(name);
        EXPECT_GT(refused_of(folder_.path(), folder_.path() / "model.safetensors", 3000, 1000, 11),
                  250);
    }
}

TEST_F(Damaged, configs_never_crash_the_reader) {
    for (const char* name : {"llama-tiny", "qwen2-tiny", "gpt2-tiny"}) {
        copy(name);
        EXPECT_GT(refused_of(folder_.path(), folder_.path() / "config.json", 4096, 500, 12), 125);
    }
}

TEST_F(Damaged, tokenizers_never_crash_the_reader) {
    copy("llama-tiny");
    EXPECT_GT(refused_of(folder_.path(), folder_.path() / "tokenizer.json", 4096, 1500, 13), 375);
}

TEST_F(Damaged, indexes_never_crash_the_reader) {
    copy("llama-tiny");
    const auto model = open_model(folder_.path());
    ASSERT_TRUE(model.ok());
    std::string map;
    for (const TensorSpec& spec : required_tensors(model->config)) {
        map += (map.empty() ? "\"" : ",\"") + spec.name + "\":\"one.safetensors\"";
    }
    std::filesystem::rename(folder_.path() / "model.safetensors",
                            folder_.path() / "one.safetensors");
    const auto index = folder_.path() / "model.safetensors.index.json";
    write_file(index, R"({"metadata":{},"weight_map":{)" + map + "}}");
    EXPECT_GT(refused_of(folder_.path(), index, 4096, 500, 14), 125);
}

TEST_F(Damaged, gguf_files_never_crash_the_reader) {
    for (const char* name : {"llama-tiny.gguf", "qwen2-tiny.gguf", "gpt2-tiny.gguf"}) {
        const auto file = folder_.path() / "m.gguf";
        write_file(file, read_file(vectors_dir / name));
        EXPECT_GT(refused_of(file, file, 9000, 1000, 15), 250);
    }
}

}  // namespace
}  // namespace bitsweep
