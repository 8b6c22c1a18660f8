// What stands between the weight products of a decoder layer on a card, a kernel at a time: norms,
// keys and values into the cache, attention, the gate, the choice of a token. Medians by CUDA
// events of eight calls in a row, beside what the bytes alone would take at `--read` GB/s.
//
// usage: bench_gpu_between [--sequences 1] [--tokens 2048] [--position 0] [--width 4096]
//                          [--ffn 14336] [--heads 32] [--kv-heads 8] [--dim 128] [--read 4500]
//                          [--vocabulary 128256]
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "worker/inference/models/cuda/decode_attention.h"
#include "worker/inference/models/cuda/device_ops.h"
#include "worker/inference/models/cuda/hopper_attention.h"
#include "worker/inference/models/cuda/prefill_attention.h"

namespace {

using namespace bitsweep;

static_assert(sizeof(device::ArgmaxState) == 16);

constexpr int repeats = 9, in_a_row = 8;

struct Options {
    std::int64_t sequences = 1, tokens = 2048, position = 0, width = 4096, ffn = 14336, heads = 32,
                 kv_heads = 8, dim = 128, read = 4500, vocabulary = 128256;
};

void require(cudaError_t error, const char* what) {
    if (error != cudaSuccess) {
        std::fprintf(stderr, "bench_gpu_between: %s: %s\n", what, cudaGetErrorString(error));
        std::exit(1);
    }
}

// Device memory with seeded normals in it, as floats or halves.
template <class T>
class Values {
 public:
    explicit Values(std::int64_t count) : bytes_(static_cast<std::size_t>(count) * sizeof(T)) {
        require(cudaMalloc(reinterpret_cast<void**>(&data_), bytes_), "memory");
        std::mt19937 generator(1);
        std::normal_distribution<float> normal;
        std::vector<T> host(static_cast<std::size_t>(std::min<std::int64_t>(count, 1 << 20)));
        std::ranges::generate(host, [&] { return T(normal(generator)); });
        for (std::size_t at = 0; at < static_cast<std::size_t>(count); at += host.size()) {
            const std::size_t here = std::min(host.size(), static_cast<std::size_t>(count) - at);
            require(cudaMemcpy(data_ + at, host.data(), here * sizeof(T), cudaMemcpyHostToDevice),
                    "a copy");
        }
    }
    ~Values() { cudaFree(data_); }
    Values(const Values&) = delete;
    Values& operator=(const Values&) = delete;
    T* data() const { return data_; }
    std::vector<T> on_host() const {
        std::vector<T> host(bytes_ / sizeof(T));
        require(cudaMemcpy(host.data(), data_, bytes_, cudaMemcpyDeviceToHost), "a copy");
        return host;
    }

