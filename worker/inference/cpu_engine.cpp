#include <algorithm>
#include <chrono>
#include <optional>

#include "worker/inference/backend/cpu/gemm.h"
#include "worker/inference/engine_parts.h"
#include "worker/inference/kv_cache.h"
#include "worker/inference/models/families.h"
#include "worker/inference/models/loader.h"

namespace bitsweep {
namespace {

std::int64_t now_ns() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

class CpuEngine : public Engine {
 public:
    CpuEngine(const ModelConfig& config, const EngineOptions& options)
        : config_(config),
          options_(options),
          backend_(make_cpu_backend()),
          threads_(options.threads),
          workspace_(*backend_) {}

    Status load(const WeightSource& weights, LoadTrace* trace);

    void reset() override { position_ = 0; }
    Status forward(std::span<const std::int32_t> ids, std::int64_t tokens,
                   float* last_logits) override;
    Status score(std::span<const std::int32_t> ids, const LogitsSink& sink,
                 std::vector<LayerOutliers>* outliers) override;
    MemoryBytes memory() const override { return backend_->allocated(); }

    std::uint64_t bytes_per_token(std::int64_t context) const override {
        return step_bytes(decoder_, *kv_, options_.batch, context);
    }

 private:
    Status check_finite(const float* logits, std::int64_t rows, std::int64_t position) const {
        return check_logits(config_, options_, logits, rows, position);
    }
    Status score_chunk(const Pass& pass, std::int64_t first, std::int64_t rows, Buffer& logits,
                       const LogitsSink& sink) const;
    Status score_all(std::span<const std::int32_t> ids, const LogitsSink& sink,
                     std::vector<OutlierRecorder>* outliers);

