// GGUF files that lie: each gets one line that says what, where and what instead.
#include <gtest/gtest.h>

#include "tests/files/support.h"
#include "worker/inference/gguf_reader.h"
#include "worker/inference/model_files.h"

namespace bitsweep {
namespace {

using namespace testing_files;

constexpr std::uint32_t f32 = 0;

class Gguf : public testing::Test {
 protected:
    // What open_model() says about these bytes.
    std::string open(const std::string& bytes) {
        write_file(folder_.path() / "m.gguf", bytes);
        const auto model = open_model(folder_.path() / "m.gguf");
        code_ = model.ok() ? ErrorCode::internal : model.error().code;
        return message_of(model, folder_.path());
    }
    // What the container's reader says, when the bytes are no model.
    std::string read(const std::string& bytes) {
        write_file(folder_.path() / "m.gguf", bytes);
        const auto file = read_gguf(folder_.path() / "m.gguf");
        code_ = file.ok() ? ErrorCode::internal : file.error().code;
        return message_of(file, folder_.path());
    }
    ErrorCode code_ = ErrorCode::internal;
    TempFolder folder_;
};

TEST_F(Gguf, that_is_not_one_is_told_by_its_magic) {
    EXPECT_EQ(open("PK\3\4 this is a zip file"),
              "m.gguf: starts with 'PK\\x03\\x04'; a GGUF file starts with 'GGUF'");
    EXPECT_EQ(code_, ErrorCode::corrupt);
    EXPECT_EQ(open(""), "m.gguf: ends at byte 0 inside the magic number; the file is truncated");
}

TEST_F(Gguf, of_another_version_or_byte_order_is_unsupported) {
    EXPECT_EQ(open(gguf_head(0, 0, 1)),
              "m.gguf: GGUF version 1; versions 2 and 3, little-endian, can be read");
    EXPECT_EQ(code_, ErrorCode::unsupported);
    EXPECT_EQ(open(gguf_head(0, 0, 4)),
              "m.gguf: GGUF version 4; versions 2 and 3, little-endian, can be read");
    EXPECT_EQ(open(gguf_head(0, 0, 0x03000000)),
              "m.gguf: GGUF version 3 in big-endian order; versions 2 and 3, little-endian, can "
              "be read");
}

TEST_F(Gguf, string_of_2_to_the_63_bytes_is_refused) {
    const std::string key = bytes_of(std::uint64_t{1} << 63) + "general.architecture";
    EXPECT_EQ(open(gguf_head(0, 1) + key),
              "m.gguf: metadata key 0 claims a string of 9223372036854775808 bytes but only 20 "
              "follow");
    EXPECT_EQ(code_, ErrorCode::corrupt);
    const std::string value =
        gguf_string("a") + bytes_of<std::uint32_t>(8) + bytes_of(~std::uint64_t{0});
    EXPECT_EQ(open(gguf_head(0, 1) + value),
              "m.gguf: metadata 'a' claims a string of 18446744073709551615 bytes but only 0 "
              "follow");
}

TEST_F(Gguf, counts_beyond_the_file_are_refused_before_anything_is_allocated) {
    EXPECT_EQ(open(gguf_head(0, std::uint64_t{1} << 60)),
              "m.gguf: the metadata claims 1152921504606846976 entries but only 0 bytes follow");
    EXPECT_EQ(open(gguf_head(std::uint64_t{1} << 60, 0)),
              "m.gguf: the tensor list claims 1152921504606846976 entries but only 0 bytes follow");
    const std::string array = gguf_string("list") + bytes_of<std::uint32_t>(9) +
                              bytes_of<std::uint32_t>(8) + bytes_of(std::uint64_t{1} << 61);
    EXPECT_EQ(open(gguf_head(0, 1) + array),
              "m.gguf: metadata 'list' claims 2305843009213693952 entries but only 0 bytes follow");
}

TEST_F(Gguf, unknown_value_types_and_nested_arrays_are_refused) {
    const std::string unknown = gguf_string("k") + bytes_of<std::uint32_t>(13) + "12345678";
    EXPECT_EQ(open(gguf_head(0, 1) + unknown),
              "m.gguf: metadata 'k' has the unknown value type 13");
    const std::string nested = gguf_string("k") + bytes_of<std::uint32_t>(9) +
                               bytes_of<std::uint32_t>(9) + bytes_of<std::uint64_t>(0);
    EXPECT_EQ(open(gguf_head(0, 1) + nested),
              "m.gguf: metadata 'k' is an array of arrays; no key that bitsweep reads is one");
    EXPECT_EQ(code_, ErrorCode::unsupported);
}

TEST_F(Gguf, key_that_appears_twice_is_refused) {
    EXPECT_EQ(open(gguf_head(0, 2) + gguf_u32_pair("a", 1) + gguf_u32_pair("a", 1)),
              "m.gguf: metadata 'a' appears twice");
}

TEST_F(Gguf, alignment_must_be_a_power_of_two) {
    EXPECT_EQ(open(gguf_head(0, 1) + gguf_u32_pair("general.alignment", 48)),
              "m.gguf: metadata 'general.alignment' is 48; wanted a power of two up to 1048576");
    EXPECT_EQ(open(gguf_head(0, 1) + gguf_u32_pair("general.alignment", 0)),
              "m.gguf: metadata 'general.alignment' is 0; wanted a power of two up to 1048576");
}

TEST_F(Gguf, tensor_outside_the_file_is_refused) {
    const std::string head = padded(gguf_head(1, 0) + gguf_tensor_info("t", 8, f32, 32));
    EXPECT_EQ(read(head + std::string(32 + 32, 'x')), "ok");
    EXPECT_EQ(read(head + std::string(32 + 31, 'x')),
              "m.gguf: tensor 't' needs 32 bytes at offset 32 but the data has 63; the file is "
              "truncated or its header is wrong");
    EXPECT_EQ(code_, ErrorCode::corrupt);
    const std::string far =
        padded(gguf_head(1, 0) + gguf_tensor_info("t", 8, f32, ~std::uint64_t{31}));
    EXPECT_EQ(read(far + std::string(64, 'x')),
              "m.gguf: tensor 't' needs 32 bytes at offset 18446744073709551584 but the data has "
              "64; the file is truncated or its header is wrong");
}

TEST_F(Gguf, tensors_that_overlap_or_repeat_are_refused) {
    const std::string overlap = padded(gguf_head(2, 0) + gguf_tensor_info("a", 16, f32, 0) +
                                       gguf_tensor_info("b", 8, f32, 32));
    EXPECT_EQ(read(overlap + std::string(64, 'x')),
              "m.gguf: tensors 'a' and 'b' overlap at offset 32");
    const std::string twice = padded(gguf_head(2, 0) + gguf_tensor_info("a", 8, f32, 0) +
                                     gguf_tensor_info("a", 8, f32, 32));
    EXPECT_EQ(read(twice + std::string(64, 'x')), "m.gguf: tensor 'a' appears twice");
}

TEST_F(Gguf, tensor_at_an_odd_offset_is_refused) {
    const std::string head = padded(gguf_head(1, 0) + gguf_tensor_info("t", 8, f32, 4));
    EXPECT_EQ(read(head + std::string(64, 'x')),
              "m.gguf: tensor 't' starts at offset 4, not a multiple of the alignment 32");
}

TEST_F(Gguf, sizes_that_overflow_or_do_not_divide_into_blocks_are_refused) {
    const std::uint64_t huge = std::uint64_t{1} << 62;
    EXPECT_EQ(read(gguf_head(1, 0) + gguf_tensor_info("t", huge, f32, 0)),
              "m.gguf: tensor 't' of type F32 cannot have shape [4611686018427387904]");
    EXPECT_EQ(read(gguf_head(1, 0) + gguf_tensor_info("t", 33, 8, 0)),
              "m.gguf: tensor 't' of type Q8_0 cannot have shape [33]");
    EXPECT_EQ(read(gguf_head(1, 0) + gguf_tensor_info("t", 0, f32, 0)),
              "m.gguf: tensor 't' has a dimension of 0");
    const std::string many = gguf_string("t") + bytes_of<std::uint32_t>(5) + std::string(60, '\1');
    EXPECT_EQ(read(gguf_head(1, 0) + many), "m.gguf: tensor 't' has 5 dimensions; wanted 1 to 4");
}

TEST_F(Gguf, tensor_type_that_cannot_be_read_is_named) {
    EXPECT_EQ(read(gguf_head(1, 0) + gguf_tensor_info("t", 256, 13, 0)),
              "m.gguf: tensor 't' has type Q5_K; F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, "
              "Q4_K, Q6_K can be read");
    EXPECT_EQ(code_, ErrorCode::unsupported);
    EXPECT_EQ(read(gguf_head(1, 0) + gguf_tensor_info("t", 256, 999, 0)),
              "m.gguf: tensor 't' has type 999; F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, "
              "Q4_K, Q6_K can be read");
}

TEST_F(Gguf, unknown_architecture_lists_the_known_ones) {
    EXPECT_EQ(open(gguf_head(0, 1) + gguf_text_pair("general.architecture", "mamba")),
              "m.gguf: unknown architecture 'mamba'; known in GGUF are llama, qwen2, gpt2");
    EXPECT_EQ(code_, ErrorCode::unsupported);
    EXPECT_EQ(open(gguf_head(0, 0)), "m.gguf: metadata 'general.architecture' is missing");
    EXPECT_EQ(open(gguf_head(0, 1) + gguf_u32_pair("general.architecture", 1)),
              "m.gguf: metadata 'general.architecture' is not a string");
    EXPECT_EQ(open(gguf_head(0, 2) + gguf_text_pair("general.architecture", "llama") +
                   gguf_u32_pair("split.count", 3)),
              "m.gguf: is one part of a split GGUF; merge the parts into one file");
}

// The tiny model with one string of its bytes exchanged for another of the same length.
std::string tiny_with(const std::string& from, const std::string& to) {
    std::string bytes = read_file(vectors_dir / "llama-tiny.gguf");
    const std::size_t at = bytes.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    EXPECT_EQ(from.size(), to.size());
    bytes.replace(at, from.size(), to);
    return bytes;
}

TEST_F(Gguf, tokenizer_types_other_than_byte_level_bpe_are_unsupported) {
    EXPECT_EQ(open(tiny_with("gpt2", "bert")),
              "m.gguf: tokenizer type 'bert'; only byte-level BPE ('gpt2') can be read");
    EXPECT_EQ(code_, ErrorCode::unsupported);
    EXPECT_EQ(open(tiny_with("llama-bpe", "deepseek3")),
              "m.gguf: pre-tokenizer 'deepseek3'; known are gpt-2, default, llama-bpe, llama3, "
              "llama-v3, qwen2, smollm");
}

TEST_F(Gguf, model_that_lacks_a_tensor_or_has_a_strange_one_is_refused) {
    EXPECT_EQ(open(tiny_with("blk.1.ffn_up.weight", "blk.1.ffn_uq.weight")),
              "m.gguf: tensor 'blk.1.ffn_up.weight' is missing; the nearest name is "
              "'blk.1.ffn_uq.weight'");
    EXPECT_EQ(code_, ErrorCode::not_found);
    EXPECT_EQ(open(tiny_with("rope_freqs.weight", "blk.0.attn_qno.we")),
              "m.gguf: tensor 'blk.0.attn_qno.we' has no place in the model that the metadata "
              "describes (2 layers)");
    EXPECT_EQ(code_, ErrorCode::unsupported);
}

TEST_F(Gguf, sizes_that_disagree_with_the_tensors_are_refused_with_both) {
    const std::string key = gguf_string("llama.feed_forward_length") + bytes_of<std::uint32_t>(4);
    EXPECT_EQ(open(tiny_with(key + bytes_of<std::uint32_t>(64), key + bytes_of<std::uint32_t>(96))),
              "m.gguf: tensor 'blk.0.ffn_gate.weight' is [64, 32] but its metadata says [96, 32]");
    EXPECT_EQ(code_, ErrorCode::invalid_input);
    EXPECT_EQ(open(tiny_with(key + bytes_of<std::uint32_t>(64), key + bytes_of<std::uint32_t>(0))),
              "m.gguf: metadata 'llama.feed_forward_length' is 0; wanted 1 to 16777216");
}

TEST_F(Gguf, rope_table_that_is_not_llama3_scaling_is_refused) {
    const auto file = read_gguf(vectors_dir / "llama-tiny.gguf");
    ASSERT_TRUE(file.ok());
    const GgufTensor& table = file->tensors.find("rope_freqs.weight")->second;
    std::string bytes = read_file(vectors_dir / "llama-tiny.gguf");
    const auto at = static_cast<std::size_t>(table.data - file->file->bytes().data());
    bytes.replace(at, 4, bytes_of(2.0f));
    EXPECT_EQ(open(bytes),
              "m.gguf: tensor 'rope_freqs.weight' is not the llama3 scaling of 8192 positions "
              "with factors 1 and 4");
    EXPECT_EQ(code_, ErrorCode::unsupported);
}

TEST_F(Gguf, cut_anywhere_is_refused) {
    const std::string whole = read_file(vectors_dir / "qwen2-tiny.gguf");
    EXPECT_EQ(open(whole), "ok");
    for (std::size_t size = 0; size < whole.size(); size += size < 6000 ? 41 : 997) {
        EXPECT_NE(open(whole.substr(0, size)), "ok") << size;
    }
}

}  // namespace
}  // namespace bitsweep
