// The program that the streaming kernel is given: stages in order, buffers apart, refusals in
// words.
#include "worker/inference/decode/program_builder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>

#include "tests/decode/parts.h"

namespace bitsweep::decode::test {
namespace {

constexpr int blocks = 132;

std::vector<std::byte>& memory() {
    static std::vector<std::byte> block(std::size_t{8} << 20);
    return block;
}

std::vector<Stage> stages(const ProgramParts& parts) {
    return stages_of(parts, layout_of(parts, 4, blocks), memory().data());
}

TEST(ProgramBuilder, MakesFiveStagesALayerBetweenEmbeddingAndHead) {
    for (const ProgramParts& parts : {llama_parts(), gpt2_parts()}) {
        const std::vector<Stage> all = stages(parts);
        ASSERT_EQ(5 * parts.layers.size() + 2, all.size());
        EXPECT_EQ(StageKind::embed, all.front().kind);
        for (std::size_t layer = 0; layer < parts.layers.size(); ++layer) {
            const Stage* s = &all[1 + 5 * layer];
            const LayerParts& of = parts.layers[layer];
            EXPECT_EQ(of.qkv.codes, s[0].gemv.codes);
            EXPECT_EQ(Epilogue::qkv, s[0].gemv.epilogue);
            EXPECT_EQ(2, s[0].gemv.rows_per_unit);
            EXPECT_EQ(StageKind::attention, s[1].kind);
            EXPECT_EQ(of.keys, s[1].attention.k);
            EXPECT_EQ(of.values, s[1].attention.v);
            EXPECT_EQ(of.attention_scale, s[1].attention.scale);
            EXPECT_EQ(of.sliding_window, s[1].attention.sliding_window);
            EXPECT_EQ(of.o.codes, s[2].gemv.codes);
            EXPECT_EQ(Prologue::attention, s[2].gemv.prologue);
            EXPECT_EQ(of.up.codes, s[3].gemv.codes);
            EXPECT_EQ(of.mlp_norm.weight, s[3].gemv.norm_weight);
            EXPECT_EQ(of.down.codes, s[4].gemv.codes);
            EXPECT_EQ(Prologue::none, s[4].gemv.prologue);
        }
        EXPECT_EQ(Epilogue::logits, all.back().gemv.epilogue);
        EXPECT_EQ(parts.head.codes, all.back().gemv.codes);
        EXPECT_EQ(parts.final_norm.weight, all.back().gemv.norm_weight);
    }
}

// The kernel waits for words that carry the number of the stage that writes them.
TEST(ProgramBuilder, EachStageReadsWhatTheStageBeforeItWrites) {
    for (const ProgramParts& parts : {llama_parts(), gpt2_parts()}) {
        const std::vector<Stage> all = stages(parts);
        const Program program = program_of(parts, layout_of(parts, 4, blocks), memory().data(), 4);
        for (std::size_t i = 1; i < all.size(); ++i) {
            const Stage& before = all[i - 1];
            const void* written = before.kind == StageKind::embed       ? program.hidden
                                  : before.kind == StageKind::attention ? before.attention.partial
                                                                        : before.gemv.out;
            const void* read =
                all[i].kind == StageKind::attention ? all[i].attention.qkv : all[i].gemv.input;
            EXPECT_EQ(written, read) << "stage " << i;
            if (all[i].kind == StageKind::gemv) {
                EXPECT_EQ(static_cast<std::int32_t>(i) - 1, all[i].gemv.input_stage);
            }
        }
    }
}

TEST(ProgramBuilder, TellsFamiliesApartByTheirNormsAndActivations) {
    const std::vector<Stage> llama = stages(llama_parts());
    EXPECT_EQ(Prologue::rms_norm, llama[1].gemv.prologue);
    EXPECT_EQ(Epilogue::swiglu, llama[4].gemv.epilogue);
    EXPECT_EQ(2, llama[4].gemv.rows_per_unit);
    EXPECT_EQ(nullptr, llama[4].gemv.bias);
    for (const Epilogue activation : {Epilogue::gelu_tanh, Epilogue::gelu_erf, Epilogue::relu}) {
        ProgramParts parts = gpt2_parts();
        parts.activation = activation;
        const std::vector<Stage> gpt = stages(parts);
        EXPECT_EQ(Prologue::layer_norm, gpt[1].gemv.prologue);
        EXPECT_EQ(activation, gpt[4].gemv.epilogue);
        EXPECT_EQ(1, gpt[4].gemv.rows_per_unit);
        EXPECT_NE(nullptr, gpt[4].gemv.bias);
        EXPECT_FLOAT_EQ(1e-6f, gpt[4].gemv.norm_eps);
    }
}

TEST(ProgramBuilder, BuffersLieApartAndInsideTheBlock) {
    for (const std::int32_t splits : {1, 4, 8}) {
        for (const ProgramParts& parts : {llama_parts(), gpt2_parts()}) {
            const ProgramLayout at = layout_of(parts, splits, blocks);
            const std::size_t angles =
                parts.rope_frequencies.size() * static_cast<std::size_t>(parts.context) * 4;
            const std::size_t heads = 8;
            std::vector<std::pair<std::size_t, std::size_t>> regions = {
                {at.stages, (5 * parts.layers.size() + 2) * sizeof(Stage)},
                {at.hidden, 256 * sizeof(FloatWord)},
                {at.qkv, static_cast<std::size_t>(parts.layers[0].qkv.rows) * sizeof(FloatWord)},
                {at.partial, static_cast<std::size_t>(splits) * heads * 34 * sizeof(FloatWord)},
                {at.ffn, static_cast<std::size_t>(parts.layers[0].down.in_features) * 4},
                {at.logits, 1000 * 4},
                {at.token, 3 * 4},
                {at.new_tokens, 701 * 4},
                {at.best, 2 * blocks * 8},
                {at.token_ns, 700 * 8},
                {at.rope_cos, angles},
                {at.rope_sin, angles}};
            std::sort(regions.begin(), regions.end());
            std::size_t end = 0;
            for (const auto& [begin, bytes] : regions) {
                EXPECT_GE(begin, end);
                EXPECT_EQ(0U, begin % 16);
                end = begin + bytes;
            }
            EXPECT_LE(end, at.bytes);
        }
    }
}

TEST(ProgramBuilder, KnowsTheWidestInputAndWhetherThereAreOutliers) {
    ProgramParts parts = gpt2_parts(Codes::i8_i8);
    const auto program = [&] {
        return program_of(parts, layout_of(parts, 1, blocks), memory().data(), 1);
    };
    EXPECT_EQ(1024, program().max_in_features);
    EXPECT_FALSE(program().outliers);
    parts.layers[2].down.threshold = 6;
    EXPECT_TRUE(program().outliers);
    EXPECT_EQ(nullptr, program().rope_cos);
    EXPECT_EQ(2, program().position_offset);
    EXPECT_EQ(1000, program().vocabulary);
    EXPECT_EQ(program().token + 1, program().position);
    EXPECT_EQ(704, program().context);  // the distance between heads, not the positions served
}

TEST(ProgramBuilder, SplitsLongContextsOverAtMostOneRoundOfBlocks) {
    ProgramParts parts = llama_parts();
    for (const auto& [context, heads, most] : {std::tuple{100, 8, 1},
                                               {129, 8, 2},
                                               {100'000, 8, 8},
                                               {100'000, 32, 4},
                                               {4096, 71, 1},
                                               {4096, 500, 1}}) {
        parts.context = parts.cache_stride = context;
        parts.heads = heads;
        EXPECT_EQ(most, splits_for(parts, blocks)) << context << " " << heads;
    }
}

TEST(ProgramBuilder, RotaryTablesHoldEveryPosition) {
    const ProgramParts parts = llama_parts();
    const RopeTables tables = rope_tables(parts);
    ASSERT_EQ(700U * 16, tables.cos.size());
    ASSERT_EQ(tables.cos.size(), tables.sin.size());
    EXPECT_EQ(1.0f, tables.cos[0]);
    EXPECT_FLOAT_EQ(std::cos(699.0f / 8), tables.cos[699 * 16 + 3]);
    EXPECT_FLOAT_EQ(std::sin(5.0f), tables.sin[5 * 16]);
    EXPECT_TRUE(rope_tables(gpt2_parts()).cos.empty());
}

TEST(ProgramBuilder, CountsTheBytesThatAStepReads) {
    const auto one = [](Codes kind) {
        ProgramParts parts = llama_parts(kind);
        parts.layers.resize(1);
        const std::vector<Stage> all = stages(parts);
        return weight_bytes({all[1]});  // q, k and v: 512 rows of 256
    };
    EXPECT_EQ(512U * 256 * 2, one(Codes::f16));
    EXPECT_EQ(512U * 256 * 2, one(Codes::bf16));
    EXPECT_EQ(512U * (256 + 4), one(Codes::i8));
    EXPECT_EQ(512U * (256 + 4), one(Codes::i8_i8));
    EXPECT_EQ(512U * (128 + 4 * 2), one(Codes::i4_group));
    EXPECT_EQ(512U * (128 + 4 * 4), one(Codes::lut4));
    // A bias is read, too.
    EXPECT_EQ(768U * (256 * 2 + 4), weight_bytes({stages(gpt2_parts())[1]}));
}

struct Refusal {
    const char* what;
    std::function<void(ProgramParts&)> damage;
    const char* words;
};

TEST(ProgramBuilder, RefusesWhatTheKernelCannotDoAndSaysWhy) {
    const Refusal refusals[] = {
        {"head size", [](ProgramParts& p) { p.head_dim = 80; }, "80 dimensions"},
        {"no layers", [](ProgramParts& p) { p.layers.clear(); }, "heads"},
        {"uneven heads", [](ProgramParts& p) { p.kv_heads = 3; }, "8 heads over 3"},
        {"short cache", [](ProgramParts& p) { p.cache_stride = 699; }, "699 positions"},
        {"4-bit table", [](ProgramParts& p) { p.embedding.kind = Codes::i4_group; }, "--head"},
        {"wide input", [](ProgramParts& p) { p.layers[1].down.in_features = 20'480; }, "20480"},
        {"odd input", [](ProgramParts& p) { p.layers[1].o.in_features = 254; }, "254"},
        {"odd rows", [](ProgramParts& p) { p.layers[1].qkv.rows = 511; }, "511 rows"},
        {"no norm", [](ProgramParts& p) { p.layers[2].mlp_norm.weight = nullptr; }, "weights"},
        {"no final norm", [](ProgramParts& p) { p.final_norm.weight = nullptr; }, "final norm"},
        {"group of 48",
         [](ProgramParts& p) {
             p.layers[0].up.kind = Codes::i4_group;
             p.layers[0].up.group = 48;
         },
         "groups of 48"},
        {"group of 16",
         [](ProgramParts& p) {
             p.layers[0].up.kind = Codes::i4_group;
             p.layers[0].up.group = 16;
         },
         "groups of 16"},
        {"group that does not divide",
         [](ProgramParts& p) {
             p.layers[0].up.kind = Codes::i4_group;
             p.layers[0].up.group = 512;
         },
         "groups of 512 over 256"},
        {"fp32", [](ProgramParts& p) { p.layers[1].o.kind = Codes::f32; }, "32-bit"},
        {"int8-g64", [](ProgramParts& p) { p.layers[1].o.kind = Codes::i8_group; }, "per group"},
        {"int3", [](ProgramParts& p) { p.layers[1].o.kind = Codes::planes; }, "2, 3, 5"},
        {"flat", [](ProgramParts& p) { p.layers[1].o.kind = Codes::lut4_flat; }, "row ends"},
        {"code book over 96",
         [](ProgramParts& p) {
             p.layers[0].up.kind = Codes::lut4;
             p.layers[0].up.in_features = 96;
         },
         "over 96"},
        {"code book in blocks of 128",
         [](ProgramParts& p) {
             p.layers[0].up.kind = Codes::lut4;
             p.layers[0].up.group = 128;
         },
         "blocks of 128"},
    };
    for (const Codes kind :
         {Codes::f16, Codes::bf16, Codes::i8, Codes::i8_i8, Codes::i4_group, Codes::lut4}) {
        EXPECT_TRUE(check_parts(llama_parts(kind)).ok());
        EXPECT_TRUE(check_parts(gpt2_parts(kind)).ok());
    }
    for (const Refusal& refusal : refusals) {
        ProgramParts parts = llama_parts();
        refusal.damage(parts);
        const Status status = check_parts(parts);
        ASSERT_FALSE(status.ok()) << refusal.what;
        EXPECT_EQ(ErrorCode::unsupported, status.error().code) << refusal.what;
        EXPECT_NE(std::string::npos, status.error().message.find(refusal.words))
            << refusal.what << ": " << status.error().message;
    }
}

}  // namespace
}  // namespace bitsweep::decode::test
