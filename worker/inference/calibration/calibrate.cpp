#include "worker/inference/calibration/calibrate.h"

#include <algorithm>
#include <chrono>
#include <memory>

#include "worker/inference/backend/cpu/gemm.h"
#include "worker/inference/calibration/study.h"
#include "worker/inference/engine_parts.h"
#include "worker/inference/models/families.h"
#include "worker/inference/models/loader.h"

namespace bitsweep {
namespace {

std::int64_t now_ns() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

// The fp32 model, and the residual rows of every window between two layers.
class Walker {
 public:
    Walker(const ModelFiles& files, const CalibrationOptions& options,
           const CalibratingMethod& method, Calibration& to)
        : config_(files.config),
          options_(options),
          method_(method),
          to_(to),
          backend_(make_cpu_backend()),
          threads_(options.threads),
          workspace_(*backend_) {}

    Status load(const WeightSource& weights, std::int64_t window);
    Status embed(std::span<const std::int32_t> ids);
    // Studies a layer, decides, and brings the rows to the next one.
    Status take_layer(const WeightSource& decided, std::int64_t index);

 private:
    using Statistics = std::vector<std::unique_ptr<InputStatistics>>;  // by projection
    // Layer `index` over every window; keeps the rows where `keep` says so.
    enum class Rows { keep, drop };
    Status run_layer(std::int64_t index, const InputObserver* observer, Rows rows);
    Status reload(const WeightSource& decided, std::int64_t index);
    Status replace(const WeightSource& decided, const SharedInput& names, Projection& projection);
    void note_peak(const Statistics& statistics);

