#include "worker/inference/quant/gptq/solve.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "worker/inference/backend/cpu/gemm.h"
#include "worker/inference/quant/gptq/hessian.h"
#include "worker/inference/quant/shared/halves.h"
#include "worker/inference/quant/shared/integers.h"

namespace bitsweep::quant {
namespace {

// Rows of the weight that walk along the factor together: each row of it is then read once for all.
constexpr std::int64_t rows_together = 16;

// Rows whose errors are multiplied at once.
constexpr std::int64_t rows_at_once = 256;

std::size_t at(std::int64_t row, std::int64_t column, std::int64_t width) {
    return static_cast<std::size_t>(row * width + column);
}

// Position -> input.
std::vector<std::int64_t> order_of(const std::vector<double>& moments, std::int64_t in,
                                   ActOrder order) {
    std::vector<std::int64_t> inputs(static_cast<std::size_t>(in));
    std::iota(inputs.begin(), inputs.end(), 0);
    if (order == ActOrder::by_moment) {
        std::ranges::stable_sort(inputs, std::greater<>(),
                                 [&](std::int64_t i) { return moments[at(i, i, in)]; });
    }
    return inputs;
}

// H in that order. An input that was always zero gets a diagonal of one: it is tied to nothing.
std::vector<double> ordered_moments(const std::vector<double>& moments, std::int64_t in,
                                    const std::vector<std::int64_t>& order) {
    std::vector<double> h(moments.size());
    for (std::int64_t i = 0; i < in; ++i) {
        for (std::int64_t j = 0; j < in; ++j) {
            h[at(i, j, in)] = moments[at(order[static_cast<std::size_t>(i)],
                                         order[static_cast<std::size_t>(j)], in)];
        }
        double& diagonal = h[at(i, i, in)];
        diagonal = diagonal == 0 ? 1.0 : diagonal;
    }
    return h;
}

Status choose_scales(const std::vector<float>& weight, std::int64_t out, std::int64_t in,
                     const GptqOptions& options, GptqCodes& to) {
    const auto levels = static_cast<float>((1 << (options.bits - 1)) - 1);
    to.groups = (in + options.group - 1) / options.group;
    for (std::int64_t row = 0; row < out; ++row) {
        for (std::int64_t first = 0; first < in; first += options.group) {
            const float* values = weight.data() + at(row, first, in);
            const float largest = absmax(values, std::min(options.group, in - first));
            const float scale = round_to_f16(largest / levels);
            if (!std::isfinite(scale)) {
                return make_error(ErrorCode::invalid_numbers,
                                  "row " + std::to_string(row) + " holds " +
                                      std::to_string(largest) +
                                      ": the scale of its group does not fit fp16; use int8");
            }
            to.scales.push_back(scale);
        }
    }
    return {};
}

struct Walk {
    const std::vector<float>& weight;
    const std::vector<double>& upper;
    const std::vector<std::int64_t>& order;
    const std::vector<double>& moments;
    std::int64_t in;
    const GptqOptions& options;
    GptqCodes& to;

    // Rows [begin, end): each input in turn is rounded, and what that loses is moved to the inputs
    // not yet rounded.
    void rows(std::int64_t begin, std::int64_t end) const {
        std::vector<double> left(static_cast<std::size_t>((end - begin) * in));
        for (std::int64_t row = begin; row < end; ++row) {
            for (std::int64_t i = 0; i < in; ++i) {
                left[at(row - begin, i, in)] =
                    weight[at(row, order[static_cast<std::size_t>(i)], in)];
            }
        }
        for (std::int64_t i = 0; i < in; ++i) {
            const double* factor = upper.data() + at(i, 0, in);
            for (std::int64_t row = begin; row < end; ++row) {
                double* rest = left.data() + at(row - begin, 0, in);
                const double error = (rest[i] - round_one(row, i, rest[i])) / factor[i];
                for (std::int64_t j = i + 1; j < in; ++j) {
                    rest[j] -= error * factor[j];
                }
            }
        }
    }

