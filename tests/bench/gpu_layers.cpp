// One packed layer's product at a time on a card, for the matrices of a decoder layer: where the
// time of a prefill or of a batch goes. Medians by CUDA events; each call waits for none.
//
// usage: bench_gpu_layers [--device cuda:N] [--methods fp16,w8a8] [--rows 32,512] [--width 4096]
//                         [--ffn 14336] [--kv 1024]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "worker/inference/backend/cuda/cuda_backend.h"
#include "worker/inference/backend/cuda/cuda_error.h"
#include "worker/inference/quant/shared/device_layer.h"
#include "worker/inference/quant/shared/int8_device.h"
#include "worker/inference/quant/shared/int8_hopper.h"

namespace {

using namespace bitsweep;

constexpr int repeats = 9;
constexpr int in_a_row = 8;  // so that the host is ahead of the card, as in a prefill

struct Options {
    std::string device = "cuda:0", methods = "fp16,w8a8,llmint8-fused", rows = "32,512,2048";
    std::int64_t width = 4096, ffn = 14336, kv = 1024;  // of Llama-3.1-8B
};

std::vector<std::string> split(const std::string& text) {
    std::vector<std::string> parts;
    std::istringstream in(text);
    for (std::string part; std::getline(in, part, ',');) {
        parts.push_back(part);
    }
    return parts;
}

struct Event {
    cudaEvent_t value = nullptr;
    Event() { cudaEventCreate(&value); }
    ~Event() { cudaEventDestroy(value); }
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;
};

// Median microseconds of what `queue` queues.
template <class Queue>
Result<double> time_us(CudaBackend& backend, const Queue& queue) {
    Event from, to;
    std::vector<float> times;
    for (int i = 0; i < repeats + 2; ++i) {
        TRY(cuda_status(cudaEventRecord(from.value, backend.stream()), "an event"));
        for (int j = 0; j < in_a_row; ++j) {
            TRY(queue());
        }
        TRY(cuda_status(cudaEventRecord(to.value, backend.stream()), "an event"));
        TRY(cuda_status(cudaEventSynchronize(to.value), "a product"));
        float ms = 0;
        TRY(cuda_status(cudaEventElapsedTime(&ms, from.value, to.value), "a product"));
        if (i >= 2) {  // the first chooses kernels
            times.push_back(ms);
        }
    }
    std::nth_element(times.begin(), times.begin() + repeats / 2, times.end());
    return 1000.0 * times[repeats / 2] / in_a_row;
}

struct Shape {
    const char* name;
    std::int64_t out, in;
};

// Seeded normals with six large inputs a row in the same columns, as the random models have.
std::vector<float> inputs(std::int64_t rows, std::int64_t in) {
    std::mt19937 generator(1);
    std::normal_distribution<float> normal;
    std::vector<float> values(static_cast<std::size_t>(rows * in));
    for (std::size_t i = 0; i < values.size(); ++i) {
        const auto column = static_cast<std::int64_t>(i) % in;
        values[i] = normal(generator) * (column % (in / 6) == 5 ? 20.0f : 0.5f);
    }
    return values;
}

// What quantising, exact sums and sums with their scaling take of an 8-bit product.
Status time_parts(CudaBackend& backend, const DeviceLinear& layer, const DeviceCall& call) {
    DeviceMatrix m = layer.matrix();
    const std::int64_t in = std::int64_t{m.row_chunks} * 16;
    const double quantise = TRY(time_us(backend, [&]() -> Status {
        TRY(quant::quantise_tokens(m, call, layer.input_type()));
        return {};
    }));
    const auto tokens = TRY(quant::quantise_tokens(m, call, layer.input_type()));
    m.threshold = 0;
    const double sums = TRY(time_us(backend, [&] {
        return backend.gemm().multiply(GemmCall{.type = GemmType::i8,
                                                .w = m.codes,
                                                .w_stride = in,
                                                .x = tokens.codes,
                                                .x_stride = in,
                                                .y = call.y,
                                                .y_stride = m.rows,
                                                .out = m.rows,
                                                .rows = call.rows,
                                                .in = in});
    }));
    const auto rule = quant::Int8Rule::w8a8;
    const double tiled = TRY(
        time_us(backend, [&] { return quant::int8_many_rows(m, call, tokens, nullptr, rule); }));
    std::printf("  quantise %7.1f, sums by cuBLASLt %7.1f, and scaled %7.1f", quantise, sums,
                tiled);
    if (quant::hopper_serves(m, call)) {
        const double fused = TRY(time_us(backend, [&] {
            return quant::hopper_rows(m, call, tokens, nullptr, quant::Beside::none, rule);
        }));
        std::printf(", in one kernel %7.1f", fused);
    }
    return {};
}

Status time_layer(CudaBackend& backend, const std::string& method, const Shape& shape,
                  const std::vector<std::int64_t>& row_counts) {
    std::mt19937 generator(2);
    std::normal_distribution<float> normal(0, 0.02f);
    std::vector<float> values(static_cast<std::size_t>(shape.out * shape.in));
    std::ranges::generate(values, [&] { return normal(generator); });
    DenseWeight weight;
    weight.name = shape.name;
    weight.out_features = shape.out;
    weight.in_features = shape.in;
    weight.rows = [&](std::int64_t begin, std::int64_t end, float* to) -> Status {
        std::copy(values.begin() + begin * shape.in, values.begin() + end * shape.in, to);
        return {};
    };
    const auto packed =
        TRY(pack_linear_cuda(weight, MethodOptions{TRY(parse_method(method)), 6.0}, backend));
    const DeviceLinear& layer = on_device(*packed);
    Workspace workspace(backend);
    for (const std::int64_t rows : row_counts) {
        const auto plain = inputs(rows, shape.in);
        auto x = TRY(backend.allocate(plain.size() * 4, MemoryCategory::workspace));
        auto typed =
            TRY(backend.allocate(static_cast<std::size_t>(rows * input_stride(shape.in)) * 4,
                                 MemoryCategory::workspace));
        auto y = TRY(backend.allocate(static_cast<std::size_t>(rows * shape.out) * 4,
                                      MemoryCategory::workspace));
        TRY(backend.copy_to_device(*x, 0, plain.data(), plain.size() * 4));
        TRY(cuda_status(quant::convert_input(x->as<float>(), rows, shape.in, layer.input_type(),
                                             typed->data(), backend.stream()),
                        "inputs"));
        const DeviceCall call{.backend = backend,
                              .workspace = workspace,
                              .x = typed->data(),
                              .rows = rows,
                              .y = y->as<float>(),
                              .y_stride = shape.out};
        const double whole = TRY(time_us(backend, [&] { return layer.multiply(call); }));
        const double operations = 2.0 * static_cast<double>(rows * shape.out * shape.in);
        std::printf("%-14s %-5s %6lld x %-6lld %5lld rows %9.1f us %8.1f T/s", method.c_str(),
                    shape.name, static_cast<long long>(shape.out), static_cast<long long>(shape.in),
                    static_cast<long long>(rows), whole, operations / whole / 1e6);
        if (layer.matrix().kind == decode::Codes::i8_i8) {
            TRY(time_parts(backend, layer, call));
        }
        std::printf("\n");
    }
    return {};
}

Status bench(const Options& options) {
    const auto backend = TRY(CudaBackend::open(options.device));
    std::vector<std::int64_t> rows;
    for (const std::string& text : split(options.rows)) {
        rows.push_back(std::max(1L, std::atol(text.c_str())));
    }
    const std::vector<Shape> shapes{{"qkv", options.width + 2 * options.kv, options.width},
                                    {"o", options.width, options.width},
                                    {"up", 2 * options.ffn, options.width},
                                    {"down", options.width, options.ffn}};
    for (const Shape& shape : shapes) {
        for (const std::string& method : split(options.methods)) {
            TRY(time_layer(*backend, method, shape, rows));
        }
    }
    return {};
}

}  // namespace

int main(int count, char** words) {
    Options options;
    const std::map<std::string, std::string*> texts{
        {"--device", &options.device}, {"--methods", &options.methods}, {"--rows", &options.rows}};
    const std::map<std::string, std::int64_t*> numbers{
        {"--width", &options.width}, {"--ffn", &options.ffn}, {"--kv", &options.kv}};
    for (int i = 1; i < count; i += 2) {
        const std::string word = words[i];
        if (i + 1 < count && texts.contains(word)) {
            *texts.at(word) = words[i + 1];
        } else if (i + 1 < count && numbers.contains(word)) {
            *numbers.at(word) = std::max(8L, std::atol(words[i + 1]));
        } else {
            std::fprintf(stderr,
                         "usage: bench_gpu_layers [--device cuda:N] [--methods A,B] [--rows N,M] "
                         "[--width N] [--ffn N] [--kv N]\n");
            return 2;
        }
    }
    const Status done = bench(options);
    if (!done.ok()) {
        std::fprintf(stderr, "bench_gpu_layers: %s\n", done.error().message.c_str());
        return 1;
    }
    return 0;
}
