// Weights of a shape out of a counter-based generator: every row follows from (seed, name, row)
// alone, so that rows may be read in any order, by any thread, twice.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <utility>

#include "worker/inference/weight_names.h"
#include "worker/inference/weights.h"

namespace bitsweep {
namespace {

constexpr float deviation = 0.02f;  // initializer_range of all families here

// SplitMix64's finaliser (Steele, Lea, Flood 2014): every bit of the input reaches every output
// bit.
inline std::uint64_t mix(std::uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

constexpr std::uint64_t golden = 0x9e3779b97f4a7c15ull;

std::uint64_t hash_text(std::uint64_t seed, std::string_view text) {
    std::uint64_t hash = mix(seed + golden);
    for (const char c : text) {
        hash = mix(hash ^ static_cast<unsigned char>(c)) + golden;
    }
    return hash;
}

// The sum of four 16-bit uniforms: mean 131,070, deviation 2 * 65,536 / sqrt(12) = 37,837.2; close
// to normal up to 3.4 deviations.
void normal_row(std::uint64_t state, std::int64_t count, float of_deviation, float* dst) {
    const float scale = of_deviation / 37837.2f;
    for (std::int64_t i = 0; i < count; ++i) {
        const std::uint64_t bits = mix(state + golden * static_cast<std::uint64_t>(i));
        const auto sum = static_cast<std::int32_t>((bits & 0xffff) + ((bits >> 16) & 0xffff) +
                                                   ((bits >> 32) & 0xffff) + (bits >> 48));
        dst[i] = static_cast<float>(sum - 131070) * scale;
    }
}

// Input columns (or output rows) of one tensor that are multiplied by `gain`.
struct Planted {
    std::vector<std::int64_t> columns;
    std::vector<std::int64_t> rows;
    float column_gain = 1;
    float row_gain = 1;
};

enum class Role { weight, norm_weight, norm_bias, bias };

struct Tensor {
    std::vector<std::int64_t> shape;
    Role role = Role::weight;
    float deviation = bitsweep::deviation;
    Planted planted;
};

bool ends_with_any(std::string_view text, std::initializer_list<std::string_view> ends) {
    return std::ranges::any_of(ends, [text](std::string_view end) { return text.ends_with(end); });
}

Role role_of(std::string_view name) {
    const std::size_t dot = name.rfind('.');
    const std::string_view owner = name.substr(0, dot);
    const bool bias = name.ends_with(".bias");
    const bool norm = ends_with_any(owner, {"norm", ".ln_1", ".ln_2", "ln_f"});
    if (norm) {
        return bias ? Role::norm_bias : Role::norm_weight;
    }
    return bias ? Role::bias : Role::weight;
}

// Gates and ups of normed inputs are about N(0, s^2) with s = 0.02 sqrt(width), and silu(gate) * up
// has an RMS of 0.6 s^2 (within 10 % for s from 0.5 to 2): 1.0 at a width of 4,096, where 48 values
// a token are beyond 6 and over 2,048 tokens 99 % of the columns are outliers. In trained models it
// is small at any width: over 2,048 tokens of held-out text a median of 0.20 over the 30 layers of
// SmolLM2-135M (0.10 to 0.86 but for three with massive activations), over 512 tokens 0.14 to 0.45
// in llama-nano and llama-micro. So ups are made small enough for this RMS, and the outliers are
// those that are planted. (SmolLM2 itself has a median of 22 outlier columns of 1,536 there, 164 to
// 1,068 in its last ten layers.)
constexpr double gated_rms = 0.2;

float up_factor(const ModelConfig& config) {
    if (config.family == ModelFamily::gpt2 || config.family == ModelFamily::opt) {
        return 1;  // no gate; an activation is about as large as what it is of
    }
    const double of_input = deviation * std::sqrt(static_cast<double>(config.width));
    return static_cast<float>(std::min(1.0, gated_rms / (0.6 * of_input * of_input)));
}

// `count` different indices below `width`.
std::vector<std::int64_t> choose(std::uint64_t state, int count, std::int64_t width) {
    std::vector<std::int64_t> chosen;
    while (static_cast<std::int64_t>(chosen.size()) < std::min<std::int64_t>(count, width)) {
        state = mix(state + golden);
        const auto index = static_cast<std::int64_t>(state % static_cast<std::uint64_t>(width));
        if (std::ranges::find(chosen, index) == chosen.end()) {
            chosen.push_back(index);
        }
    }
    return chosen;
}

// A normalised feature is about N(0, 1): scaled by 4 magnitudes it exceeds one in 80 % of tokens.
// Outliers sit in the same columns of every layer's normed inputs, as in trained models, and the
// weights that read such a column are divided by the gain: the network computes what it would
// compute without them, but rounding feels them.
void plant(const ModelConfig& config, const RandomWeightsOptions& options, const std::string& name,
           Tensor* tensor) {
    const bool in_layer = name.starts_with("h.") || name.find("layers.") != std::string::npos;
    if (options.outlier_columns <= 0 || !in_layer) {
        return;
    }
    const auto stream =
        choose(hash_text(options.seed, "outlier columns"), options.outlier_columns, config.width);
    const auto inner = choose(hash_text(options.seed, "outlier columns of the MLP"),
                              options.outlier_columns, config.ffn);
    const auto gain = static_cast<float>(4 * options.outlier_magnitude);
    const float factor = up_factor(config);
    const auto inner_gain =
        static_cast<float>(8 * options.outlier_magnitude /
                           (deviation * factor * std::sqrt(static_cast<double>(config.width))));
    Planted& planted = tensor->planted;
    if (tensor->role == Role::norm_weight) {
        planted.columns = stream;
        planted.column_gain = gain;
    } else if (ends_with_any(name, {"q_proj.weight", "k_proj.weight", "v_proj.weight",
                                    "attn.c_attn.weight", "gate_proj.weight"})) {
        planted.columns = stream;
        planted.column_gain = 1 / gain;
    } else if (ends_with_any(name, {"up_proj.weight", "mlp.c_fc.weight", "fc1.weight"})) {
        planted.columns = stream;
        planted.column_gain = 1 / gain;
        planted.rows = inner;
        planted.row_gain = inner_gain;
    } else if (ends_with_any(name, {"down_proj.weight", "mlp.c_proj.weight", "fc2.weight"})) {
        planted.columns = inner;
        planted.column_gain = 1 / inner_gain;
    }
}

class RandomWeights : public WeightSource {
 public:
    RandomWeights(const ModelConfig& config, const RandomWeightsOptions& options)
        : options_(options) {
        for (TensorSpec& spec : required_tensors(config)) {
            Tensor tensor;
            tensor.role = role_of(spec.name);
            tensor.shape = std::move(spec.shape);
            if (spec.name.ends_with("up_proj.weight")) {
                tensor.deviation *= up_factor(config);
            }
            plant(config, options, spec.name, &tensor);
            tensors_.emplace(std::move(spec.name), std::move(tensor));
        }
    }

    bool contains(std::string_view name) const override { return tensors_.contains(name); }

    Result<std::vector<std::int64_t>> shape(std::string_view name) const override {
        const auto found = tensors_.find(name);
        if (found == tensors_.end()) {
            return make_error(ErrorCode::not_found,
                              "random weights: this shape has no tensor " + std::string(name));
        }
        return found->second.shape;
    }

    Status read_rows(std::string_view name, std::int64_t begin, std::int64_t end,
                     float* dst) const override {
        const std::vector<std::int64_t> shape = TRY(this->shape(name));
        const Tensor& tensor = tensors_.find(name)->second;
        const std::int64_t rows = shape.size() == 1 ? 1 : shape[0];
        const std::int64_t columns = shape.back();
        if (begin < 0 || begin > end || end > rows) {
            return make_error(ErrorCode::invalid_input,
                              "random weights: rows " + std::to_string(begin) + " to " +
                                  std::to_string(end) + " of " + std::string(name) +
                                  ", which has " + std::to_string(rows));
        }
        const std::uint64_t state = hash_text(options_.seed, name);
        for (std::int64_t row = begin; row < end; ++row) {
            fill_row(tensor, state, row, columns, dst + (row - begin) * columns);
        }
        return {};
    }

    std::string stored_type(std::string_view) const override {
        return "random (seed " + std::to_string(options_.seed) + ", " +
               std::to_string(options_.outlier_columns) + " outlier columns)";
    }

 private:
    static void fill_row(const Tensor& tensor, std::uint64_t state, std::int64_t row,
                         std::int64_t columns, float* dst) {
        switch (tensor.role) {
            case Role::norm_weight:
                std::fill_n(dst, columns, 1.0f);
                break;
            case Role::norm_bias:
                std::fill_n(dst, columns, 0.0f);
                break;
            case Role::bias:
            case Role::weight:
                normal_row(mix(state + golden * static_cast<std::uint64_t>(row)), columns,
                           tensor.deviation, dst);
                break;
        }
        for (const std::int64_t column : tensor.planted.columns) {
            dst[column] *= tensor.planted.column_gain;
        }
        if (std::ranges::find(tensor.planted.rows, row) != tensor.planted.rows.end()) {
            for (std::int64_t i = 0; i < columns; ++i) {
                dst[i] *= tensor.planted.row_gain;
            }
        }
    }

    RandomWeightsOptions options_;
    std::map<std::string, Tensor, std::less<>> tensors_;
};

}  // namespace

std::unique_ptr<WeightSource> random_weights(const ModelConfig& config,
                                             const RandomWeightsOptions& options) {
    return std::make_unique<RandomWeights>(config, options);
}

}  // namespace bitsweep
