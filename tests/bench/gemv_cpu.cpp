// One-row products of every CPU method beside the memory bandwidth of the same moment.
//   bench_gemv_cpu [--json] [--threads N] [--methods a,b] [--shapes OUTxIN,...] [--rounds R]
//   [--rows M]
// Layers rotate over more memory than any cache holds, so every byte comes from RAM; each round
// reads the ceiling before and after, and the share is taken round by round.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "worker/inference/backend/cpu/gemm.h"
#include "worker/inference/quant/method.h"
#include "worker/runner/ram_bandwidth.h"

namespace bitsweep {
namespace {

using Clock = std::chrono::steady_clock;

// Four times the largest last-level cache slice that a guest is told of here (32 MiB).
constexpr std::uint64_t rotation_bytes = std::uint64_t{128} << 20;

struct Options {
    bool json = false;
    int threads = 1;
    int rounds = 5;
    std::int64_t rows = 1;
    std::vector<std::string> methods{"fp32",        "fp16", "bf16", "int8",    "w8a8",
                                     "llmint8-bnb", "nf4",  "fp4",  "int4-g64"};
    // SmolLM2-135M: q, up, down, head; Llama-3.2-1B: q, up, down.
    std::vector<std::string> shapes{"576x576",   "1536x576",  "576x1536", "49152x576",
                                    "2048x2048", "8192x2048", "2048x8192"};
};

std::vector<std::string> split(const std::string& list) {
    std::vector<std::string> out;
    std::stringstream text(list);
    for (std::string item; std::getline(text, item, ',');) {
        out.push_back(item);
    }
    return out;
}

Options parse(int argc, char** argv) {
    Options options;
    for (int i = 1; i < argc; ++i) {
        const std::string key = argv[i];
        if (key == "--json") {
            options.json = true;
            continue;
        }
        if (++i == argc) {
            break;
        }
        const std::string value = argv[i];
        if (key == "--threads") {
            options.threads = std::max(1, std::atoi(value.c_str()));
        } else if (key == "--rounds") {
            options.rounds = std::max(1, std::atoi(value.c_str()));
        } else if (key == "--rows") {
            options.rows = std::max(1, std::atoi(value.c_str()));
        } else if (key == "--methods") {
            options.methods = split(value);
        } else if (key == "--shapes") {
            options.shapes = split(value);
        }
    }
    return options;
}

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

double median(std::vector<double> values) {
    std::ranges::sort(values);
    return values[values.size() / 2];
}

struct Rotation {
    std::vector<std::unique_ptr<Linear>> layers;
    std::uint64_t bytes = 0;
};

Result<Rotation> pack_rotation(const std::string& method, std::int64_t out, std::int64_t in,
                               Backend& backend) {
    // One row of noise, shifted per row: packing is not what is measured.
    std::vector<float> noise(static_cast<std::size_t>(2 * in));
    std::uint64_t state = 88172645463325252u;
    for (float& value : noise) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        value = (static_cast<float>(state >> 40) * 0x1p-24f - 0.5f) * 0.1f;
    }
    DenseWeight weight;
    weight.name = "bench";
    weight.out_features = out;
    weight.in_features = in;
    weight.rows = [&](std::int64_t begin, std::int64_t end, float* dst) -> Status {
        for (std::int64_t row = begin; row < end; ++row, dst += in) {
            std::copy_n(noise.begin() + row % in, in, dst);
        }
        return {};
    };
    const MethodOptions options{TRY(parse_method(method)), 6.0};
    Rotation rotation;
    while (rotation.bytes < rotation_bytes) {
        rotation.layers.push_back(TRY(pack_linear(weight, options, backend)));
        rotation.bytes += rotation.layers.back()->bytes_per_call();
    }
    return rotation;
}

// Prints a row of the table; adds its figures to `figures` as "<method> <shape> ...".
Status measure(const Options& options, const std::string& method, const std::string& shape,
               BandwidthMeter& meter, nlohmann::json& figures) {
    const std::size_t cross = shape.find('x');
    const std::int64_t out = std::atoll(shape.c_str());
    const std::int64_t in = std::atoll(shape.c_str() + cross + 1);
    const auto backend = make_cpu_backend();
    const Rotation rotation = TRY(pack_rotation(method, out, in, *backend));
    ThreadPool pool(options.threads);
    Workspace workspace(*backend);
    std::vector<float> x(static_cast<std::size_t>(options.rows * in));
    for (std::size_t i = 0; i < x.size(); ++i) {
        x[i] = static_cast<float>(static_cast<int>(i * 7919 % 2001) - 1000) * 1e-3f;
    }
    std::vector<float> y(static_cast<std::size_t>(options.rows * out));
    const auto pass = [&]() -> Status {
        for (const auto& layer : rotation.layers) {
            TRY(layer->forward(LinearCall{.x = x.data(),
                                          .y = y.data(),
                                          .rows = options.rows,
                                          .threads = pool,
                                          .workspace = workspace}));
        }
        return {};
    };
    TRY(pass());
    std::vector<double> rates;
    std::vector<double> ceilings;
    std::vector<double> shares;
    for (int round = 0; round < options.rounds; ++round) {
        const double before = meter.read(1);
        const auto start = Clock::now();
        TRY(pass());
        const double rate = static_cast<double>(rotation.bytes) / seconds_since(start);
        const double ceiling = (before + meter.read(1)) / 2;
        rates.push_back(rate);
        ceilings.push_back(ceiling);
        shares.push_back(rate / ceiling);
    }
    const double calls = static_cast<double>(rotation.layers.size());
    const double rate = median(rates);
    std::printf(
        "%-14s %-12s %7.2f %8.2f %7.0f %% [%.0f-%.0f] %9.1f %9.2f\n", method.c_str(), shape.c_str(),
        median(ceilings) / 1e9, rate / 1e9, 100 * median(shares),
        100 * *std::ranges::min_element(shares), 100 * *std::ranges::max_element(shares),
        static_cast<double>(rotation.bytes) / calls / rate * 1e6,
        static_cast<double>(out * in) * calls / static_cast<double>(rotation.bytes) * rate / 1e9);
    std::fflush(stdout);
    const std::string name = method + " " + shape;
    figures[name + " share"] = median(shares);
    figures[name + " bytes_per_s"] = rate;
    figures[name + " ceiling_bytes_per_s"] = median(ceilings);
    figures[name + " call_us"] = static_cast<double>(rotation.bytes) / calls / rate * 1e6;
    return {};
}

int run(int argc, char** argv) {
    const Options options = parse(argc, argv);
    set_gemm_threads(1);
    auto meter = BandwidthMeter::create(options.threads, std::size_t{256} << 20);
    if (!meter) {
        std::fprintf(stderr, "%s\n", meter.error().message.c_str());
        return 1;
    }
    std::printf("%d thread(s), %lld row(s), %s\n", options.threads,
                static_cast<long long>(options.rows), vector_isa().c_str());
    std::printf("method         shape      ceiling     GB/s  share         us/call  Gweight/s\n");
    nlohmann::json figures = nlohmann::json::object();
    for (const std::string& shape : options.shapes) {
        for (const std::string& method : options.methods) {
            const Status status = measure(options, method, shape, **meter, figures);
            if (!status) {
                std::fprintf(stderr, "%s %s: %s\n", method.c_str(), shape.c_str(),
                             status.error().message.c_str());
                return 2;
            }
        }
    }
    if (options.json) {
        std::printf("%s\n", figures.dump().c_str());
    }
    return 0;
}

}  // namespace
}  // namespace bitsweep

int main(int argc, char** argv) {
    return bitsweep::run(argc, argv);
}
