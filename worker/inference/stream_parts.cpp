#include "worker/inference/stream_parts.h"

#include <string>
#include <utility>

#include "worker/inference/quant/shared/device_linear.h"

namespace bitsweep {
namespace {

using decode::Epilogue;
using decode::Gemv;
using decode::LayerParts;
using decode::NormParts;
using decode::ProgramParts;

Error no(const std::string& what) {
    return make_error(ErrorCode::unsupported, "the streaming kernel does not serve " + what);
}

Gemv gemv_of(const DeviceMatrix& matrix) {
    Gemv g;
    g.codes = matrix.codes;
    g.scales = matrix.scales;
    g.bias = matrix.bias;
    g.rows = matrix.rows;
    g.in_features = matrix.in_features;
    g.row_chunks = matrix.row_chunks;
    g.group = matrix.group;
    g.kind = matrix.kind;
    g.threshold = matrix.threshold;
    return g;
}

// The one matrix of a projection; all projections of a decoder share one code book at most.
Result<Gemv> matrix_of(const Projection& projection, const float*& code_book) {
    if (projection.parts.size() != 1) {
        return no(projection.name + ", whose rows are packed apart");
    }
    const DeviceLinear& linear = on_device(*projection.parts.front().linear);
    if (!linear.queues_only(1)) {
        return no("a method that waits for the host in every layer");
    }
    const DeviceMatrix& matrix = linear.matrix();
    if (matrix.zeros != nullptr) {
        return no(projection.name + ", whose codes have zeros");
    }
    if (matrix.scale_codes != nullptr) {
        return no(projection.name + ", whose scales are 8-bit codes");
    }
    if (matrix.originals != nullptr) {
        return no(projection.name + ", whose outlier columns meet the original weights");
    }
    if (matrix.input_absmax > 0) {
        return no(projection.name + ", whose activations have a static scale");
    }
    if (matrix.code_book != nullptr) {
        code_book = matrix.code_book;
    }
    return gemv_of(matrix);
}

NormParts norm_of(const Norm& norm) {
    NormParts parts;
    parts.eps = static_cast<float>(norm.eps);
    if (norm.buffer) {
        parts.weight = norm.buffer->as<float>();
        parts.bias = norm.kind == Norm::Kind::layer ? parts.weight + norm.width : nullptr;
    }
    return parts;
}

Result<Epilogue> activation_of(const Decoder& decoder) {
    switch (decoder.activation) {
        case Activation::gelu_tanh:
            return Epilogue::gelu_tanh;
        case Activation::gelu_erf:
            return Epilogue::gelu_erf;
        case Activation::relu:
            return Epilogue::relu;
        case Activation::silu:
            break;
    }
    if (!decoder.gated) {
        return no("silu without a gate");
    }
    return Epilogue::swiglu;
}

Status check_decoder(const Decoder& decoder, const KvCache& kv) {
    if (decoder.norm_placement != NormPlacement::pre) {
        return no("norms after each block");
    }
    if (decoder.project_in || decoder.project_out) {
        return no("embeddings narrower than the model");
    }
    if (!decoder.final_norm) {
        return no("a decoder without a final norm");
    }
    if (decoder.gated && decoder.activation != Activation::silu) {
        return no("a gate other than silu");
    }
    if (kv.shape().type != KvType::f16) {
        return no(kv.shape().type == KvType::f32 ? "a 32-bit cache" : "an 8-bit cache");
    }
    return {};
}

Result<LayerParts> layer_of(const DecoderLayer& layer, const float*& code_book) {
    LayerParts parts;
    parts.attention_norm = norm_of(layer.attention_norm);
    parts.qkv = TRY(matrix_of(layer.qkv, code_book));
    parts.o = TRY(matrix_of(layer.o, code_book));
    parts.mlp_norm = norm_of(layer.mlp_norm);
    parts.up = TRY(matrix_of(layer.up, code_book));
    parts.down = TRY(matrix_of(layer.down, code_book));
    parts.attention_scale = layer.attention.scale;
    parts.sliding_window = static_cast<std::int32_t>(layer.attention.window);
    return parts;
}

// Positions between two heads of a layer: a cache may hold keys and values of a head side by side.
std::int32_t cache_stride(const KvCache& kv) {
    const KvShape& shape = kv.shape();
    if (shape.kv_heads == 1) {
        return static_cast<std::int32_t>(shape.context);
    }
    const auto row_bytes = shape.head_dim * static_cast<std::int64_t>(sizeof(std::uint16_t));
    return static_cast<std::int32_t>((kv.keys(0, 0, 1) - kv.keys(0, 0, 0)) / row_bytes);
}

// The kernel adds learned positions as float32.
Result<std::unique_ptr<Buffer>> float_positions(const PositionTable& table, std::int64_t rows,
                                                CudaBackend& backend) {
    auto buffer = TRY(backend.allocate(static_cast<std::size_t>(rows * table.width) * sizeof(float),
                                       MemoryCategory::activations));
    TRY(on_device(*table.packed)
            .look_up(nullptr, 0, rows, buffer->as<float>(), table.width, backend.stream()));
    TRY(backend.synchronize());
    return buffer;
}

}  // namespace

Result<StreamParts> stream_parts(const Decoder& decoder, const ModelConfig& config,
                                 const KvCache& kv, CudaBackend& backend) {
    TRY(check_decoder(decoder, kv));
    StreamParts parts;
    ProgramParts& program = parts.program;
    program.width = static_cast<std::int32_t>(config.width);
    program.heads = static_cast<std::int32_t>(config.heads);
    program.kv_heads = static_cast<std::int32_t>(config.kv_heads);
    program.head_dim = static_cast<std::int32_t>(config.head_dim);
    program.context = static_cast<std::int32_t>(kv.shape().context);
    program.gated = decoder.gated;
    program.activation = TRY(activation_of(decoder));
    program.rope_frequencies = decoder.rope_frequencies;
    for (std::size_t i = 0; i < decoder.layers.size(); ++i) {
        LayerParts layer = TRY(layer_of(decoder.layers[i], parts.code_book));
        const auto index = static_cast<std::int64_t>(i);
        layer.keys = reinterpret_cast<std::uint16_t*>(kv.keys(index, 0, 0));
        layer.values = reinterpret_cast<std::uint16_t*>(kv.values(index, 0, 0));
        program.layers.push_back(layer);
    }
    program.cache_stride = cache_stride(kv);
    program.final_norm = norm_of(*decoder.final_norm);
    const float* head_code_book = nullptr;
    program.head = TRY(matrix_of(decoder.embeddings.head, head_code_book));
    program.embedding = gemv_of(on_device(*decoder.embeddings.tokens.packed).matrix());
    if (head_code_book != nullptr) {
        return no("a head with a code book");
    }
    if (decoder.positions) {
        const std::int64_t rows = kv.shape().context + decoder.positions->offset;
        parts.positions = TRY(float_positions(*decoder.positions, rows, backend));
        program.position_embedding = parts.positions->as<float>();
        program.position_offset = static_cast<std::int32_t>(decoder.positions->offset);
    }
    return parts;
}

}  // namespace bitsweep