 private:
    T* data_ = nullptr;
    std::size_t bytes_;
};

// Median microseconds.
double time_us(const std::function<cudaError_t()>& queue) {
    cudaEvent_t from{}, to{};
    require(cudaEventCreate(&from), "an event");
    require(cudaEventCreate(&to), "an event");
    std::vector<float> times;
    for (int i = 0; i < repeats + 1; ++i) {
        require(cudaEventRecord(from), "an event");
        for (int j = 0; j < in_a_row; ++j) {
            require(queue(), "a kernel");
        }
        require(cudaEventRecord(to), "an event");
        require(cudaEventSynchronize(to), "a kernel");
        float ms = 0;
        require(cudaEventElapsedTime(&ms, from, to), "an event");
        if (i > 0) {
            times.push_back(ms);
        }
    }
    cudaEventDestroy(from);
    cudaEventDestroy(to);
    std::nth_element(times.begin(), times.begin() + repeats / 2, times.end());
    return 1000.0 * times[repeats / 2] / in_a_row;
}

// A row of the table; the bytes are what must pass at least.
double row(const Options& o, const char* name, double bytes,
           const std::function<cudaError_t()>& queue) {
    const double us = time_us(queue), alone = bytes / static_cast<double>(o.read) / 1e3;
    std::printf("%-26s %9.1f us   bytes alone %7.1f us, %3.0f %%\n", name, us, alone,
                100.0 * alone / us);
    return us;
}

// How far apart two results are, and the largest value of the first.
std::pair<double, double> apart(const std::vector<__half>& one, const std::vector<__half>& other) {
    double most = 0, largest = 0;
    for (std::size_t i = 0; i < one.size(); ++i) {
        const double a = __half2float(one[i]), b = __half2float(other[i]);
        most = std::isnan(a) || std::isnan(b) ? NAN : std::max(most, std::fabs(a - b));
        largest = std::max(largest, std::fabs(a));
    }
    return {most, largest};
}

// Keys and values into the cache, then attention: by the kernels of every card, and by Hopper's
// where it takes the call.
void bench_attention(const Options& o, const std::int32_t* position) {
    const std::int64_t rows = o.sequences * o.tokens, q = o.heads * o.dim, kv = o.kv_heads * o.dim;
    const std::int64_t context = (o.position + o.tokens + 15) / 16 * 16;
    const std::int64_t splits =
        o.tokens > 1
            ? 1
            : std::clamp<std::int64_t>(264 / (o.sequences * o.kv_heads), 1, (context + 255) / 256);
    const Values<float> qkv(rows * (q + 2 * kv)), queries(rows * q), angles(context * o.dim),
        partial(rows * o.heads * splits * (o.dim + 2));
    const Values<__half> out(rows * q), again(rows * q), cache(o.sequences * 2 * kv * context);
    device::AttentionCall call{.shape = {.heads = o.heads,
                                         .kv_heads = o.kv_heads,
                                         .head_dim = o.dim,
                                         .scale = 1.0f / std::sqrt(static_cast<float>(o.dim)),
                                         .window = 0},
                               .stretch = {o.sequences, o.tokens, position},
                               .kv = {.keys = cache.data(),
                                      .values = cache.data() + context * o.dim,
                                      .head_stride = 2 * context * o.dim},
                               .q = queries.data(),
                               .out = {out.data(), q, InputType::f16},
                               .partial = partial.data(),
                               .splits = splits,
                               .compute_capability = 0};
    const device::QkvRows rows_of_qkv{qkv.data(), true, angles.data(),
                                      angles.data() + context * o.dim / 2};
    const auto r = static_cast<double>(rows), wide = static_cast<double>(q);
    row(o, "keys and values", r * static_cast<double>((q + 2 * kv) * 4 + q * 4 + 2 * kv * 2),
        [&] { return device::store_qkv(call, rows_of_qkv, nullptr); });
    // Scores and sums of what a row sees, a product each.
    const auto tokens = static_cast<double>(o.tokens);
    const double operations = 4 * r * (static_cast<double>(o.position) + (tokens + 1) / 2) * wide;
    const double bytes =
        static_cast<double>(o.sequences * 2 * kv * (o.position + o.tokens) * 2) + r * wide * 6;
    const auto attend = [&] { return device::attend(call, nullptr); };
    const double any = row(o, "attention", bytes, attend);
    std::printf("%-26s %9.1f TFLOP/s\n", "", operations / any / 1e6);
    if (device::attends_while_storing(call)) {
        row(o, "both in one kernel", bytes + r * static_cast<double>(q + 2 * kv) * 4,
            [&] { return device::store_and_attend(call, rows_of_qkv, nullptr); });
    }
    call.compute_capability = 90;
    if (device::hopper_attends(call)) {
        call.out.data = again.data();
        const double hopper = row(o, "attention, Hopper", bytes, attend);
        const auto [most, largest] = apart(out.on_host(), again.on_host());
        std::printf("%-26s %9.1f TFLOP/s; at most %.2g from the other, largest value %.2g\n", "",
                    operations / hopper / 1e6, most, largest);
    }
}

// The choice of a token from the logits of each sequence.
void bench_argmax(const Options& o) {
    const Values<float> logits(o.sequences * o.vocabulary), states(4 * o.sequences);
    require(cudaMemset(states.data(), 0, static_cast<std::size_t>(o.sequences) * 16), "memory");
    std::int32_t* ids = nullptr;
    const auto bytes = static_cast<std::size_t>(o.sequences + 1) * sizeof *ids;
    require(cudaMalloc(reinterpret_cast<void**>(&ids), bytes), "memory");
    row(o, "argmax", static_cast<double>(o.sequences * o.vocabulary) * 4, [&] {
        return device::argmax(logits.data(), o.sequences, o.vocabulary,
                              reinterpret_cast<device::ArgmaxState*>(states.data()), ids,
                              ids + o.sequences, nullptr);
    });
    require(cudaFree(ids), "memory");
}

void bench(const Options& o) {
    const std::int64_t rows = o.sequences * o.tokens;
    const Values<float> x(rows * o.width), weight(o.width), up(rows * 2 * o.ffn);
    const Values<__half> typed(rows * std::max(o.ffn, o.width));
    std::int32_t* position = nullptr;
    require(cudaMalloc(reinterpret_cast<void**>(&position), sizeof *position), "memory");
    const auto at = static_cast<std::int32_t>(o.position);
    require(cudaMemcpy(position, &at, sizeof at, cudaMemcpyHostToDevice), "a copy");
    const auto r = static_cast<double>(rows);
    row(o, "norm", r * static_cast<double>(o.width) * 6, [&] {
        return device::norm({.kind = Norm::Kind::rms,
                             .weight = weight.data(),
                             .x = x.data(),
                             .rows = rows,
                             .width = o.width,
                             .typed = {typed.data(), o.width, InputType::f16}},
                            nullptr);
    });
    bench_attention(o, position);
    row(o, "gate", r * static_cast<double>(o.ffn) * 10, [&] {
        return device::gate(Activation::silu, up.data(), true, rows, o.ffn,
                            {typed.data(), o.ffn, InputType::f16}, nullptr);
    });
    bench_argmax(o);
    require(cudaFree(position), "memory");
}

}  // namespace

int main(int count, char** words) {
    Options options;
    const std::map<std::string, std::int64_t*> numbers{{"--sequences", &options.sequences},
                                                       {"--tokens", &options.tokens},
                                                       {"--position", &options.position},
                                                       {"--width", &options.width},
                                                       {"--ffn", &options.ffn},
                                                       {"--heads", &options.heads},
                                                       {"--kv-heads", &options.kv_heads},
                                                       {"--dim", &options.dim},
                                                       {"--read", &options.read},
                                                       {"--vocabulary", &options.vocabulary}};
    for (int i = 1; i < count; i += 2) {
        if (i + 1 == count || !numbers.contains(words[i])) {
            std::fprintf(stderr, "usage: bench_gpu_between");
            for (const auto& [name, number] : numbers) {
                std::fprintf(stderr, " [%s %lld]", name.c_str(), static_cast<long long>(*number));
            }
            std::fprintf(stderr, "\n");
            return 2;
        }
        *numbers.at(words[i]) =
            std::max(words[i] == std::string("--position") ? 0L : 1L, std::atol(words[i + 1]));
    }
    bench(options);
    return 0;
}
