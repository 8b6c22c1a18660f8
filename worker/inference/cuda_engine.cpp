#include "worker/inference/cuda_engine.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>

#include "worker/inference/backend/cuda/cuda_error.h"
#include "worker/inference/engine_parts.h"
#include "worker/inference/launch_counter.h"
#include "worker/inference/models/families.h"
#include "worker/inference/quant/shared/device_linear.h"
#include "worker/inference/stream_generate.h"

namespace bitsweep {
namespace {

// Tokens that run free between two looks of the host.
constexpr std::int64_t steps_at_once = 32;
// Steps that let buffers grow before one is counted, and after which counting is given up.
constexpr int steps_before_counting = 2, steps_before_giving_up = 10;
// Beside each step: the next position is queued before it, the copy of its ids after it.
constexpr std::int64_t launches_beside_a_step = 2;

std::int64_t now_ns() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

std::size_t bytes_of_floats(std::int64_t count) {
    return static_cast<std::size_t>(count) * sizeof(float);
}

// What is not known of one step is not known of all.
void add_step(const std::optional<HostWork>& step, std::optional<HostWork>& all) {
    if (!step || !all) {
        all.reset();
        return;
    }
    all->launches += step->launches + launches_beside_a_step;
    all->graph_nodes += step->graph_nodes;
    all->syncs += step->syncs;
}

}  // namespace

CudaEngine::CudaEngine(const ModelConfig& config, const EngineOptions& options,
                       std::unique_ptr<CudaBackend> backend)
    : config_(config),
      options_(options),
      backend_(std::move(backend)),
      threads_(options.threads),
      workspace_(*backend_) {}

Status CudaEngine::load(const WeightSource& weights, LoadTrace* trace) {
    const std::int64_t start = now_ns();
    const LoaderOptions loader_options{options_.method, options_.threshold, options_.head_bits,
                                       PairRows::yes, options_.layers};
    const Packer packer = [this](const DenseWeight& weight, const MethodOptions& method) {
        return pack_linear_cuda(weight, method, *backend_);
    };
    Loader loader(config_, weights, loader_options, *backend_, packer, threads_);
    decoder_ = TRY(load_decoder(loader));
    if (options_.clock != nullptr) {
        prepare_clock(decoder_, *options_.clock);
        TRY(layer_events_.create(2 * std::ssize(options_.clock->layers)));
    }
    kv_ = TRY(KvCache::create(*backend_, KvShape{.layers = config_.layers,
                                                 .sequences = options_.batch,
                                                 .context = options_.context,
                                                 .kv_heads = config_.kv_heads,
                                                 .head_dim = config_.head_dim,
                                                 .type = kv_type(options_.kv, options_.method)}));
    angles_ = TRY(DeviceAngles::create(*backend_, decoder_, options_.context));
    const std::int64_t rows = std::max(
        options_.batch, std::min(options_.prefill_rows, options_.batch * options_.context));
    act_ = TRY(DeviceActivations::create(
        *backend_, config_, decoder_,
        {.rows = rows, .batch = options_.batch, .context = options_.context}));
    logits_ = TRY(backend_->allocate(bytes_of_floats(options_.batch * config_.vocabulary),
                                     MemoryCategory::activations));
    too_many_ = TRY(backend_->allocate(sizeof(std::int32_t), MemoryCategory::activations));
    choice_ =
        TRY(backend_->allocate(bytes_of_floats(options_.batch + 1), MemoryCategory::activations));
    const auto states = static_cast<std::size_t>(options_.batch) * sizeof(device::ArgmaxState);
    choosing_ = TRY(backend_->allocate(states, MemoryCategory::activations));
    TRY(cuda_status(cudaMemsetAsync(choosing_->data(), 0, states, backend_->stream()),
                    "choosing a token"));
    const std::int64_t words =
        std::max(rows + DeviceActivations::ids_offset, steps_at_once * options_.batch);
    pinned_ = TRY(PinnedBlock::allocate(bytes_of_floats(words)));
    TRY(open_stream());
    TRY(backend_->synchronize());
    if (trace != nullptr) {
        trace->read_ns = loader.read_ns();
        trace->pack_ns = loader.pack_ns();
        trace->total_ns = trace->open_ns + now_ns() - start;
    }
    return {};
}

Status CudaEngine::open_stream() {
    if (options_.decode_path == DecodePath::steps) {
        why_steps_ = "as asked for";
        return {};
    }
    if (options_.method.family == MethodFamily::mixed) {
        why_steps_ = "a policy mixes methods";
        return {};
    }
    if (options_.batch != 1) {
        why_steps_ = "a batch of " + std::to_string(options_.batch);
        return {};
    }
    auto parts = stream_parts(decoder_, config_, *kv_, *backend_);
    if (parts.ok()) {
        stream_parts_ = std::move(parts).value();
        auto made = decode::StreamDecoder::create(
            *backend_, stream_parts_.program, stream_parts_.code_book,
            decode::StreamPlace{backend_->ordinal(), backend_->stream()});
        if (made.ok()) {
            stream_ = std::move(made).value();
            return {};
        }
        stream_parts_ = StreamParts{};
        parts = std::move(made).error();
    }
    if (parts.error().code != ErrorCode::unsupported) {
        return parts.error();
    }
    why_steps_ = parts.error().message;
    return {};
}

std::uint64_t CudaEngine::bytes_per_token(std::int64_t context) const {
    return step_bytes(decoder_, *kv_, options_.batch, context);
}

// Position and ids, side by side on both sides.
Status CudaEngine::send(const DeviceActivations& act, std::span<const std::int32_t> ids,
                        std::int64_t position) {
    auto* words = pinned_.as<std::int32_t>();
    words[0] = static_cast<std::int32_t>(position);
    std::ranges::copy(ids, words + DeviceActivations::ids_offset);
    const std::size_t bytes = bytes_of_floats(DeviceActivations::ids_offset) + ids.size_bytes();
    ASSERT(bytes <= pinned_.bytes());
    TRY(cuda_status(
        cudaMemcpyAsync(act.position, words, bytes, cudaMemcpyHostToDevice, backend_->stream()),
        "ids to the device"));
    return backend_->synchronize();  // the pinned words are free again
}

// Once with every layer's guess about its outlier columns, and if one was wrong with exact counts,
// from then on at once.
Status CudaEngine::prefill(std::span<const std::int32_t> ids, std::int64_t tokens) {
    const std::int64_t begin = position_;
    if (!counts_columns_ && !queues_only(decoder_, options_.batch * tokens)) {
        auto* too_many = too_many_->as<std::int32_t>();
        TRY(cuda_status(cudaMemsetAsync(too_many, 0, sizeof *too_many, backend_->stream()),
                        "a prompt"));
        DevicePass guessing = pass();
        guessing.too_many = too_many;
        TRY(prefill(ids, tokens, guessing));
        std::int32_t wrong = 0;
        TRY(backend_->copy_to_host(&wrong, *too_many_, 0, sizeof wrong));
        if (wrong == 0) {
            return {};
        }
        counts_columns_ = true;
        position_ = begin;
    }
    return prefill(ids, tokens, pass());
}

// Rows of the last chunk stay in act_; act_.e holds the last row of each sequence.
Status CudaEngine::prefill(std::span<const std::int32_t> ids, std::int64_t tokens,
                           const DevicePass& pass) {
    const std::int64_t batch = options_.batch;
    const std::int64_t at_once = std::max<std::int64_t>(1, act_.rows / batch);
    std::vector<std::int32_t> chunk;
    std::int64_t taken = 0;
    for (std::int64_t done = 0; done < tokens; done += taken) {
        taken = std::min(at_once, tokens - done);
        chunk.clear();
        for (std::int64_t sequence = 0; sequence < batch; ++sequence) {
            const auto from = ids.begin() + sequence * tokens + done;
            chunk.insert(chunk.end(), from, from + taken);
        }
        TRY(send(act_, chunk, position_));
        TRY(run_decoder(decoder_, pass, batch, taken));
        position_ += taken;
    }
    const device::Stretch stretch{batch, taken, act_.position};
    return cuda_status(
        device::last_rows(act_.x, stretch, config_.width, act_.e, backend_->stream()),
        "the last rows");
}

Status CudaEngine::queue_choice() {
    auto* ids = choice_->as<std::int32_t>();
    return cuda_status(device::argmax(logits_->as<float>(), options_.batch, config_.vocabulary,
                                      choosing_->as<device::ArgmaxState>(), ids,
                                      ids + options_.batch, backend_->stream()),
                       "choosing a token");
}

Status CudaEngine::queue_step() {
    const std::function<Status(std::int64_t)> mark = [this](std::int64_t event) {
        return layer_events_.record(event, backend_->stream());
    };
    DevicePass now = pass();
    now.mark = options_.clock != nullptr ? &mark : nullptr;
    if (now.mark == nullptr && queues_only(decoder_, options_.batch)) {
        now.follow = device::Follow::early;
    }
    TRY(run_decoder(decoder_, now, options_.batch, 1));
    TRY(decoder_logits(decoder_, now, act_.x, options_.batch, logits_->as<float>()));
    return queue_choice();
}

// Of the step before, on the device's clock. Waits for it.
Status CudaEngine::read_layer_times() {
    TRY(backend_->synchronize());
    for (std::int64_t i = 0; i < std::ssize(options_.clock->layers); ++i) {
        const std::int64_t ns = TRY(layer_events_.between_ns(2 * i, 2 * i + 1));
        options_.clock->layers[static_cast<std::size_t>(i)].ns.push_back(ns);
    }
    return {};
}

Status CudaEngine::step() {
    // A method that waits for the host cannot be captured.
    if (!queues_only(decoder_, options_.batch)) {
        return step_that_waits();
    }
    return graph_.run(backend_->stream(), backend_->allocated().workspace,
                      [this] { return queue_step(); });
}

// Its launches depend a little on how many outlier columns the token has: one step stands for all.
Status CudaEngine::step_that_waits() {
    // Events of layers would lie in pieces that were captured apart.
    const bool count = options_.clock == nullptr && !counted_ &&
                       uncounted_steps_ >= steps_before_counting &&
                       uncounted_steps_ < steps_before_giving_up;
    ++uncounted_steps_;
    if (count) {
        auto work = count_host_work(*backend_, [this] { return queue_step(); });
        if (work) {
            counted_ = *work;
            return {};
        }
    }
    return queue_step();
}

std::optional<HostWork> CudaEngine::step_work() const {
    if (graph_.nodes() > 0) {
        return HostWork{.launches = 1, .graph_nodes = graph_.nodes()};
    }
    return counted_;
}

Status CudaEngine::forward(std::span<const std::int32_t> ids, std::int64_t tokens,
                           float* last_logits) {
    TRY(check_ids(config_, ids, options_.batch, tokens));
    TRY(check_room(config_, options_, position_, tokens));
    TRY(backend_->make_current());
    if (tokens == 1) {
        TRY(send(act_, ids, position_));
        TRY(step());
        ++position_;
        if (options_.clock != nullptr) {
            TRY(read_layer_times());
        }
    } else {
        TRY(prefill(ids, tokens));
        if (last_logits != nullptr) {
            TRY(decoder_logits(decoder_, pass(), act_.e, options_.batch, logits_->as<float>()));
        }
    }
    if (last_logits == nullptr) {
        return backend_->synchronize();
    }
    TRY(backend_->copy_to_host(last_logits, *logits_, 0, logits_->bytes()));
    return check_logits(config_, options_, last_logits, options_.batch, position_ - 1);
}

Status CudaEngine::score_rows(const DevicePass& pass, std::int64_t first, std::int64_t rows,
                              const Buffer& logits, const LogitsSink& sink) {
    const auto row_bytes = bytes_of_floats(config_.vocabulary);
    const auto at_once = static_cast<std::int64_t>(logits.bytes() / row_bytes);
    for (std::int64_t row = 0; row < rows; row += at_once) {
        const std::int64_t count = std::min(at_once, rows - row);
        TRY(decoder_logits(decoder_, pass, pass.act.x + row * config_.width, count,
                           logits.as<float>()));
        TRY(backend_->copy_to_host(host_logits_.data(), logits, 0,
                                   static_cast<std::size_t>(count) * row_bytes));
        TRY(check_logits(config_, options_, host_logits_.data(), count, first + row));
        TRY(sink(first + row, count, host_logits_.data()));
    }
    return {};
}

// As on the CPU: a window that is longer than the context brings its own cache and buffers.
Status CudaEngine::score_all(std::span<const std::int32_t> ids, const LogitsSink& sink,
                             std::vector<OutlierRecorder>* outliers) {
    const auto total = static_cast<std::int64_t>(ids.size());
    std::optional<KvCache> own_kv;
    DeviceAngles own_angles;
    if (total > options_.context) {
        KvShape shape = kv_->shape();
        shape.sequences = 1;
        shape.context = total;
        own_kv = TRY(KvCache::create(*backend_, shape));
        own_angles = TRY(DeviceAngles::create(*backend_, decoder_, total));
    }
    std::optional<DeviceActivations> own_act;
    const std::int64_t wanted_rows = std::min(options_.prefill_rows, total);
    if (wanted_rows > act_.rows) {
        own_act = TRY(DeviceActivations::create(
            *backend_, config_, decoder_, {.rows = wanted_rows, .batch = 1, .context = total}));
    }
    const DeviceActivations& act = own_act ? *own_act : act_;
    const std::int64_t logits_rows = std::min(act.rows, score_logits_rows(config_));
    const auto logits = TRY(backend_->allocate(bytes_of_floats(logits_rows * config_.vocabulary),
                                               MemoryCategory::activations));
    host_logits_.resize(static_cast<std::size_t>(logits_rows * config_.vocabulary));
    if (const std::size_t bytes = bytes_of_floats(act.rows + DeviceActivations::ids_offset);
        bytes > pinned_.bytes()) {
        pinned_ = TRY(PinnedBlock::allocate(bytes));
    }
    const DevicePass now{
        *backend_, workspace_, own_kv ? *own_kv : *kv_, own_kv ? own_angles : angles_, act,
        outliers,  nullptr};
    for (std::int64_t first = 0; first < total; first += act.rows) {
        const std::int64_t rows = std::min(act.rows, total - first);
        TRY(send(act, ids.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(rows)),
                 first));
        TRY(run_decoder(decoder_, now, 1, rows));
        TRY(score_rows(now, first, rows, *logits, sink));
    }
    return backend_->synchronize();
}

