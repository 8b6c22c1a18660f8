#include "worker/runner/layer_probe.h"

#include <algorithm>
#include <string>
#include <utility>

#include "worker/metrics/statistics.h"

namespace bitsweep {
namespace {

// Median of three times 64 steps: 0.1 ms to 1 s each, so at most three minutes.
constexpr std::int64_t measured_steps = 64;
constexpr std::int64_t warmup_steps = 8;

// One engine that keeps time: prompt, then decode steps; every sample of the warm-up is dropped.
Result<LayerClock> time_layers(const ModelFiles& files, EngineOptions options,
                               std::span<const std::int32_t> prompt) {
    LayerClock clock;
    options.clock = &clock;
    options.batch = 1;
    const auto positions = static_cast<std::int64_t>(prompt.size());
    const std::int64_t steps = std::min(options.context - positions, measured_steps + warmup_steps);
    const auto engine = TRY(load_engine(files, options, nullptr));
    std::vector<float> logits(static_cast<std::size_t>(files.config.vocabulary));
    TRY(engine->forward(prompt, positions, logits.data()));
    for (std::int64_t step = 0; step < steps; ++step) {
        const std::int32_t next = argmax(logits);
        TRY(engine->forward(std::span(&next, 1), 1, logits.data()));
    }
    for (LayerClock::Layer& layer : clock.layers) {
        const auto seen = static_cast<std::int64_t>(layer.ns.size());
        layer.ns.erase(layer.ns.begin(), layer.ns.begin() + std::min(warmup_steps, seen));
    }
    return clock;
}

Result<double> mean_kl(const ModelFiles& files, const EngineOptions& options,
                       const ProbeText& text) {
    const auto engine = TRY(load_engine(files, options, nullptr));
    const QualityRun run = TRY(score_quality(*engine, text.reference, text.text, text.windows,
                                             files.config.vocabulary, Outliers::ignore, {}));
    return mean(run.scores.kl).value_or(0);
}

// Behind what `clock` has already, layer by layer.
void append(LayerClock& clock, const LayerClock& more) {
    for (std::size_t i = 0; i < clock.layers.size(); ++i) {
        clock.layers[i].ns.insert(clock.layers[i].ns.end(), more.layers[i].ns.begin(),
                                  more.layers[i].ns.end());
    }
}

LayerMethod method_of(const EngineOptions& options, const std::string& layer) {
    const auto found = options.layers.find(layer);
    return found != options.layers.end() ? found->second
                                         : LayerMethod{options.method, options.threshold};
}

std::optional<double> median_ns(const LayerClock::Layer& layer) {
    return median(std::vector<double>(layer.ns.begin(), layer.ns.end()));
}

}  // namespace

Result<std::vector<LayerProbe>> probe_layers(const ModelFiles& files, const EngineOptions& options,
                                             const ProbeText& text, const Progress& progress) {
    progress("times of layers");
    LayerClock clock = TRY(time_layers(files, options, text.prompt));
    ASSERT(!clock.layers.empty());
    clock.layers.pop_back();  // the head: its bits are an axis of their own
    EngineOptions alone = options;
    alone.method = TRY(parse_method("mixed"));
    alone.head_bits = 16;
    alone.batch = 1;
    alone.context = 1;  // a window brings its own cache
    alone.layers.clear();
    const LayerMethod exact{TRY(parse_method("fp32")), 0};
    for (const LayerClock::Layer& layer : clock.layers) {
        alone.layers[layer.name] = exact;
    }
    const double floor = TRY(mean_kl(files, alone, text));
    std::vector<double> losses;
    for (const LayerClock::Layer& layer : clock.layers) {
        progress("layer " + std::to_string(losses.size() + 1) + " of " +
                 std::to_string(clock.layers.size()) + " alone");
        alone.layers[layer.name] = method_of(options, layer.name);
        losses.push_back(std::max(0.0, TRY(mean_kl(files, alone, text)) - floor));
        alone.layers[layer.name] = exact;
        // Times of three windows apart: a neighbour's burst is no layer's cost.
        if (losses.size() == clock.layers.size() / 2 || losses.size() == clock.layers.size()) {
            append(clock, TRY(time_layers(files, options, text.prompt)));
        }
    }
    std::vector<LayerProbe> probes;
    for (std::size_t i = 0; i < losses.size(); ++i) {
        const LayerClock::Layer& layer = clock.layers[i];
        probes.push_back({layer.name, losses[i], median_ns(layer), layer.bytes});
    }
    return probes;
}

}  // namespace bitsweep
