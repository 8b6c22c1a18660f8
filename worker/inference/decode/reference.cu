#include "worker/inference/decode/reference.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace bitsweep::decode {
namespace {

// Weight [row, column], dequantised; for i8_i8 the bare code.
__device__ double weight(const Gemv& g, const float* code_book, std::int64_t row, int column) {
    const int w = weights_per_chunk(g.kind);
    const std::uint8_t* chunk = g.codes + (row * g.row_chunks + column / w) * 16;
    const int i = column % w;
    switch (g.kind) {
        case Codes::f16:
            return __half2float(reinterpret_cast<const __half*>(chunk)[i]);
        case Codes::bf16:
            return __bfloat162float(reinterpret_cast<const __nv_bfloat16*>(chunk)[i]);
        case Codes::i8:
            return static_cast<double>(reinterpret_cast<const std::int8_t*>(chunk)[i]) *
                   static_cast<const float*>(g.scales)[row];
        case Codes::i8_i8:
            return reinterpret_cast<const std::int8_t*>(chunk)[i];
        case Codes::i4_group: {
            const int nibble_of[8] = {0, 4, 1, 5, 2, 6, 3, 7};
            const std::uint32_t word = reinterpret_cast<const std::uint32_t*>(chunk)[i / 8];
            const int code = word >> (4 * nibble_of[i % 8]) & 15;
            const auto* scales = static_cast<const __half*>(g.scales);
            return (code - 8) * static_cast<double>(__half2float(
                                    scales[row * (g.in_features / g.group) + column / g.group]));
        }
        case Codes::lut4: {
            const int code = chunk[i / 2] >> (4 * (i % 2)) & 15;
            const auto* scales = static_cast<const float*>(g.scales);
            return static_cast<double>(__half2float(__float2half(code_book[code]))) *
                   scales[row * (g.in_features / g.group) + column / g.group];
        }
    }
    return 0;
}

__device__ double raw_input(const Program& p, const Gemv& g, int i) {
    const auto* words = static_cast<const FloatWord*>(g.input);
    if (g.prologue == Prologue::attention) {  // one split
        const FloatWord* head = words + i / p.head_dim * (p.head_dim + 2);
        return head[i % p.head_dim].value / head[p.head_dim + 1].value;
    }
    if (g.prologue == Prologue::none) {
        return __half2float(__ushort_as_half(static_cast<const HalfWord*>(g.input)[i].value));
    }
    return words[i].value;
}

__device__ double input(const Program& p, const Gemv& g, int i) {
    double mean = 0, squares = 0;
    if (g.prologue == Prologue::layer_norm) {
        for (int j = 0; j < g.in_features; ++j) {
            mean += raw_input(p, g, j);
        }
        mean /= g.in_features;
    }
    if (g.prologue == Prologue::layer_norm || g.prologue == Prologue::rms_norm) {
        for (int j = 0; j < g.in_features; ++j) {
            squares += (raw_input(p, g, j) - mean) * (raw_input(p, g, j) - mean);
        }
        double value = (raw_input(p, g, i) - mean) / sqrt(squares / g.in_features + g.norm_eps);
        value *= g.norm_weight[i];
        return g.prologue == Prologue::layer_norm ? value + g.norm_bias[i] : value;
    }
    return raw_input(p, g, i);
}

__global__ void prepare(Program p, Gemv g, double* x) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < g.in_features) {
        x[i] = __half2float(__float2half(static_cast<float>(input(p, g, i))));
    }
}