    // Stores the code of position i of a row; returns what it stands for.
    double round_one(std::int64_t row, std::int64_t i, double value) const {
        const std::int64_t input = order[static_cast<std::size_t>(i)];
        const int most = (1 << (options.bits - 1)) - 1;
        const float scale = to.scales[at(row, input / options.group, to.groups)];
        const bool dead = moments[at(input, input, in)] == 0;
        const float steps = scale > 0 && !dead ? static_cast<float>(value) / scale : 0.0f;
        const float bounded =
            std::clamp(steps, -static_cast<float>(most), static_cast<float>(most));
        const int code = static_cast<int>(round_even(bounded));
        to.codes[at(row, input, in)] = static_cast<std::uint8_t>(code + most + 1);
        return static_cast<double>(code) * static_cast<double>(scale);
    }
};

// Of element `i` of the flat weight.
float scale_at(const GptqCodes& codes, std::int64_t i, std::int64_t in,
               const GptqOptions& options) {
    return codes.scales[at(i / in, i % in / options.group, codes.groups)];
}

}  // namespace

Result<GptqCodes> solve_gptq(ThreadPool& threads, const std::vector<float>& weight,
                             std::int64_t out, std::int64_t in, const std::vector<double>& moments,
                             const GptqOptions& options) {
    ASSERT(weight.size() == at(out, 0, in) && moments.size() == at(in, 0, in));
    GptqCodes codes;
    TRY(choose_scales(weight, out, in, options, codes));
    codes.codes.resize(weight.size());
    const auto order = order_of(moments, in, options.order);
    std::vector<double> h = ordered_moments(moments, in, order);
    const InverseFactor factor = TRY(inverse_factor(h, in, options.damping));
    codes.damping_used = factor.damping_used;
    const Walk walk{weight, factor.upper, order, moments, in, options, codes};
    const std::int64_t blocks = (out + rows_together - 1) / rows_together;
    const auto share = [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t block = begin; block < end; ++block) {
            walk.rows(block * rows_together, std::min(out, (block + 1) * rows_together));
        }
    };
    threads.parallel_for(blocks, 1, std::cref(share));
    return codes;
}

double output_error(ThreadPool& threads, const std::vector<float>& weight,
                    const std::vector<float>& other, std::int64_t in,
                    const std::vector<double>& moments) {
    const std::vector<float> narrow(moments.begin(), moments.end());
    const auto out = static_cast<std::int64_t>(weight.size()) / in;
    std::vector<float> lost(static_cast<std::size_t>(rows_at_once * in)), product(lost.size());
    double error = 0;
    for (std::int64_t first = 0; first < out; first += rows_at_once) {
        const std::int64_t rows = std::min(rows_at_once, out - first);
        const auto from = weight.begin() + first * in;
        std::transform(from, from + rows * in, other.begin() + first * in, lost.begin(),
                       std::minus<>());
        gemm_f32(threads, lost.data(), narrow.data(), product.data(), rows, in, in, in);
        error += std::inner_product(lost.begin(), lost.begin() + rows * in, product.begin(), 0.0);
    }
    return error;
}

std::vector<float> effective_weights(const GptqCodes& codes, std::int64_t in,
                                     const GptqOptions& options) {
    std::vector<float> weights(codes.codes.size());
    const int offset = 1 << (options.bits - 1);
    for (std::size_t i = 0; i < weights.size(); ++i) {
        weights[i] = static_cast<float>(codes.codes[i] - offset) *
                     scale_at(codes, static_cast<std::int64_t>(i), in, options);
    }
    return weights;
}

std::vector<float> nearest_weights(const GptqCodes& codes, const std::vector<float>& weight,
                                   std::int64_t in, const GptqOptions& options) {
    std::vector<float> weights(weight.size());
    const auto most = static_cast<float>((1 << (options.bits - 1)) - 1);
    for (std::size_t i = 0; i < weights.size(); ++i) {
        const float scale = scale_at(codes, static_cast<std::int64_t>(i), in, options);
        const float steps = scale > 0 ? weight[i] / scale : 0.0f;
        weights[i] = round_even(std::clamp(steps, -most, most)) * scale;
    }
    return weights;
}

}  // namespace bitsweep::quant