Status CudaEngine::score(std::span<const std::int32_t> ids, const LogitsSink& sink,
                         std::vector<LayerOutliers>* outliers) {
    const auto total = static_cast<std::int64_t>(ids.size());
    TRY(check_ids(config_, ids, 1, total));
    TRY(check_window(config_, total));
    TRY(backend_->make_current());
    reset();
    return score_recorded(decoder_, options_.threshold, outliers,
                          [&](auto* recorders) { return score_all(ids, sink, recorders); });
}

Result<Sequence> CudaEngine::generate(const SequencePlan& plan, const TokenSink& sink) {
    if (stream_) {
        TRY(backend_->make_current());
        return generate_streaming(*this, *stream_, plan, sink);
    }
    return generate_steps(plan, sink);
}

// `count` steps without the host between them; ids and times are read at the end.
Status CudaEngine::run_of_steps(std::int64_t count, Sequence& sequence) {
    const cudaStream_t stream = backend_->stream();
    const std::int64_t batch = options_.batch;
    auto* chosen = choice_->as<std::int32_t>();
    auto* host = pinned_.as<std::int32_t>();
    EventRow events;
    TRY(events.create(count + 1));
    TRY(events.record(0, stream));
    for (std::int64_t i = 0; i < count; ++i) {
        TRY(cuda_status(device::advance(act_.position, act_.ids, chosen, batch, stream),
                        "the next position"));
        TRY(step());
        add_step(step_work(), sequence.trace.host_work);
        TRY(cuda_status(cudaMemcpyAsync(host + i * batch, chosen, bytes_of_floats(batch),
                                        cudaMemcpyDeviceToHost, stream),
                        "chosen ids"));
        TRY(events.record(i + 1, stream));
    }
    std::int32_t not_finite = 0;
    TRY(backend_->copy_to_host(&not_finite, *choice_, bytes_of_floats(batch), sizeof not_finite));
    position_ += count;
    if (sequence.trace.host_work) {
        ++sequence.trace.host_work->syncs;  // of the copy
    }
    if (not_finite != 0) {
        return make_error(ErrorCode::invalid_numbers,
                          config_.name + ", " + options_.method.text + ": logits before position " +
                              std::to_string(position_) +
                              " hold NaN or infinity; a value left the range of its type");
    }
    for (std::int64_t i = 0; i < count; ++i) {
        sequence.trace.token_ns.push_back(TRY(events.between_ns(i, i + 1)));
        sequence.new_ids.push_back(host[i * batch]);
    }
    return {};
}

