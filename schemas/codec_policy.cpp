#include <nlohmann/json.hpp>
#include <set>

#include "schemas/policy.h"

namespace bitsweep {
namespace {

using Json = nlohmann::ordered_json;

Error wrong(const std::string& what) {
    return make_error(ErrorCode::invalid_input, "policy: " + what);
}

Status read_text(const Json& object, const char* key, std::string& to) {
    if (!object.contains(key)) {
        return {};
    }
    if (!object[key].is_string()) {
        return wrong(std::string("`") + key + "` must be text");
    }
    to = object[key].get<std::string>();
    return {};
}

Status read_number(const Json& object, const char* key, std::optional<double>& to) {
    if (!object.contains(key)) {
        return {};
    }
    if (!object[key].is_number()) {
        return wrong(std::string("`") + key + "` must be a number");
    }
    to = object[key].get<double>();
    return {};
}

Status check_keys(const Json& object) {
    static const std::set<std::string> known{
        "policy", "model", "gpu", "budget", "predicted_kl", "predicted_step_ns", "layers"};
    for (const auto& [key, value] : object.items()) {
        if (!known.contains(key)) {
            return wrong("unknown key `" + key.substr(0, 60) +
                         "`; it has policy, model, gpu, budget, predicted_kl, predicted_step_ns "
                         "and layers");
        }
    }
    return {};
}

}  // namespace

Result<LayerPolicy> policy_from_json(std::string_view json) {
    if (json.size() > most_policy_bytes) {
        return wrong("longer than 1 MiB");
    }
    const Json object = Json::parse(json, nullptr, false);
    if (!object.is_object()) {
        return wrong("not a JSON object with `layers`");
    }
    TRY(check_keys(object));
    LayerPolicy policy;
    TRY(read_text(object, "policy", policy.name));
    TRY(read_text(object, "model", policy.model));
    TRY(read_text(object, "gpu", policy.gpu));
    TRY(read_text(object, "budget", policy.budget));
    TRY(read_number(object, "predicted_kl", policy.predicted_kl));
    TRY(read_number(object, "predicted_step_ns", policy.predicted_step_ns));
    if (!object.contains("layers") || !object["layers"].is_object() || object["layers"].empty()) {
        return wrong("`layers` must map each linear layer to a method");
    }
    for (const auto& [layer, method] : object["layers"].items()) {
        if (!method.is_string()) {
            return wrong("layer " + layer.substr(0, 200) + ": its method must be text");
        }
        policy.layers[layer] = method.get<std::string>();
    }
    return policy;
}

std::string to_json(const LayerPolicy& policy) {
    Json object = Json::object();
    const auto text = [&](const char* key, const std::string& value) {
        if (!value.empty()) {
            object[key] = value;
        }
    };
    text("policy", policy.name);
    text("model", policy.model);
    text("gpu", policy.gpu);
    text("budget", policy.budget);
    if (policy.predicted_kl) {
        object["predicted_kl"] = *policy.predicted_kl;
    }
    if (policy.predicted_step_ns) {
        object["predicted_step_ns"] = *policy.predicted_step_ns;
    }
    object["layers"] = Json::object();
    for (const auto& [layer, method] : policy.layers) {
        object["layers"][layer] = method;
    }
    return object.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace bitsweep
