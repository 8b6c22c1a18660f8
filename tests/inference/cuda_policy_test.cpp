// A method for each layer, and the time of each layer, on a card.
#include "tests/inference/cuda_support.h"

namespace bitsweep::testing_inference {
namespace {

// Neighbours read their input in different types: float32, float16 and bfloat16.
LayerMethods in_turn(const std::vector<std::string>& names) {
    const std::vector<std::string> methods{"fp32", "int8", "w8a8", "llmint8-fused@6",
                                           "bf16", "nf4",  "fp16"};
    LayerMethods layers;
    for (std::size_t i = 0; i + 1 < names.size(); ++i) {  // the head has bits of its own
        layers[names[i]] = parse_layer_method(methods[i % methods.size()]).value();
    }
    return layers;
}

EngineOptions options_of(const std::string& method, const std::string& device) {
    EngineOptions options;
    options.method = method_of(method);
    options.device = device;
    options.context = 96;
    return options;
}

std::vector<std::string> layer_names(const ModelFiles& files) {
    LayerClock clock;
    EngineOptions options = options_of("fp16", "cpu");
    options.clock = &clock;
    EXPECT_TRUE(load_engine(files, options, nullptr).ok());
    std::vector<std::string> names;
    for (const LayerClock::Layer& layer : clock.layers) {
        names.push_back(layer.name);
    }
    return names;
}

TEST_F(Cuda, layers_that_read_different_types_give_what_they_give_on_the_cpu) {
    for (const char* name : {"llama-nano", "gpt2-nano", "opt-nano"}) {
        const ModelFiles files = open_or_die(models_dir / name);
        const std::int64_t vocabulary = files.config.vocabulary;
        const LayerMethods layers = in_turn(layer_names(files));
        const auto ids = heldout_ids(files, 60);
        std::vector<std::vector<float>> scored, decoded;
        for (const std::string device : {"cpu", "cuda:0"}) {
            EngineOptions options = options_of("mixed", device);
            options.layers = layers;
            auto engine = load_engine(files, options, nullptr);
            ASSERT_TRUE(engine.ok()) << engine.error().message;
            scored.push_back(score_all(**engine, ids, vocabulary));
            decoded.push_back(decode_all(**engine, ids, vocabulary));  // replays a graph
        }
        EXPECT_LT(mean_kl(scored[0], scored[1], vocabulary), 1e-3) << name;
        EXPECT_LT(mean_kl(decoded[0], decoded[1], vocabulary), 1e-3) << name;
    }
}

TEST_F(Cuda, a_clock_has_a_time_of_every_layer_in_every_step_and_changes_no_logits) {
    const ModelFiles files = open_or_die(models_dir / "llama-micro");
    const std::int64_t vocabulary = files.config.vocabulary;
    const auto ids = heldout_ids(files, 40);
    for (const std::string method : {"fp16", "int4-g64", "llmint8-bnb"}) {
        EngineOptions options = options_of(method, "cuda:0");
        options.threshold = method == "llmint8-bnb" ? 6 : 0;
        auto plain = load_engine(files, options, nullptr);
        LayerClock clock;
        options.clock = &clock;
        auto timed = load_engine(files, options, nullptr);
        ASSERT_TRUE(plain.ok() && timed.ok()) << method;
        EXPECT_EQ(decode_all(**plain, ids, vocabulary), decode_all(**timed, ids, vocabulary));
        ASSERT_EQ(clock.layers.size(), 4u * static_cast<std::size_t>(files.config.layers) + 1);
        for (const LayerClock::Layer& layer : clock.layers) {
            ASSERT_EQ(layer.ns.size(), ids.size()) << method << " " << layer.name;
            for (const std::int64_t ns : layer.ns) {
                EXPECT_GT(ns, 0) << method << " " << layer.name;
                EXPECT_LT(ns, 100'000'000) << method << " " << layer.name;
            }
        }
    }
}

}  // namespace
}  // namespace bitsweep::testing_inference
