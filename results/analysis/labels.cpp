#include "results/analysis/labels.h"

#include <array>
#include <limits>
#include <nlohmann/json.hpp>

namespace bitsweep {
namespace {

// What may differ between cells beside model, method, threshold, head and device. Where one of them
// differs within an experiment it belongs to the model's label.
struct Setting {
    const char* column;
    const char* label;  // "batch=": the value follows
};
constexpr std::array settings = {
    Setting{"weights", "weights="},       Setting{"kv", "kv="},
    Setting{"batch", "batch="},           Setting{"prompt_tokens", "prompt_tokens="},
    Setting{"new_tokens", "new_tokens="}, Setting{"protocol", ""},
    Setting{"threads", "threads="},       Setting{"seed", "seed="},
    Setting{"prompt", "prompt="}};

// Revisions are counted for each backend, so only those of one device are told apart.
std::string method_on_device(const Row& cell) {
    return "method " + cell.label("method") + " on " + cell.label("device");
}

}  // namespace

std::vector<double> numbers_of(const std::string& json) {
    std::vector<double> numbers;
    const auto parsed = nlohmann::json::parse(json, nullptr, false);
    if (!parsed.is_array()) {
        return numbers;
    }
    for (const auto& value : parsed) {
        numbers.push_back(value.is_number() ? value.get<double>()
                                            : std::numeric_limits<double>::quiet_NaN());
    }
    return numbers;
}

std::string sql_text(std::string_view text) {
    std::string out = "'";
    for (const char c : text) {
        out += c;
        if (c == '\'') {
            out += c;
        }
    }
    return out + "'";
}

Labels::Labels(const Table& cells) {
    for (std::size_t i = 0; i < cells.rows.size(); ++i) {
        const Row row(cells, i);
        for (const Setting& setting : settings) {
            values_[setting.column].insert(row.label(setting.column));
        }
        values_["device " + row.label("device")].insert(row.label("device_name"));
        values_[method_on_device(row)].insert(row.label("numerics_revision"));
    }
}

std::string Labels::model(const Row& cell) const {
    std::string label = cell.label("model");
    for (const Setting& setting : settings) {
        if (values_.at(setting.column).size() > 1) {
            label += " " + std::string(setting.label) + cell.label(setting.column);
        }
    }
    return label;
}

std::string Labels::device(const Row& cell) const {
    const std::string device = cell.label("device");
    return values_.at("device " + device).size() > 1
               ? device + " (" + cell.label("device_name") + ")"
               : device;
}

std::string Labels::method(const Row& cell) const {
    const bool several = values_.at(method_on_device(cell)).size() > 1;
    const std::string policy = cell.label("policy_name");
    return method_label(cell) + (policy.empty() ? "" : " (" + policy + ")") +
           (several ? " numerics=" + cell.label("numerics_revision") : "");
}

std::string method_label(const Row& cell) {
    const std::string threshold = cell.label("threshold");
    return cell.label("method") + (threshold.empty() ? "" : " T=" + threshold);
}

}  // namespace bitsweep