    ModelConfig config_;
    EngineOptions options_;
    std::unique_ptr<Backend> backend_;
    ThreadPool threads_;
    Workspace workspace_;
    Decoder decoder_;
    std::optional<KvCache> kv_;
    Activations act_;
    std::vector<std::int32_t> chunk_ids_;
    std::int64_t position_ = 0;
};

Status CpuEngine::load(const WeightSource& weights, LoadTrace* trace) {
    const std::int64_t start = now_ns();
    set_gemm_threads(1);  // products are split over threads_ instead (gemm.h)
    const LoaderOptions loader_options{options_.method, options_.threshold, options_.head_bits,
                                       PairRows::no, options_.layers};
    const Packer packer = [this](const DenseWeight& weight, const MethodOptions& method) {
        return pack_linear(weight, method, *backend_);
    };
    Loader loader(config_, weights, loader_options, *backend_, packer, threads_);
    decoder_ = TRY(load_decoder(loader));
    if (options_.clock != nullptr) {
        prepare_clock(decoder_, *options_.clock);
    }
    kv_ = TRY(KvCache::create(*backend_, KvShape{.layers = config_.layers,
                                                 .sequences = options_.batch,
                                                 .context = options_.context,
                                                 .kv_heads = config_.kv_heads,
                                                 .head_dim = config_.head_dim,
                                                 .type = kv_type(options_.kv, options_.method)}));
    const std::int64_t rows = std::max(
        options_.batch, std::min(options_.prefill_rows, options_.batch * options_.context));
    act_ = TRY(make_activations(*backend_, config_, rows));
    chunk_ids_.reserve(static_cast<std::size_t>(rows));
    if (trace != nullptr) {
        trace->read_ns = loader.read_ns();
        trace->pack_ns = loader.pack_ns();
        trace->total_ns = trace->open_ns + now_ns() - start;
    }
    return {};
}

Status CpuEngine::forward(std::span<const std::int32_t> ids, std::int64_t tokens,
                          float* last_logits) {
    const std::int64_t batch = options_.batch;
    TRY(check_ids(config_, ids, batch, tokens));
    TRY(check_room(config_, options_, position_, tokens));
    Pass now{threads_, workspace_, *kv_, act_};
    now.clock = tokens == 1 ? options_.clock : nullptr;
    const std::int64_t at_once = std::max<std::int64_t>(1, act_.rows / batch);
    std::int64_t taken = 0;
    for (std::int64_t done = 0; done < tokens; done += taken) {
        taken = std::min(at_once, tokens - done);
        chunk_ids_.clear();
        for (std::int64_t sequence = 0; sequence < batch; ++sequence) {
            const auto from = ids.begin() + sequence * tokens + done;
            chunk_ids_.insert(chunk_ids_.end(), from, from + taken);
        }
        TRY(run_decoder(decoder_, now, Chunk{chunk_ids_.data(), batch, taken, position_}));
        position_ += taken;
    }
    if (last_logits == nullptr) {
        return {};
    }
    for (std::int64_t sequence = 0; sequence < batch; ++sequence) {
        const float* last = act_.x + ((sequence + 1) * taken - 1) * config_.width;
        std::copy_n(last, config_.width, act_.h + sequence * config_.width);
    }
    TRY(decoder_logits(decoder_, now, act_.h, batch, last_logits));
    return check_finite(last_logits, batch, position_ - 1);
}

Status CpuEngine::score_chunk(const Pass& pass, std::int64_t first, std::int64_t rows,
                              Buffer& logits, const LogitsSink& sink) const {
    const auto row_bytes = static_cast<std::size_t>(config_.vocabulary) * sizeof(float);
    const auto at_once = static_cast<std::int64_t>(logits.bytes() / row_bytes);
    for (std::int64_t row = 0; row < rows; row += at_once) {
        const std::int64_t count = std::min(at_once, rows - row);
        auto* values = logits.as<float>();
        TRY(decoder_logits(decoder_, pass, pass.act.x + row * config_.width, count, values));
        TRY(check_finite(values, count, first + row));
        TRY(sink(first + row, count, values));
    }
    return {};
}

// A window may be longer than the context and the rows that decoding reserved: then it brings its
// own cache and buffers, which go with it.
Status CpuEngine::score_all(std::span<const std::int32_t> ids, const LogitsSink& sink,
                            std::vector<OutlierRecorder>* outliers) {
    const auto total = static_cast<std::int64_t>(ids.size());
    std::optional<KvCache> own_kv;
    if (total > options_.context) {
        KvShape shape = kv_->shape();
        shape.sequences = 1;
        shape.context = total;
        own_kv = TRY(KvCache::create(*backend_, shape));
    }
    std::optional<Activations> own_act;
    const std::int64_t wanted_rows = std::min(options_.prefill_rows, total);
    if (wanted_rows > act_.rows) {
        own_act = TRY(make_activations(*backend_, config_, wanted_rows));
    }
    const Activations& act = own_act ? *own_act : act_;
    const std::int64_t logits_rows = std::min(act.rows, score_logits_rows(config_));
    const auto logits =
        TRY(backend_->allocate(static_cast<std::size_t>(logits_rows * config_.vocabulary) * 4,
                               MemoryCategory::activations));
    const Pass pass{threads_, workspace_, own_kv ? *own_kv : *kv_, act, outliers};
    for (std::int64_t first = 0; first < total; first += act.rows) {
        const std::int64_t rows = std::min(act.rows, total - first);
        TRY(run_decoder(decoder_, pass, Chunk{ids.data() + first, 1, rows, first}));
        TRY(score_chunk(pass, first, rows, *logits, sink));
    }
    return {};
}

Status CpuEngine::score(std::span<const std::int32_t> ids, const LogitsSink& sink,
                        std::vector<LayerOutliers>* outliers) {
    const auto total = static_cast<std::int64_t>(ids.size());
    TRY(check_ids(config_, ids, 1, total));
    TRY(check_window(config_, total));
    reset();
    return score_recorded(decoder_, options_.threshold, outliers,
                          [&](auto* recorders) { return score_all(ids, sink, recorders); });
}

}  // namespace

Result<std::unique_ptr<Engine>> load_cpu_engine(const ModelFiles& files,
                                                const EngineOptions& options, LoadTrace* load) {
    auto engine = std::make_unique<CpuEngine>(files.config, options);
    TRY(engine->load(*files.weights, load));
    return std::unique_ptr<Engine>(std::move(engine));
}

}  // namespace bitsweep