__global__ void multiply(Gemv g, const double* x, const float* code_book, double* y) {
    const std::int64_t row = blockIdx.x * static_cast<std::int64_t>(blockDim.x) + threadIdx.x;
    if (row >= g.rows) {
        return;
    }
    const double bias = g.bias != nullptr ? g.bias[row] : 0;
    double sum = 0;
    if (g.kind != Codes::i8_i8) {
        for (int i = 0; i < g.in_features; ++i) {
            sum += weight(g, code_book, row, i) * x[i];
        }
        y[row] = sum + bias;
        return;
    }
    float absmax = 0;
    for (int i = 0; i < g.in_features; ++i) {
        const float a = fabsf(static_cast<float>(x[i]));
        absmax = g.threshold > 0 && a >= g.threshold ? absmax : fmaxf(absmax, a);
    }
    const float scale = static_cast<const float*>(g.scales)[row];
    int exact = 0;
    double outlier = 0;
    for (int i = 0; i < g.in_features; ++i) {
        const int code = static_cast<int>(weight(g, code_book, row, i));
        if (g.threshold > 0 && fabsf(static_cast<float>(x[i])) >= g.threshold) {
            outlier += x[i] * __half2float(__float2half(code * scale * 7.874015718698502e-3f));
        } else {
            exact += code *
                     __float2int_rn(static_cast<float>(x[i]) * (absmax > 0 ? 127.0f / absmax : 0));
        }
    }
    const float inside = fmaf(exact * (absmax * scale), 6.200012e-05f, static_cast<float>(bias));
    y[row] = __half2float(
        __float2half(__half2float(__float2half(inside)) + static_cast<float>(outlier)));
}

__global__ void finish(Program p, Gemv g, const double* y) {
    const std::int64_t unit = blockIdx.x * static_cast<std::int64_t>(blockDim.x) + threadIdx.x;
    if (unit * g.rows_per_unit >= g.rows) {
        return;
    }
    const double a = y[unit * g.rows_per_unit];
    const double b = g.rows_per_unit == 2 ? y[2 * unit + 1] : 0;
    auto* words = static_cast<FloatWord*>(g.out);
    auto* halves = static_cast<HalfWord*>(g.out);
    const auto half = [](double v) {
        return __half_as_ushort(__float2half(static_cast<float>(v)));
    };
    switch (g.epilogue) {
        case Epilogue::residual:
            words[unit].value = static_cast<float>(g.residual[unit].value + a);
            return;
        case Epilogue::gelu_tanh:
            halves[unit].value =
                half(0.5 * a * (1 + tanh(0.7978845608028654 * (a + 0.044715 * a * a * a))));
            return;
        case Epilogue::gelu_erf:
            halves[unit].value = half(0.5 * a * (1 + erf(a * 0.7071067811865476)));
            return;
        case Epilogue::relu:
            halves[unit].value = half(a > 0 ? a : 0);
            return;
        case Epilogue::swiglu:
            halves[unit].value = half(a / (1 + exp(-a)) * b);
            return;
        case Epilogue::logits:
            static_cast<float*>(g.out)[unit] = static_cast<float>(a);
            return;
        case Epilogue::qkv:
            break;
    }
    const int half_dim = p.head_dim / 2;
    const int head = unit / half_dim, i = unit % half_dim;
    double first = a, second = b;
    if (p.rope_cos != nullptr && head < p.heads + p.kv_heads) {
        const std::int64_t at = static_cast<std::int64_t>(*p.position) * half_dim + i;
        const double c = p.rope_cos[at], s = p.rope_sin[at];
        first = a * c - b * s;
        second = b * c + a * s;
    }
    words[head * p.head_dim + i].value = static_cast<float>(first);
    words[head * p.head_dim + i + half_dim].value = static_cast<float>(second);
}

// The new position's key and value into the cache.
__global__ void remember(Program p, Attention a) {
    const std::int64_t kv_head = blockIdx.x;
    for (int i = threadIdx.x; i < p.head_dim; i += blockDim.x) {
        const std::int64_t at = (kv_head * p.context + *p.position) * p.head_dim + i;
        a.k[at] = __half_as_ushort(__float2half(a.qkv[(p.heads + kv_head) * p.head_dim + i].value));
        a.v[at] = __half_as_ushort(
            __float2half(a.qkv[(p.heads + p.kv_heads + kv_head) * p.head_dim + i].value));
    }
}

