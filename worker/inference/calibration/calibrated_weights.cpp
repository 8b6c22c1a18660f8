#include "worker/inference/calibration/calibrated_weights.h"

#include <algorithm>

namespace bitsweep {
namespace {

// Of grid_name().
const std::string grid_suffix = grid_name("");

const CalibratedWeight* find(const Calibration& calibration, std::string_view name) {
    const auto found = calibration.weights.find(std::string(name));
    return found == calibration.weights.end() ? nullptr : &found->second;
}

bool fits(std::size_t size, std::int64_t wanted) {
    return size == 0 || size == static_cast<std::size_t>(wanted);
}

Status check_weight(const WeightSource& base, const std::string& name,
                    const CalibratedWeight& weight) {
    const std::vector<std::int64_t> shape = TRY(base.shape(name));
    bool good = shape.size() == 2 && weight.grid_width >= 0 && weight.group >= 0;
    if (good) {
        const std::int64_t groups =
            weight.group > 0 ? (shape[1] + weight.group - 1) / weight.group : 0;
        const bool has_codes = !weight.codes.empty();
        good = fits(weight.columns.size(), shape[1]) && fits(weight.rows.size(), shape[0]) &&
               fits(weight.clip.size(), shape[0] * groups) &&
               fits(weight.codes.size(), shape[0] * shape[1]) &&
               weight.grid.size() == static_cast<std::size_t>(shape[0] * weight.grid_width) &&
               (!has_codes || (groups > 0 && weight.grid_width == groups));
    }
    return good ? Status()
                : make_error(ErrorCode::corrupt,
                             "calibration of " + name + " does not fit the shape of that tensor");
}

void read_codes(const CalibratedWeight& weight, std::int64_t in, std::int64_t row, float* dst) {
    const std::uint8_t* codes = weight.codes.data() + row * in;
    const float* scales = weight.grid.data() + row * weight.grid_width;
    for (std::int64_t i = 0; i < in; ++i) {
        dst[i] = static_cast<float>(codes[i] - weight.offset) * scales[i / weight.group];
    }
}

void apply(const CalibratedWeight& weight, std::int64_t in, std::int64_t row, float* dst) {
    if (!weight.columns.empty()) {
        std::transform(dst, dst + in, weight.columns.begin(), dst, std::multiplies<>());
    }
    if (!weight.rows.empty()) {
        const float divisor = weight.rows[static_cast<std::size_t>(row)];
        std::transform(dst, dst + in, dst, [divisor](float v) { return v / divisor; });
    }
    if (!weight.clip.empty()) {
        const float* limits = weight.clip.data() + row * ((in + weight.group - 1) / weight.group);
        for (std::int64_t i = 0; i < in; ++i) {
            const float limit = limits[i / weight.group];
            dst[i] = std::clamp(dst[i], -limit, limit);
        }
    }
}

}  // namespace

Result<std::unique_ptr<CalibratedWeights>> CalibratedWeights::create(
    const WeightSource& base, const Calibration& calibration) {
    for (const auto& [name, weight] : calibration.weights) {
        TRY(check_weight(base, name, weight));
    }
    for (const auto& [name, values] : calibration.vectors) {
        if (base.contains(name) &&
            TRY(base.shape(name)) !=
                std::vector<std::int64_t>{static_cast<std::int64_t>(values.size())}) {
            return make_error(ErrorCode::corrupt,
                              "calibration of " + name + " does not fit the shape of that tensor");
        }
    }
    return std::unique_ptr<CalibratedWeights>(new CalibratedWeights(base, calibration));
}

const CalibratedWeight* CalibratedWeights::weight_of_grid(std::string_view name) const {
    if (!name.ends_with(grid_suffix)) {
        return nullptr;
    }
    name.remove_suffix(grid_suffix.size());
    const CalibratedWeight* weight = find(calibration_, name);
    return weight != nullptr && weight->grid_width > 0 ? weight : nullptr;
}

bool CalibratedWeights::contains(std::string_view name) const {
    return calibration_.vectors.contains(std::string(name)) || weight_of_grid(name) != nullptr ||
           base_.contains(name);
}

Result<std::vector<std::int64_t>> CalibratedWeights::shape(std::string_view name) const {
    if (const auto found = calibration_.vectors.find(std::string(name));
        found != calibration_.vectors.end()) {
        return std::vector<std::int64_t>{static_cast<std::int64_t>(found->second.size())};
    }
    if (const CalibratedWeight* weight = weight_of_grid(name)) {
        const auto width = static_cast<std::size_t>(weight->grid_width);
        return std::vector<std::int64_t>{static_cast<std::int64_t>(weight->grid.size() / width),
                                         weight->grid_width};
    }
    return base_.shape(name);
}

Status CalibratedWeights::read_rows(std::string_view name, std::int64_t begin, std::int64_t end,
                                    float* dst) const {
    if (const auto found = calibration_.vectors.find(std::string(name));
        found != calibration_.vectors.end()) {
        std::ranges::copy(found->second, dst);
        return {};
    }
    if (const CalibratedWeight* weight = weight_of_grid(name)) {
        std::copy(weight->grid.begin() + begin * weight->grid_width,
                  weight->grid.begin() + end * weight->grid_width, dst);
        return {};
    }
    const CalibratedWeight* weight = find(calibration_, name);
    if (weight == nullptr) {
        return base_.read_rows(name, begin, end, dst);
    }
    const std::int64_t in = TRY(base_.shape(name))[1];
    if (weight->codes.empty()) {
        TRY(base_.read_rows(name, begin, end, dst));
    }
    for (std::int64_t row = begin; row < end; ++row, dst += in) {
        weight->codes.empty() ? apply(*weight, in, row, dst) : read_codes(*weight, in, row, dst);
    }
    return {};
}

std::string CalibratedWeights::stored_type(std::string_view name) const {
    return base_.contains(name) ? base_.stored_type(name) : "F32";
}

}  // namespace bitsweep
