#include "worker/inference/quant/shared/read_weight.h"

#include <algorithm>
#include <cmath>

#include "worker/inference/quant/shared/halves.h"

namespace bitsweep::quant {
namespace {

// 2^24 inputs or outputs is 16 times the largest vocabulary known; no byte count overflows below.
constexpr std::int64_t largest_side = std::int64_t{1} << 24;
constexpr std::int64_t chunk_values = std::int64_t{1} << 18;  // 1 MiB: stays in a core's cache

std::string place(const DenseWeight& weight, std::int64_t row, std::int64_t column) {
    return weight.name + "[" + std::to_string(row) + ", " + std::to_string(column) + "]";
}

}  // namespace

Status check_shape(const DenseWeight& weight) {
    const auto sane = [](std::int64_t side) { return side > 0 && side < largest_side; };
    if (!sane(weight.out_features) || !sane(weight.in_features)) {
        return make_error(ErrorCode::invalid_input, weight.name + ": a linear layer of shape [" +
                                                        std::to_string(weight.out_features) + ", " +
                                                        std::to_string(weight.in_features) +
                                                        "]; both sides must be between 1 and 2^24");
    }
    if (!weight.bias.empty() && std::cmp_not_equal(weight.bias.size(), weight.out_features)) {
        return make_error(ErrorCode::invalid_input,
                          weight.name + ": a bias of " + std::to_string(weight.bias.size()) +
                              " values for " + std::to_string(weight.out_features) + " outputs");
    }
    for (std::size_t i = 0; i < weight.bias.size(); ++i) {
        if (!std::isfinite(weight.bias[i])) {
            return make_error(ErrorCode::invalid_numbers, weight.name + ": bias[" +
                                                              std::to_string(i) + "] is " +
                                                              std::to_string(weight.bias[i]));
        }
    }
    return {};
}

Status check_values(const DenseWeight& weight, std::int64_t row, float* values, Element element) {
    for (std::int64_t k = 0; k < weight.in_features; ++k) {
        if (!std::isfinite(values[k])) {
            return make_error(ErrorCode::invalid_numbers,
                              place(weight, row, k) + " is " + std::to_string(values[k]) +
                                  "; weights must be finite: the file is damaged");
        }
        if (element == Element::f16) {
            const float rounded = round_to_f16(values[k]);
            if (!std::isfinite(rounded)) {
                return make_error(ErrorCode::invalid_numbers,
                                  place(weight, row, k) + " = " + std::to_string(values[k]) +
                                      " does not fit fp16 (at most 65504): use a method that keeps "
                                      "float32 or bf16 weights");
            }
            values[k] = rounded;
        }
    }
    return {};
}

Status for_each_row(const DenseWeight& weight, Element element, const RowSink& sink) {
    const std::int64_t width = weight.in_features;
    const std::int64_t rows_at_once = std::clamp<std::int64_t>(chunk_values / width, 1, 256);
    std::vector<float> chunk(static_cast<std::size_t>(rows_at_once * width));
    for (std::int64_t begin = 0; begin < weight.out_features; begin += rows_at_once) {
        const std::int64_t end = std::min(weight.out_features, begin + rows_at_once);
        TRY(weight.rows(begin, end, chunk.data()));
        for (std::int64_t row = begin; row < end; ++row) {
            float* values = chunk.data() + (row - begin) * width;
            TRY(check_values(weight, row, values, element));
            TRY(sink(row, values));
        }
    }
    return {};
}

}  // namespace bitsweep::quant