Result<Sequence> CudaEngine::generate_steps(const SequencePlan& plan, const TokenSink& sink) {
    ASSERT(!plan.prompt.empty() && plan.batch == options_.batch && plan.new_tokens >= 1);
    const auto prompt_tokens = static_cast<std::int64_t>(plan.prompt.size());
    std::vector<std::int32_t> ids;
    for (std::int64_t b = 0; b < plan.batch; ++b) {
        ids.insert(ids.end(), plan.prompt.begin(), plan.prompt.end());
    }
    Sequence sequence;
    sequence.trace.prompt_tokens = prompt_tokens;
    sequence.trace.batch = plan.batch;
    sequence.trace.decoded_by = "steps: " + why_steps_;
    reset();
    TRY(check_room(config_, options_, 0, prompt_tokens + plan.new_tokens - 1));
    std::int64_t begin = now_ns();
    TRY(forward(ids, prompt_tokens, nullptr));
    TRY(decoder_logits(decoder_, pass(), prompt_tokens == 1 ? act_.x : act_.e, options_.batch,
                       logits_->as<float>()));
    TRY(cuda_status(cudaMemsetAsync(choice_->data(), 0, choice_->bytes(), backend_->stream()),
                    "choosing a token"));
    TRY(queue_choice());
    std::vector<std::int32_t> chosen(static_cast<std::size_t>(options_.batch + 1));
    TRY(backend_->copy_to_host(chosen.data(), *choice_, 0, choice_->bytes()));
    if (chosen.back() != 0) {
        return make_error(ErrorCode::invalid_numbers,
                          config_.name + ", " + options_.method.text +
                              ": logits of the prompt hold NaN or infinity");
    }
    TRY(send(act_, {}, position_ - 1));  // each step begins with the next position
    sequence.trace.prefill_ns = now_ns() - begin;
    sequence.new_ids.push_back(chosen.front());
    const auto stopped = [&] {
        const auto at = std::ranges::find(sequence.new_ids, plan.stop_id);
        if (plan.stop_id < 0 || at == sequence.new_ids.end()) {
            return false;
        }
        const auto kept = static_cast<std::size_t>(at - sequence.new_ids.begin() + 1);
        sequence.new_ids.resize(kept);
        sequence.trace.token_ns.resize(kept - 1);
        sequence.trace.host_work.reset();  // of more steps than these
        return true;
    };
    while (!stopped() && std::ssize(sequence.new_ids) < plan.new_tokens) {
        const std::int64_t count =
            std::min(steps_at_once, plan.new_tokens - std::ssize(sequence.new_ids));
        begin = now_ns();
        TRY(run_of_steps(count, sequence));
        sequence.trace.decode_ns += now_ns() - begin;
        if (sink) {
            sink(std::ssize(sequence.new_ids));
        }
    }
    if (plan.stop_id >= 0) {
        sequence.trace.decode_ns = 0;  // steps after the stop were thrown away: the sum counts
    }
    return sequence;
}

Result<std::unique_ptr<Engine>> load_cuda_engine(const ModelFiles& files,
                                                 const EngineOptions& options, LoadTrace* load) {
    if (files.config.head_dim > device::max_device_head_dim) {
        return make_error(ErrorCode::unsupported,
                          files.config.name + ": heads of " +
                              std::to_string(files.config.head_dim) +
                              " dimensions; attention on a device takes at most " +
                              std::to_string(device::max_device_head_dim) + ": use the CPU");
    }
    auto engine =
        std::make_unique<CudaEngine>(files.config, options, TRY(CudaBackend::open(options.device)));
    TRY(engine->load(*files.weights, load));
    return std::unique_ptr<Engine>(std::move(engine));
}

}  // namespace bitsweep
