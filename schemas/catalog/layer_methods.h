// What a policy says, with its methods checked and parsed.
#pragma once

#include <map>
#include <string>

#include "schemas/catalog/methods.h"
#include "schemas/policy.h"
#include "schemas/status.h"

namespace bitsweep {

struct LayerMethod {
    MethodId method;
    double threshold = 0;  // 0 where the method reads none
};

// By the name of the linear layer.
using LayerMethods = std::map<std::string, LayerMethod>;

// "int4-g64", or "llmint8-fused@6". invalid_input: no such method, a threshold that is no number
// or that the method does not read, a method that cannot stand in one layer (mixed, or one that
// calibrates the whole model).
Result<LayerMethod> parse_layer_method(const std::string& text);

// Every layer of the policy; errors name the layer.
Result<LayerMethods> layer_methods_of(const LayerPolicy& policy);

}  // namespace bitsweep