    const ModelConfig& config_;
    const CalibrationOptions& options_;
    const CalibratingMethod& method_;
    Calibration& to_;
    std::unique_ptr<Backend> backend_;
    ThreadPool threads_;
    Workspace workspace_;
    MethodId fp32_;
    Decoder decoder_;
    std::optional<KvCache> kv_;
    Activations act_;
    std::int64_t window_ = 0;
    std::vector<float> rows_;  // [windows, window, width]
};

Status Walker::load(const WeightSource& weights, std::int64_t window) {
    set_gemm_threads(1);  // products are split over threads_ instead (gemm.h)
    fp32_ = TRY(parse_method("fp32"));
    window_ = window;
    const LoaderOptions loader_options{.method = fp32_};
    const Packer packer = [this](const DenseWeight& weight, const MethodOptions& method) {
        return pack_linear(weight, method, *backend_);
    };
    Loader loader(config_, weights, loader_options, *backend_, packer, threads_);
    decoder_ = TRY(load_decoder(loader));
    kv_ = TRY(KvCache::create(*backend_, KvShape{.layers = config_.layers,
                                                 .sequences = 1,
                                                 .context = window,
                                                 .kv_heads = config_.kv_heads,
                                                 .head_dim = config_.head_dim,
                                                 .type = KvType::f32}));
    act_ = TRY(make_activations(*backend_, config_, window));
    return {};
}

Status Walker::embed(std::span<const std::int32_t> ids) {
    const Pass pass{threads_, workspace_, *kv_, act_};
    rows_.resize(ids.size() * static_cast<std::size_t>(config_.width));
    const std::int64_t floats = window_ * config_.width;
    auto to = rows_.begin();
    for (std::size_t first = 0; first < ids.size(); first += static_cast<std::size_t>(window_)) {
        TRY(embed_chunk(decoder_, pass, Chunk{ids.data() + first, 1, window_, 0}));
        to = std::copy_n(act_.x, floats, to);
    }
    return {};
}

Status Walker::run_layer(std::int64_t index, const InputObserver* observer, Rows rows) {
    const Pass pass{.threads = threads_,
                    .workspace = workspace_,
                    .kv = *kv_,
                    .act = act_,
                    .observer = observer};
    const std::int64_t floats = window_ * config_.width;
    for (auto at = rows_.begin(); at != rows_.end(); at += floats) {
        std::copy_n(at, floats, act_.x);
        TRY(run_decoder_layer(decoder_, pass, Chunk{nullptr, 1, window_, 0}, index));
        if (rows == Rows::keep) {
            std::copy_n(act_.x, floats, at);
        }
    }
    return {};
}

void Walker::note_peak(const Statistics& statistics) {
    const MemoryBytes ledger = backend_->allocated();
    std::uint64_t bytes = ledger.total() + rows_.size() * sizeof(float);
    for (const auto& inputs : statistics) {
        bytes += inputs ? inputs->bytes() : 0;
    }
    to_.peak_bytes = std::max(to_.peak_bytes, bytes);
}

Status Walker::replace(const WeightSource& decided, const SharedInput& names,
                       Projection& projection) {
    ASSERT(projection.parts.size() == 1);  // fp32 rows are always packed together
    std::vector<float> values;
    DenseWeight weight;
    weight.name = projection.name;
    weight.in_features = projection.in_features;
    weight.out_features = projection.out_features;
    for (const std::string& name : names) {
        const WholeWeight whole = TRY(read_weight(decided, name));
        values.insert(values.end(), whole.values.begin(), whole.values.end());
        if (decided.contains(bias_of(name))) {
            const auto bias = TRY(read_vector(decided, bias_of(name)));
            weight.bias.insert(weight.bias.end(), bias.begin(), bias.end());
        }
    }
    weight.rows = [&](std::int64_t begin, std::int64_t end, float* dst) -> Status {
        std::copy(values.begin() + begin * weight.in_features,
                  values.begin() + end * weight.in_features, dst);
        return {};
    };
    projection.parts[0].linear.reset();
    projection.parts[0].linear = TRY(pack_linear(weight, {.method = fp32_}, *backend_));
    return {};
}

Status Walker::reload(const WeightSource& decided, std::int64_t index) {
    const LayerNames names = layer_names(config_.family, index);
    DecoderLayer& layer = decoder_.layers[static_cast<std::size_t>(index)];
    TRY(replace(decided, names.qkv, layer.qkv));
    TRY(replace(decided, names.o, layer.o));
    TRY(replace(decided, names.up, layer.up));
    return replace(decided, names.down, layer.down);
}

Status Walker::take_layer(const WeightSource& decided, std::int64_t index) {
    const DecoderLayer& layer = decoder_.layers[static_cast<std::size_t>(index)];
    Statistics statistics(decoder_.linear_inputs.size());
    for (const Projection* linear : {&layer.qkv, &layer.o, &layer.up, &layer.down}) {
        statistics[linear->index] =
            std::make_unique<InputStatistics>(linear->in_features, method_.moments);
    }
    const InputObserver observer = [&](std::size_t projection, const float* x, std::int64_t rows) {
        statistics[projection]->add(threads_, x, rows);
    };
    const bool again = method_.next == NextInputs::decided;
    TRY(run_layer(index, &observer, again ? Rows::drop : Rows::keep));
    note_peak(statistics);
    const LayerStudy study{.config = config_,
                           .options = options_,
                           .weights = decided,
                           .names = layer_names(config_.family, index),
                           .qkv = *statistics[layer.qkv.index],
                           .o = *statistics[layer.o.index],
                           .up = *statistics[layer.up.index],
                           .down = *statistics[layer.down.index],
                           .threads = threads_};
    TRY(method_.decide(study, to_));
    if (again) {
        TRY(reload(decided, index));
        TRY(run_layer(index, nullptr, Rows::keep));
    }
    return {};
}

}  // namespace

Result<WholeWeight> read_weight(const WeightSource& weights, const std::string& name) {
    const auto shape = TRY(weights.shape(name));
    WholeWeight whole{.out = shape[0], .in = shape[1], .values = {}};
    whole.values.resize(static_cast<std::size_t>(whole.out * whole.in));
    TRY(weights.read_rows(name, 0, whole.out, whole.values.data()));
    return whole;
}

Result<std::vector<float>> read_vector(const WeightSource& weights, const std::string& name) {
    const auto shape = TRY(weights.shape(name));
    std::vector<float> values(static_cast<std::size_t>(shape[0]));
    TRY(weights.read_rows(name, 0, 1, values.data()));
    return values;
}

Result<Calibration> calibrate(const ModelFiles& files, const CalibrationOptions& options,
                              std::span<const std::int32_t> ids,
                              const CalibrationProgress& progress) {
    const ModelConfig& config = files.config;
    const CalibratingMethod* method = calibrating_method(options.method.family);
    if (method == nullptr) {
        return make_error(ErrorCode::unsupported,
                          "method '" + options.method.text + "' does not calibrate");
    }
    const std::int64_t window = std::min(options.window, config.positions);
    const auto windows = static_cast<std::int64_t>(ids.size()) / std::max<std::int64_t>(window, 1);
    if (window < 1 || windows < 1) {
        return make_error(ErrorCode::invalid_input,
                          config.name + ": " + std::to_string(ids.size()) +
                              " tokens to calibrate on, less than one window of " +
                              std::to_string(window) + ": raise calibration tokens");
    }
    ids = ids.first(static_cast<std::size_t>(windows * window));
    TRY(check_ids(config, ids, 1, windows * window));
    const std::int64_t start = now_ns();
    Calibration calibration;
    const auto decided = TRY(CalibratedWeights::create(*files.weights, calibration));
    Walker walker(files, options, *method, calibration);
    TRY(walker.load(*files.weights, window));
    TRY(walker.embed(ids));
    for (std::int64_t i = 0; i < config.layers; ++i) {
        if (progress) {
            progress("calibrating layer " + std::to_string(i + 1) + " of " +
                     std::to_string(config.layers));
        }
        TRY(walker.take_layer(*decided, i));
    }
    calibration.time_ns = now_ns() - start;
    return calibration;
}

}  // namespace bitsweep
