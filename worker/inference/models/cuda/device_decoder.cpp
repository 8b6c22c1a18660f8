#include "worker/inference/models/cuda/device_decoder.h"

#include <algorithm>
#include <cstring>

#include "worker/inference/backend/cuda/cuda_error.h"
#include "worker/inference/models/cuda/prefill_attention.h"
#include "worker/inference/quant/shared/halves.h"

namespace bitsweep {
namespace {

Status queued(cudaError_t error, const char* what) {
    return error == cudaSuccess ? Status{} : cuda_status(error, what);
}

const DeviceLinear& linear_of(const Projection& projection) {
    return on_device(*projection.parts.front().linear);
}

// What the recorder sees is what the layer reads.
Status record(const Projection& projection, const DevicePass& pass, const device::Rows& x,
              std::int64_t rows) {
    const std::int64_t in = projection.in_features;
    const std::size_t width = x.type == InputType::f32 ? 4 : 2;
    std::vector<std::byte> raw(static_cast<std::size_t>(rows * x.stride) * width);
    TRY(pass.backend.copy_from(raw.data(), x.data, raw.size()));
    std::vector<float> values(static_cast<std::size_t>(rows * in));
    for (std::int64_t row = 0; row < rows; ++row) {
        for (std::int64_t k = 0; k < in; ++k) {
            const std::byte* from =
                raw.data() + static_cast<std::size_t>(row * x.stride + k) * width;
            float& to = values[static_cast<std::size_t>(row * in + k)];
            if (x.type == InputType::f32) {
                std::memcpy(&to, from, sizeof to);
                continue;
            }
            std::uint16_t bits = 0;
            std::memcpy(&bits, from, sizeof bits);
            to = x.type == InputType::f16 ? quant::f16_to_f32(bits) : quant::bf16_to_f32(bits);
        }
    }
    (*pass.outliers)[projection.index].add(values.data(), rows);
    return {};
}

enum class Into { overwrite, residual };

Status apply(const Projection& projection, const DevicePass& pass, const device::Rows& x, float* y,
             std::int64_t rows, Into into) {
    if (pass.outliers != nullptr) {
        TRY(record(projection, pass, x, rows));
    }
    const auto event = 2 * static_cast<std::int64_t>(projection.index);
    if (pass.mark != nullptr) {
        TRY((*pass.mark)(event));
    }
    std::int64_t column = 0;
    for (const Projection::Part& part : projection.parts) {
        TRY(on_device(*part.linear)
                .multiply(DeviceCall{.backend = pass.backend,
                                     .workspace = pass.workspace,
                                     .x = x.data,
                                     .rows = rows,
                                     .y = y + column,
                                     .y_stride = projection.out_features,
                                     .accumulate = into == Into::residual,
                                     .too_many = pass.too_many}));
        column += part.out_features;
    }
    if (pass.mark != nullptr) {
        TRY((*pass.mark)(event + 1));
    }
    return {};
}

// y [rows, out_features] (+)= projection(what `input` holds).
Status apply(const Projection& projection, const DevicePass& pass, const LayerInput& input,
             float* y, std::int64_t rows, Into into = Into::overwrite) {
    return apply(projection, pass, input.of(projection), y, rows, into);
}

Status apply(const Norm& norm, const DevicePass& pass, const float* x, std::int64_t rows,
             const device::Rows& typed, float* same) {
    return queued(device::norm({.kind = norm.kind,
                                .weight = norm.buffer ? norm.buffer->as<float>() : nullptr,
                                .eps = norm.eps,
                                .x = x,
                                .rows = rows,
                                .width = norm.width,
                                .typed = typed,
                                .same = same,
                                .follow = pass.follow},
                               pass.backend.stream()),
                  "a norm");
}

Status embed(const Decoder& decoder, const DevicePass& pass, const device::Stretch& stretch) {
    const DeviceActivations& act = pass.act;
    const std::int64_t rows = stretch.rows();
    const cudaStream_t stream = pass.backend.stream();
    const Table& tokens = decoder.embeddings.tokens;
    float* to = decoder.project_in ? act.e : act.x;
    TRY(on_device(*tokens.packed).look_up(act.ids, 0, rows, to, tokens.width, stream));
    if (decoder.project_in) {
        const device::Rows& to = act.in_embed.of(*decoder.project_in);
        TRY(queued(device::convert(act.e, rows, tokens.width, to, stream), "embeddings"));
        TRY(apply(*decoder.project_in, pass, act.in_embed, act.x, rows));
    }
    if (decoder.positions) {
        const PositionTable& table = *decoder.positions;
        TRY(queued(device::position_ids(stretch, table.offset, act.position_ids, stream),
                   "positions"));
        TRY(on_device(*table.packed)
                .look_up(act.position_ids, 0, rows, act.e, table.width, stream));
        TRY(queued(device::add(act.x, act.e, rows * table.width, stream), "positions"));
    }
    return {};
}

Status attend(const DecoderLayer& layer, const DevicePass& pass, const device::Stretch& stretch,
              std::int64_t index) {
    const DeviceActivations& act = pass.act;
    const KvHead first = pass.kv.head(index, 0, 0);
    const device::AttentionCall call{.shape = layer.attention,
                                     .stretch = stretch,
                                     .kv = {.keys = first.keys,
                                            .values = first.values,
                                            .head_stride = pass.kv.head_stride(),
                                            .type = pass.kv.shape().type,
                                            .key_scales = first.key_scales,
                                            .value_scales = first.value_scales,
                                            .scale_stride = pass.kv.scale_stride()},
                                     .q = act.q,
                                     .out = act.in_attention.of(layer.o),
                                     .partial = act.partial,
                                     .splits = stretch.rows() <= act.partial_rows ? act.splits : 1,
                                     .compute_capability = pass.backend.compute_capability(),
                                     .follow = pass.follow};
    const device::QkvRows qkv{act.qkv, layer.qkv.paired, pass.angles.cos, pass.angles.sin};
    return queued(device::store_and_attend(call, qkv, pass.backend.stream()), "attention");
}

Status run_mlp(const Decoder& decoder, const DecoderLayer& layer, const DevicePass& pass,
               std::int64_t rows) {
    const DeviceActivations& act = pass.act;
    const cudaStream_t stream = pass.backend.stream();
    const std::int64_t ffn = layer.down.in_features;
    const device::Rows& to = act.in_mlp.of(layer.down);
    TRY(apply(layer.up, pass, act.in_width, act.mlp, rows));
    TRY(queued(decoder.gated ? device::gate(decoder.activation, act.mlp, layer.up.paired, rows, ffn,
                                            to, stream, pass.follow)
                             : device::activate(decoder.activation, act.mlp, rows, ffn, to, stream),
               "an activation"));
    return apply(layer.down, pass, act.in_mlp, act.x, rows, Into::residual);
}

Status run_layer(const Decoder& decoder, const DevicePass& pass, const device::Stretch& stretch,
                 std::int64_t index) {
    const DecoderLayer& layer = decoder.layers[static_cast<std::size_t>(index)];
    const DeviceActivations& act = pass.act;
    const std::int64_t rows = stretch.rows(), width = layer.o.out_features;
    const bool before = decoder.norm_placement == NormPlacement::pre;
    const device::Rows& to_qkv = act.in_width.of(layer.qkv);
    const device::Rows& to_up = act.in_width.of(layer.up);
    if (before) {
        TRY(apply(layer.attention_norm, pass, act.x, rows, to_qkv, nullptr));
    } else {
        TRY(queued(device::convert(act.x, rows, width, to_qkv, pass.backend.stream()),
                   "a layer's input"));
    }
    TRY(apply(layer.qkv, pass, act.in_width, act.qkv, rows));
    TRY(attend(layer, pass, stretch, index));
    TRY(apply(layer.o, pass, act.in_attention, act.x, rows, Into::residual));
    if (before) {
        TRY(apply(layer.mlp_norm, pass, act.x, rows, to_up, nullptr));
    } else {
        TRY(apply(layer.attention_norm, pass, act.x, rows, to_up, act.x));
    }
    TRY(run_mlp(decoder, layer, pass, rows));
    return before ? Status{} : apply(layer.mlp_norm, pass, act.x, rows, device::Rows{}, act.x);
}

// Tokens of a sequence that are still taken as single queries (prefill_attention.h).
constexpr std::int64_t few_tokens = device::prefill_least_tokens - 1;

std::size_t type_bytes(InputType type) {
    return type == InputType::f32 ? 4 : 2;
}

// Splits of the sequence that keep the chip busy while decoding: up to two blocks a multiprocessor.
// A batch that fills it as it is stays whole, since splits must be combined by one more kernel.
std::int64_t splits_for(const CudaBackend& backend, const ModelConfig& config, std::int64_t batch,
                        std::int64_t context) {
    const std::int64_t blocks = batch * config.kv_heads;
    const std::int64_t wanted = 2 * backend.multiprocessors() / blocks;
    return std::clamp<std::int64_t>(std::min(wanted, (context + 255) / 256), 1, 64);
}

}  // namespace

const device::Rows& LayerInput::of(const Projection& projection) const {
    const auto type = static_cast<std::size_t>(linear_of(projection).input_type());
    ASSERT(rows_[type].data != nullptr);
    return rows_[type];
}

Result<DeviceAngles> DeviceAngles::create(Backend& backend, const Decoder& decoder,
                                          std::int64_t positions) {
    DeviceAngles angles;
    if (decoder.rope_frequencies.empty()) {
        return Result<DeviceAngles>(std::move(angles));
    }
    const std::size_t count = static_cast<std::size_t>(positions) * decoder.rope_frequencies.size();
    std::vector<float> host(2 * count);
    rope_angles(decoder.rope_frequencies, 0, positions, host.data(), host.data() + count);
    angles.buffer = TRY(backend.allocate(host.size() * sizeof(float), MemoryCategory::activations));
    TRY(backend.copy_to_device(*angles.buffer, 0, host.data(), host.size() * sizeof(float)));
    angles.cos = angles.buffer->as<float>();
    angles.sin = angles.cos + count;
    return Result<DeviceAngles>(std::move(angles));
}

Result<DeviceActivations> DeviceActivations::create(CudaBackend& backend, const ModelConfig& config,
                                                    const Decoder& decoder,
                                                    const DeviceRowCounts& counts) {
    const std::int64_t q = config.heads * config.head_dim;
    const std::int64_t kv = config.kv_heads * config.head_dim;
    DeviceActivations act;
    const std::int64_t rows = counts.rows;
    act.rows = rows;
    act.splits = splits_for(backend, config, counts.batch, counts.context);
    act.partial_rows = std::min(rows, counts.batch * few_tokens);
    std::size_t total = 0;
    std::vector<std::pair<void**, std::size_t>> parts;
    const auto take = [&](auto** pointer, std::int64_t elements, std::size_t element_bytes) {
        parts.emplace_back(reinterpret_cast<void**>(pointer), total);
        total += (static_cast<std::size_t>(elements) * element_bytes + 255) / 256 * 256;
    };
    // Room for the input of `reader` in its type, unless another layer has asked for the same.
    const auto take_rows = [&](LayerInput& input, const Projection& reader) {
        const InputType type = linear_of(reader).input_type();
        device::Rows& to = input.of(type);
        if (to.stride == 0) {
            to = {nullptr, input_stride(reader.in_features), type};
            take(&to.data, rows * to.stride, type_bytes(type));
        }
    };
    take(&act.x, rows * config.width, 4);
    take(&act.e, rows * std::max(config.width, config.embed_width), 4);
    take(&act.qkv, rows * (q + 2 * kv), 4);
    take(&act.q, rows * q, 4);
    take(&act.mlp, rows * config.ffn * (decoder.gated ? 2 : 1), 4);
    for (const DecoderLayer& layer : decoder.layers) {
        take_rows(act.in_width, layer.qkv);
        take_rows(act.in_attention, layer.o);
        take_rows(act.in_width, layer.up);
        take_rows(act.in_mlp, layer.down);
    }
    if (decoder.project_in) {
        take_rows(act.in_embed, *decoder.project_in);
    }
    if (decoder.project_out) {
        take_rows(act.in_width, *decoder.project_out);
    }
    take_rows(act.in_head, decoder.embeddings.head);
    if (act.splits > 1) {
        take(&act.partial, act.partial_rows * config.heads * act.splits * (config.head_dim + 2), 4);
    }
    take(&act.position, rows + ids_offset, 4);
    take(&act.position_ids, rows, 4);
    act.buffer = TRY(backend.allocate(total, MemoryCategory::activations));
    for (const auto& [pointer, offset] : parts) {
        *pointer = act.buffer->data() + offset;
    }
    act.ids = act.position + ids_offset;
    return Result<DeviceActivations>(std::move(act));
}

Status run_decoder(const Decoder& decoder, const DevicePass& pass, std::int64_t sequences,
                   std::int64_t tokens) {
    const device::Stretch stretch{sequences, tokens, pass.act.position};
    TRY(embed(decoder, pass, stretch));
    for (std::size_t i = 0; i < decoder.layers.size(); ++i) {
        TRY(run_layer(decoder, pass, stretch, static_cast<std::int64_t>(i)));
    }
    return {};
}

Status decoder_logits(const Decoder& decoder, const DevicePass& pass, const float* x,
                      std::int64_t rows, float* out) {
    const DeviceActivations& act = pass.act;
    const cudaStream_t stream = pass.backend.stream();
    const Projection& head = decoder.embeddings.head;
    const device::Rows& to =
        decoder.project_out ? act.in_width.of(*decoder.project_out) : act.in_head.of(head);
    if (decoder.final_norm) {
        TRY(apply(*decoder.final_norm, pass, x, rows, to, nullptr));
    } else {
        const std::int64_t width = decoder.layers.front().o.out_features;
        TRY(queued(device::convert(x, rows, width, to, stream), "the head's input"));
    }
    if (decoder.project_out) {
        TRY(apply(*decoder.project_out, pass, act.in_width, act.e, rows));
        TRY(queued(device::convert(act.e, rows, decoder.project_out->out_features,
                                   act.in_head.of(head), stream),
                   "the head's input"));
    }
    return apply(head, pass, act.in_head, out, rows);
}

bool queues_only(const Decoder& decoder, std::int64_t rows) {
    const auto every_part = [rows](const Projection& projection) {
        return std::ranges::all_of(projection.parts, [rows](const Projection::Part& part) {
            return on_device(*part.linear).queues_only(rows);
        });
    };
    return std::ranges::all_of(decoder.layers,
                               [&](const DecoderLayer& layer) {
                                   return every_part(layer.qkv) && every_part(layer.o) &&
                                          every_part(layer.up) && every_part(layer.down);
                               }) &&
           (!decoder.project_in || every_part(*decoder.project_in)) &&
           (!decoder.project_out || every_part(*decoder.project_out));
}

}  // namespace bitsweep
