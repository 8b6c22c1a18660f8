// optimum-benchmark's benchmark.json: `config` and `report` of one run.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "results/store/external.h"

namespace bitsweep {
namespace {

using nlohmann::json;

constexpr double ns_per_s = 1e9;
constexpr double joules_per_kwh = 3.6e6;
constexpr double bytes_per_mb = 1e6;  // optimum-benchmark's memory is in units of 1e6 bytes

// The value at a path of keys, null where any is missing.
json at(const json& root, std::initializer_list<const char*> path) {
    const json* place = &root;
    for (const char* key : path) {
        if (!place->is_object()) {
            return nullptr;
        }
        const auto found = place->find(key);
        if (found == place->end()) {
            return nullptr;
        }
        place = &*found;
    }
    return *place;
}

std::string text_of(const json& value) {
    return value.is_string() ? value.get<std::string>() : "";
}

std::optional<double> number_of(const json& value) {
    return value.is_number() ? std::optional(value.get<double>()) : std::nullopt;
}

std::vector<double> numbers_of(const json& values) {
    std::vector<double> numbers;
    if (values.is_array()) {
        for (const json& value : values) {
            if (value.is_number() && value.get<double>() > 0) {
                numbers.push_back(value.get<double>());
            }
        }
    }
    return numbers;
}

double median_of(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const std::size_t middle = values.size() / 2;
    return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

// "fp16", "bnb 8 bits", "gptq 4 bits"
std::string method_of(const json& backend) {
    const std::string scheme = text_of(at(backend, {"quantization_scheme"}));
    const json settings = at(backend, {"quantization_config"});
    std::string dtype = text_of(at(backend, {"torch_dtype"}));
    dtype = dtype.empty() ? text_of(at(backend, {"dtype"})) : dtype;
    dtype = dtype == "float16" ? "fp16" : dtype == "bfloat16" ? "bf16" : dtype;
    if (scheme.empty() && !settings.is_object()) {
        return dtype.empty() ? "default" : dtype;
    }
    std::string bits;
    if (at(settings, {"load_in_8bit"}) == true) {
        bits = " 8 bits";
    } else if (at(settings, {"load_in_4bit"}) == true) {
        bits = " 4 bits";
    } else if (const auto number = number_of(at(settings, {"bits"}))) {
        bits = " " + std::to_string(static_cast<int>(*number)) + " bits";
    }
    return (scheme.empty() ? std::string("quantized") : scheme) + bits;
}

// A rate from the seconds of each repetition: `tokens` each.
void add_rate(ExternalRun& run, const char* metric, const json& part, double tokens) {
    std::vector<double> rates;
    for (const double seconds : numbers_of(at(part, {"latency", "values"}))) {
        rates.push_back(tokens / seconds);
    }
    const auto printed = number_of(at(part, {"throughput", "value"}));
    if (!rates.empty() && tokens > 0) {
        run.measurements.push_back({metric, "token/s", median_of(rates), rates});
    } else if (printed && *printed > 0) {
        run.measurements.push_back({metric, "token/s", *printed, {}});
    }
}

void add_memory_and_energy(ExternalRun& run, const json& decode, double tokens) {
    if (const auto memory = number_of(at(decode, {"memory", "max_allocated"}))) {
        run.measurements.push_back({"device_memory_bytes", "B", *memory * bytes_per_mb, {}});
    }
    if (const auto energy = number_of(at(decode, {"energy", "gpu"})); energy && tokens > 0) {
        // Of one call that decodes `tokens` tokens.
        run.measurements.push_back(
            {"energy_per_token", "mJ/token", *energy * joules_per_kwh * 1e3 / tokens, {}});
    }
}

}  // namespace

Result<std::vector<ExternalRun>> optimum_benchmark(std::string_view text, int& skipped) {
    const json root = json::parse(text, nullptr, false);
    const json backend = at(root, {"config", "backend"});
    const json scenario = at(root, {"config", "scenario"});
    if (!backend.is_object() || !scenario.is_object() || !at(root, {"report"}).is_object()) {
        return make_error(ErrorCode::invalid_input,
                          "not optimum-benchmark's benchmark.json: it needs config.backend, "
                          "config.scenario and report (benchmark_report.json alone does not say "
                          "what was measured)");
    }
    ExternalRun run;
    run.position = 1;
    run.tool = "optimum-benchmark " +
               text_of(at(root, {"config", "environment", "optimum_benchmark_version"})) + ", " +
               text_of(at(backend, {"name"})) + " " + text_of(at(backend, {"version"}));
    run.model = text_of(at(backend, {"model"}));
    run.method = method_of(backend);
    run.threshold = number_of(at(backend, {"quantization_config", "llm_int8_threshold"}));
    const json gpus = at(root, {"config", "environment", "gpu"});
    const bool on_cpu = text_of(at(backend, {"device"})) == "cpu";
    run.gpu = on_cpu || !gpus.is_array() || gpus.empty() ? "cpu" : text_of(gpus[0]);
    run.host = text_of(at(root, {"config", "environment", "cpu"}));
    run.host.erase(0, std::min(run.host.find_first_not_of(' '), run.host.size()));
    const double batch = number_of(at(scenario, {"input_shapes", "batch_size"})).value_or(1);
    const double prompt = number_of(at(scenario, {"input_shapes", "sequence_length"})).value_or(0);
    const double fresh = number_of(at(scenario, {"generate_kwargs", "max_new_tokens"}))
                             .value_or(number_of(at(scenario, {"new_tokens"})).value_or(0));
    run.batch = static_cast<std::int64_t>(batch);
    run.prompt_tokens = static_cast<std::int64_t>(prompt);
    run.new_tokens = static_cast<std::int64_t>(fresh);
    const json decode = at(root, {"report", "decode"});
    const json prefill = at(root, {"report", "prefill"});
    // Prefill makes the first new token, decode the others.
    const double decoded = batch * std::max(0.0, fresh - 1);
    add_rate(run, "decode_tokens_per_s", decode, decoded);
    add_rate(run, "prefill_tokens_per_s", prefill, batch * prompt);
    if (const auto seconds = numbers_of(at(prefill, {"latency", "values"})); !seconds.empty()) {
        run.measurements.push_back({"first_token_ns", "ns", median_of(seconds) * ns_per_s, {}});
    }
    if (run.model.empty() || run.measurements.empty()) {
        ++skipped;  // another task than text generation
        return std::vector<ExternalRun>{};
    }
    add_memory_and_energy(run, decode, decoded);
    return std::vector<ExternalRun>{std::move(run)};
}

}  // namespace bitsweep
