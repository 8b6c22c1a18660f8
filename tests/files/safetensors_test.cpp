// Safetensors files that lie, and folders that lack something: one line each.
#include <gtest/gtest.h>

#include "tests/files/support.h"
#include "worker/inference/model_files.h"
#include "worker/inference/safetensors_header.h"

namespace bitsweep {
namespace {

using namespace testing_files;

std::string parse(const std::string& bytes) {
    const auto entries =
        parse_safetensors_header(std::as_bytes(std::span(bytes.data(), bytes.size())), "m");
    return message_of(entries, "/nowhere");
}

std::string entry(const std::string& name, const std::string& rest) {
    return "\"" + name + "\":{" + rest + "}";
}
// F16 [2], 4 bytes.
std::string pair_of_halves(const std::string& name, int begin, int end) {
    return entry(name, R"("dtype":"F16","shape":[2],"data_offsets":[)" + std::to_string(begin) +
                           "," + std::to_string(end) + "]");
}

TEST(SafetensorsHeader, that_is_right_gives_the_tensors_in_the_order_of_their_bytes) {
    const std::string header =
        R"({"__metadata__":{"format":"pt"},)" + pair_of_halves("a", 4, 8) + "," +
        pair_of_halves("b", 0, 4) + "," +
        entry("none", R"("dtype":"F32","shape":[0,3],"data_offsets":[8,8])") + "," +
        entry("one", R"("dtype":"F32","shape":[],"data_offsets":[8,12])") + "}   ";
    const std::string bytes = safetensors(header, std::string(12, 'x'));
    const auto entries =
        parse_safetensors_header(std::as_bytes(std::span(bytes.data(), bytes.size())), "m");
    ASSERT_TRUE(entries.ok()) << entries.error().message;
    ASSERT_EQ(entries->size(), 4u);
    EXPECT_EQ((*entries)[0].name, "b");
    EXPECT_EQ((*entries)[1].name, "a");
    EXPECT_EQ((*entries)[1].begin, 8 + header.size() + 4);
    EXPECT_EQ((*entries)[3].name, "one");
}

TEST(SafetensorsHeader, length_of_2_to_the_60_is_refused) {
    EXPECT_EQ(parse(bytes_of(std::uint64_t{1} << 60) + "{}"),
              "m: header claims 1152921504606846976 bytes; at most 100000000 are allowed, so this "
              "is not a safetensors file");
}

TEST(SafetensorsHeader, beyond_the_end_of_the_file_is_refused) {
    EXPECT_EQ(parse("\1\2\3"), "m: has 3 bytes; a safetensors file starts with 8 bytes of length");
    EXPECT_EQ(parse(bytes_of<std::uint64_t>(1000) + "{}"),
              "m: header claims 1000 bytes but only 2 follow; the file is truncated");
}

TEST(SafetensorsHeader, must_be_an_object_of_json) {
    EXPECT_EQ(parse(safetensors("[]", "")),
              "m: header does not start with '{'; this is not a safetensors file");
    EXPECT_EQ(parse(safetensors("", "")),
              "m: header does not start with '{'; this is not a safetensors file");
    EXPECT_EQ(parse(safetensors(R"({"a":)", "")), "m: header: not JSON at byte 6, near '\"a\":'");
    EXPECT_EQ(
        parse(safetensors("{" + pair_of_halves("a", 0, 4) + "," + pair_of_halves("a", 4, 8) + "}",
                          std::string(8, 'x'))),
        "m: header: the key 'a' appears twice");
    std::string deep = R"({"a":)";
    deep += std::string(100'000, '[');
    EXPECT_EQ(parse(safetensors(deep, "")), "m: header: nested deeper than 64 levels");
}

TEST(SafetensorsHeader, offsets_outside_the_buffer_are_refused) {
    EXPECT_EQ(parse(safetensors("{" + pair_of_halves("a", 0, 4) + "}", "xyz")),
              "m: tensor 'a' claims bytes [0, 4) of a buffer of 3; the file is truncated or its "
              "header is wrong");
    EXPECT_EQ(
        parse(safetensors(
            "{" + entry("a", R"("dtype":"F16","shape":[2],"data_offsets":[4,0])") + "}", "wxyz")),
        "m: tensor 'a' claims bytes [4, 0) of a buffer of 4; the file is truncated or its "
        "header is wrong");
    EXPECT_EQ(
        parse(safetensors(
            "{" + entry("a", R"("dtype":"F16","shape":[2],"data_offsets":[-4,0])") + "}", "wxyz")),
        "m: tensor 'a' has no 'data_offsets' pair of whole numbers");
}

TEST(SafetensorsHeader, overlaps_and_holes_are_refused) {
    EXPECT_EQ(
        parse(safetensors("{" + pair_of_halves("a", 0, 4) + "," + pair_of_halves("b", 2, 6) + "}",
                          "uvwxyz")),
        "m: tensors 'a' and 'b' overlap at byte 2 of the buffer");
    EXPECT_EQ(
        parse(safetensors("{" + pair_of_halves("a", 0, 4) + "," + pair_of_halves("b", 6, 10) + "}",
                          "0123456789")),
        "m: bytes [4, 6) of the buffer belong to no tensor");
    EXPECT_EQ(parse(safetensors("{" + pair_of_halves("a", 0, 4) + "}", "0123456789")),
              "m: bytes [4, 10) of the buffer belong to no tensor");
}

TEST(SafetensorsHeader, shape_and_dtype_must_explain_the_bytes) {
    EXPECT_EQ(
        parse(safetensors(
            "{" + entry("a", R"("dtype":"F32","shape":[2],"data_offsets":[0,4])") + "}", "wxyz")),
        "m: tensor 'a' of dtype F32 and shape [2] does not take the 4 bytes of its range "
        "[0, 4)");
    const std::string overflow =
        entry("a", R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0])");
    EXPECT_EQ(parse(safetensors("{" + overflow + "}", "")),
              "m: tensor 'a' of dtype F32 and shape [4294967296, 4294967296] does not take the 0 "
              "bytes of its range [0, 0)");
    EXPECT_EQ(parse(safetensors(
                  "{" + entry("a", R"("dtype":"F4","shape":[3],"data_offsets":[0,1])") + "}", "w")),
              "m: tensor 'a' of dtype F4 and shape [3] does not take the 1 bytes of its range "
              "[0, 1)");
    EXPECT_EQ(
        parse(safetensors(
            "{" + entry("a", R"("dtype":"F16","shape":[-2],"data_offsets":[0,4])") + "}", "wxyz")),
        "m: tensor 'a' has a dimension that is not a whole number >= 0");
    EXPECT_EQ(
        parse(safetensors(
            "{" + entry("a", R"("dtype":"X7","shape":[2],"data_offsets":[0,4])") + "}", "wxyz")),
        "m: tensor 'a' has dtype 'X7'; F32, F16 and BF16 can be read");
    EXPECT_EQ(parse(safetensors(R"({"a":1})", "")),
              "m: tensor 'a' lacks 'dtype', 'shape' or 'data_offsets'");
}

TEST(SafetensorsHeader, names_in_messages_stay_on_one_line) {
    const std::string message = parse(
        safetensors(R"({"a\nb\u001b[31m":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}})", ""));
    EXPECT_EQ(message.find('\n'), std::string::npos);
    EXPECT_TRUE(message.starts_with("m: tensor 'a\\x0ab\\x1b[31m' claims")) << message;
}

// A copy of a tiny model in its own folder, to be spoiled.
class Folder : public testing::Test {
 protected:
    void SetUp() override { copy("llama-tiny"); }

    void copy(const std::string& name) {
        for (const char* file : {"config.json", "model.safetensors"}) {
            write_file(folder_.path() / file, read_file(vectors_dir / name / file));
        }
    }
    std::filesystem::path file(const char* name) const { return folder_.path() / name; }

    void replace(const char* name, const std::string& from, const std::string& to) {
        std::string text = read_file(file(name));
        const std::size_t at = text.find(from);
        ASSERT_NE(at, std::string::npos) << from;
        write_file(file(name), text.replace(at, from.size(), to));
    }
    std::string open() {
        const auto model = open_model(folder_.path());
        code_ = model.ok() ? ErrorCode::internal : model.error().code;
        return message_of(model, folder_.path());
    }
    // Splits model.safetensors into two shards by renaming, with an index that lists both.
    void write_index(const std::string& second_shard, const std::string& extra = "") {
        std::string map;
        const std::string bytes = read_file(file("model.safetensors"));
        const auto entries =
            parse_safetensors_header(std::as_bytes(std::span(bytes.data(), bytes.size())), "m");
        for (const SafetensorsEntry& tensor : *entries) {
            map += "\"" + tensor.name + "\":\"one.safetensors\",";
        }
        std::filesystem::rename(file("model.safetensors"), file("one.safetensors"));
        const std::string other = safetensors(
            R"({"extra.weight":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}})", "wxyz");
        write_file(file("two.safetensors"), other);
        write_file(file("model.safetensors.index.json"),
                   R"({"metadata":{"total_size":1},"weight_map":{)" + map + extra +
                       "\"extra.weight\":\"" + second_shard + "\"}}");
    }

    ErrorCode code_ = ErrorCode::internal;
    TempFolder folder_;
};

TEST_F(Folder, that_is_complete_opens_without_a_tokenizer) {
    const auto model = open_model(folder_.path());
    ASSERT_TRUE(model.ok()) << model.error().message;
    EXPECT_EQ(model->tokenizer, nullptr);
    EXPECT_EQ(model->path, folder_.path());
}

TEST_F(Folder, without_weights_says_what_was_wanted) {
    std::filesystem::remove(file("model.safetensors"));
    EXPECT_EQ(open_model(folder_.path()).error().message,
              folder_.path().string() +
                  ": neither model.safetensors nor model.safetensors.index.json; wanted a Hugging "
                  "Face folder with safetensors weights");
    write_file(file("pytorch_model.bin"), "pickle");
    EXPECT_EQ(open_model(folder_.path()).error().message,
              folder_.path().string() +
                  ": neither model.safetensors nor model.safetensors.index.json; "
                  "pytorch_model.bin is not read (pickle runs code): save it again as safetensors");
}

TEST_F(Folder, path_that_is_no_model_says_what_was_wanted) {
    EXPECT_EQ(message_of(open_model(file("absent")), folder_.path()),
              "absent: no such file or folder; wanted a Hugging Face folder or a .gguf file");
    EXPECT_EQ(message_of(open_model(file("config.json")), folder_.path()),
              "config.json: neither a folder with config.json nor a .gguf file");
    std::filesystem::remove(file("config.json"));
    EXPECT_EQ(open_model(folder_.path()).error().message,
              folder_.path().string() +
                  ": has no config.json; wanted a Hugging Face folder or a .gguf file");
}

TEST_F(Folder, with_truncated_weights_is_refused) {
    const std::string whole = read_file(file("model.safetensors"));
    write_file(file("model.safetensors"), whole.substr(0, whole.size() - 1));
    EXPECT_TRUE(open().ends_with("the file is truncated or its header is wrong"));
    EXPECT_EQ(code_, ErrorCode::corrupt);
    for (std::size_t size = 0; size < whole.size(); size += size < 5000 ? 37 : 3001) {
        write_file(file("model.safetensors"), whole.substr(0, size));
        EXPECT_NE(open(), "ok") << size;
    }
}

TEST_F(Folder, whose_config_disagrees_with_a_shape_names_both_shapes_and_the_file) {
    replace("config.json", R"("intermediate_size": 64)", R"("intermediate_size": 96)");
    EXPECT_EQ(open(),
              "model.safetensors: tensor 'model.layers.0.mlp.gate_proj.weight' is [64, 32] but "
              "config.json says [96, 32]");
    EXPECT_EQ(code_, ErrorCode::invalid_input);
}

TEST_F(Folder, whose_transposed_weight_disagrees_names_the_logical_shapes) {
    copy("gpt2-tiny");
    replace("config.json", R"("n_inner": 40)", R"("n_inner": 44)");
    EXPECT_EQ(open(),
              "model.safetensors: tensor 'h.0.mlp.c_fc.weight' is [40, 24] but config.json says "
              "[44, 24]");
}

TEST_F(Folder, with_more_or_fewer_layers_than_its_config_is_refused) {
    replace("config.json", R"("num_hidden_layers": 2)", R"("num_hidden_layers": 3)");
    EXPECT_TRUE(open().starts_with(
        "model.safetensors: tensor 'model.layers.2.input_layernorm.weight' is missing; the "
        "nearest name is 'model.layers."))
        << open();
    EXPECT_EQ(code_, ErrorCode::not_found);
    replace("config.json", R"("num_hidden_layers": 3)", R"("num_hidden_layers": 1)");
    EXPECT_EQ(open(),
              "model.safetensors: tensor 'model.layers.1.input_layernorm.weight' has no place in "
              "the model that config.json describes (1 layers)");
    EXPECT_EQ(code_, ErrorCode::unsupported);
}

TEST_F(Folder, with_a_needed_tensor_of_another_dtype_is_refused) {
    // "I32" is as wide as "F32": the container is right, the model is not.
    replace("model.safetensors", R"("dtype":"F32")", R"("dtype":"I32")");
    const std::string message = open();
    EXPECT_TRUE(message.ends_with("has dtype I32; F32, F16 and BF16 can be read")) << message;
    EXPECT_EQ(code_, ErrorCode::unsupported);
}

TEST_F(Folder, of_two_shards_opens_and_reads) {
    write_index("two.safetensors");
    const auto model = open_model(folder_.path());
    ASSERT_TRUE(model.ok()) << model.error().message;
    std::vector<float> row(32);
    EXPECT_TRUE(model->weights->read_rows("model.norm.weight", 0, 1, row.data()).ok());
}

TEST_F(Folder, whose_index_lists_an_absent_shard_is_refused) {
    write_index("three.safetensors");
    EXPECT_EQ(open(),
              "three.safetensors: no such file, but model.safetensors.index.json lists it; the "
              "download is incomplete");
    EXPECT_EQ(code_, ErrorCode::not_found);
}

TEST_F(Folder, whose_index_lists_a_tensor_that_the_shard_lacks_is_refused) {
    write_index("two.safetensors", R"("lost.weight":"two.safetensors",)");
    EXPECT_EQ(open(),
              "two.safetensors: tensor 'lost.weight' is not in it, but "
              "model.safetensors.index.json says so");
    EXPECT_EQ(code_, ErrorCode::corrupt);
}

TEST_F(Folder, whose_index_leaves_the_folder_is_refused) {
    write_index("../../etc/passwd");
    EXPECT_EQ(open(),
              "model.safetensors.index.json: tensor 'extra.weight' is in '../../etc/passwd'; "
              "wanted the name of a file in the same folder");
}

TEST_F(Folder, whose_tokenizer_has_more_ids_than_the_model_is_refused) {
    write_file(file("tokenizer.json"), read_file(models_dir / "tokenizer.json"));
    EXPECT_EQ(open_model(folder_.path()).error().message,
              folder_.path().string() +
                  ": the tokenizer has ids up to 4095 but the model's vocabulary is 264; they do "
                  "not belong together");
}

TEST_F(Folder, with_gpt2s_older_tokenizer_files_reads_them) {
    const auto expected = tokenizer_from_json(vectors_dir / "tokenizer.json");
    ASSERT_TRUE(expected.ok()) << expected.error().message;
    const std::string document = read_file(vectors_dir / "tokenizer.json");
    const std::size_t begin = document.find("\"vocab\": ") + 9;
    const std::size_t end = document.find(", \"merges\"", begin);
    write_file(file("vocab.json"), document.substr(begin, end - begin));
    write_file(file("merges.txt"),
               "#version: 0.2\nt h\nth e\n\u0120 the\n\u0120 a\n1 2\n12 3\n! !\n");
    const auto model = open_model(folder_.path());
    ASSERT_TRUE(model.ok()) << model.error().message;
    const std::string text = "the cat, a 123 hat!!<|endoftext|>\n";
    EXPECT_EQ(model->tokenizer->encode(text), (*expected)->encode(text));
    EXPECT_EQ(model->tokenizer->encode("<|endoftext|>"), std::vector<std::int32_t>{0});
    write_file(file("merges.txt"), "t h e\n");
    EXPECT_EQ(open(), "merges.txt: merge 0, 't h e', is not two tokens with a space between");
}

}  // namespace
}  // namespace bitsweep
