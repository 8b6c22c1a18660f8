#include "tests/quant/support.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "worker/inference/backend/cpu/gemm.h"
#include "worker/inference/quant/shared/halves.h"

namespace bitsweep {
namespace {

std::string read_file(const std::string& name) {
    const std::string path =
        std::string(BITSWEEP_SOURCE_DIR) + "/tests/inference/vectors/bitsandbytes/" + name;
    std::ifstream file(path, std::ios::binary);
    std::stringstream text;
    text << file.rdbuf();
    EXPECT_FALSE(text.str().empty()) << path;
    return text.str();
}

std::uint64_t splitmix64(std::uint64_t seed, std::uint64_t index) {
    std::uint64_t z = seed + (index + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

// About normal, standard deviation 37837.
std::int32_t lane_sum(std::uint64_t seed, std::uint64_t index) {
    const std::uint64_t z = splitmix64(seed, index);
    std::int32_t sum = -131070;
    for (int lane = 0; lane < 4; ++lane) {
        sum += static_cast<std::int32_t>((z >> (16 * lane)) & 0xffffu);
    }
    return sum;
}

}  // namespace

std::vector<float> Tensor::floats() const {
    if (dtype == "F32") {
        return {as<float>().begin(), as<float>().end()};
    }
    EXPECT_EQ(dtype, "F16");
    std::vector<float> out;
    for (const std::uint16_t half : as<std::uint16_t>()) {
        out.push_back(quant::f16_to_f32(half));
    }
    return out;
}

std::map<std::string, Tensor> read_vectors(const std::string& name) {
    const std::string file = read_file(name + ".safetensors");
    std::uint64_t header_bytes = 0;
    std::memcpy(&header_bytes, file.data(), sizeof header_bytes);
    const auto header = nlohmann::json::parse(file.substr(8, header_bytes));
    std::map<std::string, Tensor> tensors;
    for (const auto& [key, value] : header.items()) {
        if (key == "__metadata__") {
            continue;
        }
        Tensor tensor;
        tensor.dtype = value["dtype"];
        tensor.shape = value["shape"].get<std::vector<std::int64_t>>();
        const auto offsets = value["data_offsets"].get<std::vector<std::size_t>>();
        const auto* data = reinterpret_cast<const std::uint8_t*>(file.data()) + 8 + header_bytes;
        tensor.bytes.assign(data + offsets.at(0), data + offsets.at(1));
        tensors[key] = tensor;
    }
    return tensors;
}

std::string read_vector_json(const std::string& name) {
    return read_file(name + ".json");
}

std::vector<float> random_values(std::uint64_t seed, std::int64_t count, double scale) {
    std::vector<float> values(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < values.size(); ++i) {
        values[i] = static_cast<float>(lane_sum(seed, i) / 37837.0 * scale);
    }
    return values;
}

std::vector<float> generated_weight(std::uint64_t seed, int shift, std::int64_t count) {
    std::vector<float> values(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < values.size(); ++i) {
        values[i] = quant::round_to_f16(std::ldexp(static_cast<float>(lane_sum(seed, i)), -shift));
    }
    return values;
}

DenseWeight dense_weight(const std::string& name, std::int64_t out, std::int64_t in,
                         const std::vector<float>& values, std::vector<float> bias) {
    DenseWeight weight;
    weight.name = name;
    weight.out_features = out;
    weight.in_features = in;
    weight.bias = std::move(bias);
    weight.rows = [&values, in](std::int64_t begin, std::int64_t end, float* dst) -> Status {
        std::copy(values.begin() + begin * in, values.begin() + end * in, dst);
        return {};
    };
    return weight;
}

ScopedIsa::ScopedIsa(const std::string& isa) {
    if (isa.empty()) {
        unsetenv("BITSWEEP_ISA");
    } else {
        setenv("BITSWEEP_ISA", isa.c_str(), 1);
    }
}

ScopedIsa::~ScopedIsa() {
    unsetenv("BITSWEEP_ISA");
}

std::vector<std::string> isas() {
    std::vector<std::string> names{"generic", "avx2", "avx512", "avx512-vnni"};
    names.resize(static_cast<std::size_t>(quant::machine_isa()) + 1);
    return names;
}

Bench::Bench(int threads) : backend(make_cpu_backend()), pool(threads), workspace(*backend) {
    set_gemm_threads(1);
}

std::unique_ptr<Linear> Bench::pack(const std::string& method, const DenseWeight& weight,
                                    double threshold) {
    MethodOptions options;
    auto id = parse_method(method);
    EXPECT_TRUE(id.ok()) << method;
    options.method = *id;
    options.threshold = threshold;
    auto layer = pack_linear(weight, options, *backend);
    EXPECT_TRUE(layer.ok()) << method << ": " << (layer.ok() ? "" : layer.error().message);
    return layer.ok() ? std::move(*layer) : nullptr;
}

std::vector<float> Bench::forward(const Linear& layer, const std::vector<float>& x,
                                  std::int64_t rows, std::int64_t out) {
    std::vector<float> y(static_cast<std::size_t>(rows * out), -12345.0f);
    LinearCall call{
        .x = x.data(), .y = y.data(), .rows = rows, .threads = pool, .workspace = workspace};
    const Status status = layer.forward(call);
    EXPECT_TRUE(status.ok()) << (status.ok() ? "" : status.error().message);
    return y;
}

std::vector<float> effective_weight(const Linear& layer, std::int64_t out, std::int64_t in) {
    std::vector<float> weight(static_cast<std::size_t>(out * in));
    layer.dequantize_rows(0, out, weight.data());
    return weight;
}

}  // namespace bitsweep
