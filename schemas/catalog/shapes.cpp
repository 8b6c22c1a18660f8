#include "schemas/catalog/shapes.h"

#include <algorithm>
#include <array>

#include "schemas/catalog/edit_distance.h"
#include "schemas/status.h"

namespace bitsweep {
namespace {

using enum ModelFamily;

// Sources: config.json of each published checkpoint on the Hugging Face hub; parameter counts as
// the hub counts them (tied tensors once; opt-66b from its config alone). DialoGPT has GPT-2's
// shapes. The six small models at the end are bitsweep's own (experiments/models).
//
// Two lines a row: name, family, layers, width, heads, kv_heads, head_dim, ffn, vocabulary,
// positions; tied, embed_width, rope_theta, parameters.
constexpr ModelShape table[] = {
    // clang-format off
    {"gpt2",            gpt2,     12,   768,  12, 12,  64,  3072,  50257,   1024,
     true, 768, 0, 124'439'808},
    {"gpt2-medium",     gpt2,     24,  1024,  16, 16,  64,  4096,  50257,   1024,
     true, 1024, 0, 354'823'168},
    {"gpt2-large",      gpt2,     36,  1280,  20, 20,  64,  5120,  50257,   1024,
     true, 1280, 0, 774'030'080},
    {"gpt2-xl",         gpt2,     48,  1600,  25, 25,  64,  6400,  50257,   1024,
     true, 1600, 0, 1'557'611'200},
    {"dialogpt-small",  gpt2,     12,   768,  12, 12,  64,  3072,  50257,   1024,
     true, 768, 0, 124'439'808},
    {"dialogpt-medium", gpt2,     24,  1024,  16, 16,  64,  4096,  50257,   1024,
     true, 1024, 0, 354'823'168},
    {"dialogpt-large",  gpt2,     36,  1280,  20, 20,  64,  5120,  50257,   1024,
     true, 1280, 0, 774'030'080},

    {"opt-125m",        opt,      12,   768,  12, 12,  64,  3072,  50272,   2048,
     true, 768, 0, 125'239'296},
    {"opt-350m",        opt,      24,  1024,  16, 16,  64,  4096,  50272,   2048,
     true, 512, 0, 331'196'416},
    {"opt-1.3b",        opt,      24,  2048,  32, 32,  64,  8192,  50272,   2048,
     true, 2048, 0, 1'315'758'080},
    {"opt-2.7b",        opt,      32,  2560,  32, 32,  80, 10240,  50272,   2048,
     true, 2560, 0, 2'651'596'800},
    {"opt-6.7b",        opt,      32,  4096,  32, 32, 128, 16384,  50272,   2048,
     true, 4096, 0, 6'658'473'984},
    {"opt-13b",         opt,      40,  5120,  40, 40, 128, 20480,  50272,   2048,
     true, 5120, 0, 12'853'473'280},
    {"opt-30b",         opt,      48,  7168,  56, 56, 128, 28672,  50272,   2048,
     true, 7168, 0, 29'974'540'288},
    {"opt-66b",         opt,      64,  9216,  72, 72, 128, 36864,  50272,   2048,
     true, 9216, 0, 65'719'701'504},

    {"llama-3-8b",      llama,    32,  4096,  32,  8, 128, 14336, 128256,   8192,
     false, 4096, 5e5, 8'030'261'248},
    {"llama-3-70b",     llama,    80,  8192,  64,  8, 128, 28672, 128256,   8192,
     false, 8192, 5e5, 70'553'706'496},
    {"llama-3.1-8b",    llama,    32,  4096,  32,  8, 128, 14336, 128256, 131072,
     false, 4096, 5e5, 8'030'261'248},
    {"llama-3.1-70b",   llama,    80,  8192,  64,  8, 128, 28672, 128256, 131072,
     false, 8192, 5e5, 70'553'706'496},
    {"llama-3.1-405b",  llama,   126, 16384, 128,  8, 128, 53248, 128256, 131072,
     false, 16384, 5e5, 405'853'388'800},
    {"llama-3.2-1b",    llama,    16,  2048,  32,  8,  64,  8192, 128256, 131072,
     true, 2048, 5e5, 1'235'814'400},
    {"llama-3.2-3b",    llama,    28,  3072,  24,  8, 128,  8192, 128256, 131072,
     true, 3072, 5e5, 3'212'749'824},
    {"llama-3.3-70b",   llama,    80,  8192,  64,  8, 128, 28672, 128256, 131072,
     false, 8192, 5e5, 70'553'706'496},
    {"smollm2-135m",    llama,    30,   576,   9,  3,  64,  1536,  49152,   8192,
     true, 576, 1e5, 134'515'008},
    {"smollm2-360m",    llama,    32,   960,  15,  5,  64,  2560,  49152,   8192,
     true, 960, 1e5, 361'821'120},
    {"smollm2-1.7b",    llama,    24,  2048,  32, 32,  64,  8192,  49152,   8192,
     true, 2048, 1.3e5, 1'711'376'384},

    {"qwen2.5-0.5b",    qwen2,    24,   896,  14,  2,  64,  4864, 151936,  32768,
     true, 896, 1e6, 494'032'768},
    {"qwen2.5-1.5b",    qwen2,    28,  1536,  12,  2, 128,  8960, 151936,  32768,
     true, 1536, 1e6, 1'543'714'304},
    {"qwen2.5-3b",      qwen2,    36,  2048,  16,  2, 128, 11008, 151936,  32768,
     true, 2048, 1e6, 3'085'938'688},
    {"qwen2.5-7b",      qwen2,    28,  3584,  28,  4, 128, 18944, 152064, 131072,
     false, 3584, 1e6, 7'615'616'512},
    {"qwen2.5-14b",     qwen2,    48,  5120,  40,  8, 128, 13824, 152064, 131072,
     false, 5120, 1e6, 14'770'033'664},
    {"qwen2.5-32b",     qwen2,    64,  5120,  40,  8, 128, 27648, 152064, 131072,
     false, 5120, 1e6, 32'763'876'352},
    {"qwen2.5-72b",     qwen2,    80,  8192,  64,  8, 128, 29568, 152064, 131072,
     false, 8192, 1e6, 72'706'203'648},

    {"mistral-7b",      mistral,  32,  4096,  32,  8, 128, 14336,  32000,  32768,
     false, 4096, 1e4, 7'241'732'096},

    {"llama-pico",      llama,     3,    64,   2,  1,  32,   192,   4096,    512,
     true, 64, 1e4, 410'048},
    {"llama-nano",      llama,     4,   128,   4,  2,  32,   384,   4096,    512,
     true, 128, 1e4, 1'311'872},
    {"llama-micro",     llama,     6,   256,   8,  4,  32,   704,   4096,    512,
     true, 256, 1e4, 5'475'584},
    {"llama-mini",      llama,     8,   384,   6,  2,  64,  1024,   4096,    512,
     true, 384, 1e4, 14'162'304},
    {"gpt2-nano",       gpt2,      4,   128,   4,  4,  32,   512,   4096,    512,
     true, 128, 0, 1'383'168},
    {"opt-nano",        opt,       4,   128,   4,  4,  32,   512,   4096,    512,
     true, 128, 0, 1'383'424},
    // clang-format on
};

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool same_name(std::string_view a, std::string_view b) {
    return std::ranges::equal(a, b, {}, lower, lower);
}

std::size_t caseless_replacement(char a, char b) {
    return unit_replacement(lower(a), lower(b));
}

}  // namespace

std::string_view to_string(ModelFamily family) {
    switch (family) {
        case ModelFamily::gpt2:
            return "gpt2";
        case ModelFamily::opt:
            return "opt";
        case ModelFamily::llama:
            return "llama";
        case ModelFamily::qwen2:
            return "qwen2";
        case ModelFamily::mistral:
            return "mistral";
    }
    ASSERT(false);
}

std::span<const ModelShape> shape_table() {
    return table;
}

const ModelShape* find_shape(std::string_view name) {
    const auto found = std::ranges::find_if(
        table, [name](const ModelShape& shape) { return same_name(shape.name, name); });
    return found == std::end(table) ? nullptr : &*found;
}

std::string nearest_shape(std::string_view name) {
    // Nobody mistypes a name by hundreds of letters; the bound keeps hostile input cheap.
    name = name.substr(0, 64);
    const auto nearest = std::ranges::min_element(table, {}, [name](const ModelShape& shape) {
        return edit_distance(name, shape.name, caseless_replacement);
    });
    return std::string(nearest->name);
}

std::int64_t shape_parameters(const ModelShape& shape) {
    const std::int64_t width = shape.width;
    const std::int64_t q = shape.heads * shape.head_dim;
    const std::int64_t kv = shape.kv_heads * shape.head_dim;
    const std::int64_t embedding = shape.vocabulary * shape.embed_width;
    std::int64_t per_layer = width * (q + 2 * kv) + q * width;
    std::int64_t once = embedding * (shape.tied ? 1 : 2);
    switch (shape.family) {
        case ModelFamily::gpt2:
        case ModelFamily::opt: {
            const std::int64_t biases = q + 2 * kv + width + shape.ffn + width;
            per_layer += 2 * width * shape.ffn + biases + 4 * width;
            // OPT stores two positions more than it uses. A narrower embedding (350m) goes with
            // post-norm blocks: two projections and no final norm.
            const bool projected = shape.embed_width != width;
            const std::int64_t offset = shape.family == ModelFamily::opt ? 2 : 0;
            once += (shape.positions + offset) * width;
            once += projected ? 2 * shape.embed_width * width : 2 * width;
            break;
        }
        case ModelFamily::qwen2:
            per_layer += q + 2 * kv;
            [[fallthrough]];
        case ModelFamily::llama:
        case ModelFamily::mistral:
            per_layer += 3 * width * shape.ffn + 2 * width;
            once += width;
            break;
    }
    return shape.layers * per_layer + once;
}

}  // namespace bitsweep