__global__ void attend(Program p, Attention a) {
    const int head = blockIdx.x, kv_head = head / (p.heads / p.kv_heads);
    const int position = *p.position;
    const int from = a.sliding_window > 0 ? max(0, position + 1 - a.sliding_window) : 0;
    const auto* k = reinterpret_cast<const __half*>(a.k) +
                    static_cast<std::int64_t>(kv_head) * p.context * p.head_dim;
    const auto* v = reinterpret_cast<const __half*>(a.v) +
                    static_cast<std::int64_t>(kv_head) * p.context * p.head_dim;
    double top = -1e300, total = 0;
    for (int t = from; t <= position; ++t) {
        double score = 0;
        for (int i = 0; i < p.head_dim; ++i) {
            score += static_cast<double>(a.qkv[head * p.head_dim + i].value) * a.scale *
                     __half2float(k[t * p.head_dim + i]);
        }
        const double before = top;
        top = score > top ? score : top;
        total = total * exp(before - top) + exp(score - top);
    }
    for (int i = threadIdx.x; i < p.head_dim; i += blockDim.x) {
        double sum = 0;
        for (int t = from; t <= position; ++t) {
            double score = 0;
            for (int j = 0; j < p.head_dim; ++j) {
                score += static_cast<double>(a.qkv[head * p.head_dim + j].value) * a.scale *
                         __half2float(k[t * p.head_dim + j]);
            }
            sum += exp(score - top) * __half2float(v[t * p.head_dim + i]);
        }
        a.partial[head * (p.head_dim + 2) + i].value = static_cast<float>(sum);
    }
    a.partial[head * (p.head_dim + 2) + p.head_dim].value = static_cast<float>(top);
    a.partial[head * (p.head_dim + 2) + p.head_dim + 1].value = static_cast<float>(total);
}

__global__ void embed(Program p) {
    const std::int64_t token = *p.token;
    for (int i = threadIdx.x; i < p.width; i += blockDim.x) {
        const std::int64_t at = token * p.width + i;
        float value =
            p.embedding_kind == Codes::i8
                ? reinterpret_cast<const std::int8_t*>(p.embedding)[at] * p.embedding_scales[token]
            : p.embedding_kind == Codes::bf16
                ? __bfloat162float(reinterpret_cast<const __nv_bfloat16*>(p.embedding)[at])
                : __half2float(reinterpret_cast<const __half*>(p.embedding)[at]);
        if (p.position_embedding != nullptr) {
            value +=
                p.position_embedding[static_cast<std::int64_t>(*p.position + p.position_offset) *
                                         p.width +
                                     i];
        }
        p.hidden[i].value = value;
    }
}

__global__ void choose(Program p, const float* logits) {
    int best = 0;
    for (int i = 1; i < p.vocabulary; ++i) {
        best = logits[i] > logits[best] ? i : best;
    }
    p.new_tokens[*p.position] = best;
    *p.token = best;
    ++*p.position;
}

}  // namespace

cudaError_t run_reference(const Program& program, const Stage* stages, const float* code_book,
                          int tokens, cudaStream_t stream) {
    double* scratch = nullptr;
    std::int64_t most = program.max_in_features;
    for (int i = 0; i < program.stage_count; ++i) {
        most = stages[i].kind == StageKind::gemv && stages[i].gemv.rows > most ? stages[i].gemv.rows
                                                                               : most;
    }
    if (cudaError_t e = cudaMallocAsync(&scratch, 2 * most * sizeof(double), stream);
        e != cudaSuccess) {
        return e;
    }
    for (int n = 0; n < tokens; ++n) {
        for (int i = 0; i < program.stage_count; ++i) {
            const Gemv& g = stages[i].gemv;
            if (stages[i].kind == StageKind::embed) {
                embed<<<1, 256, 0, stream>>>(program);
            } else if (stages[i].kind == StageKind::attention) {
                remember<<<program.kv_heads, 64, 0, stream>>>(program, stages[i].attention);
                attend<<<program.heads, 64, 0, stream>>>(program, stages[i].attention);
            } else {
                prepare<<<(g.in_features + 127) / 128, 128, 0, stream>>>(program, g, scratch);
                multiply<<<static_cast<unsigned>((g.rows + 127) / 128), 128, 0, stream>>>(
                    g, scratch, code_book, scratch + most);
                finish<<<static_cast<unsigned>((g.rows + 127) / 128), 128, 0, stream>>>(
                    program, g, scratch + most);
            }
        }
        choose<<<1, 1, 0, stream>>>(
            program, static_cast<const float*>(stages[program.stage_count - 1].gemv.out));
    }
    cudaFreeAsync(scratch, stream);
    return cudaGetLastError();
}

}  // namespace bitsweep::decode
