// Policy files: what they say, and what is refused.
#include "schemas/policy.h"

#include <gtest/gtest.h>

#include "schemas/catalog/layer_methods.h"
#include "schemas/codec.h"

namespace bitsweep {
namespace {

std::string refusal(const std::string& json) {
    const auto policy = policy_from_json(json);
    if (!policy) {
        return policy.error().message;
    }
    const auto methods = layer_methods_of(*policy);
    return methods ? "accepted" : methods.error().message;
}

TEST(Policy, readsBackAsItWasWritten) {
    LayerPolicy policy{.name = "found", .model = "llama-micro", .gpu = "cpu"};
    policy.predicted_kl = 0.0125;
    policy.layers = {{"a", "int4-g64"}, {"b", "llmint8-fused@3.5"}};
    const auto back = policy_from_json(to_json(policy));
    ASSERT_TRUE(back.ok()) << back.error().message;
    EXPECT_EQ(back->layers, policy.layers);
    EXPECT_EQ(back->name, "found");
    EXPECT_EQ(back->predicted_kl, policy.predicted_kl);
    EXPECT_FALSE(back->predicted_step_ns.has_value());
    const auto methods = layer_methods_of(*back);
    ASSERT_TRUE(methods.ok()) << methods.error().message;
    EXPECT_EQ(methods->at("b").threshold, 3.5);
    EXPECT_EQ(methods->at("a").method.weight_bits, 4);
}

TEST(Policy, refusesWhatItCannotMeanAndNamesTheLayer) {
    EXPECT_NE(refusal("[]").find("JSON object"), std::string::npos);
    EXPECT_NE(refusal(R"({"layers": {}})").find("each linear layer"), std::string::npos);
    EXPECT_NE(refusal(R"({"layer": {"a": "int8"}})").find("unknown key `layer`"),
              std::string::npos);
    EXPECT_NE(refusal(R"({"layers": {"a": 8}})").find("layer a"), std::string::npos);
    const std::string unknown = refusal(R"({"layers": {"a.q": "int9"}})");
    EXPECT_NE(unknown.find("layer a.q"), std::string::npos) << unknown;
    EXPECT_NE(unknown.find("did you mean"), std::string::npos) << unknown;
    EXPECT_NE(refusal(R"({"layers": {"a": "mixed"}})").find("whole model"), std::string::npos);
    EXPECT_NE(refusal(R"({"layers": {"a": "gptq-int4-g64"}})").find("whole model"),
              std::string::npos);
    EXPECT_NE(refusal(R"({"layers": {"a": "int8@6"}})").find("reads no threshold"),
              std::string::npos);
    EXPECT_NE(refusal(R"({"layers": {"a": "llmint8-bnb@six"}})").find("after @"),
              std::string::npos);
}

TEST(Policy, itsTextIsPartOfTheKeyOfAMixedJobOnly) {
    JobSpec spec;
    spec.model.name = "llama-micro";
    spec.method = "mixed";
    spec.policy = "one";
    JobSpec other = spec;
    other.policy = "two";
    EXPECT_NE(spec_key(spec), spec_key(other));
    spec.method = other.method = "int8";
    EXPECT_EQ(spec_key(spec), spec_key(other));
}

TEST(Policy, layersAsAQualityModeIsAnotherJob) {
    JobSpec spec;
    spec.model.name = "llama-micro";
    spec.method = "int8";
    JobSpec layers = spec;
    layers.quality.mode = QualityMode::layers;
    EXPECT_NE(spec_key(spec), spec_key(layers));
    EXPECT_EQ(job_from_json(to_json(layers))->quality.mode, QualityMode::layers);
}

}  // namespace
}  // namespace bitsweep
