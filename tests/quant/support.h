// What the tests of this room share: reference vectors, seeded weights, one layer on every
// instruction set.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "worker/inference/quant/method.h"
#include "worker/inference/quant/shared/isa.h"

namespace bitsweep {

struct Tensor {
    std::string dtype;
    std::vector<std::int64_t> shape;
    std::vector<std::uint8_t> bytes;

    template <class T>
    std::span<const T> as() const {
        return {reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)};
    }
    std::vector<float> floats() const;  // F16 or F32
};

// Every tensor of tests/inference/vectors/bitsandbytes/NAME.safetensors, and NAME.json's text.
std::map<std::string, Tensor> read_vectors(const std::string& name);
std::string read_vector_json(const std::string& name);

// Deterministic values of about unit size: splitmix64, sum of four 16-bit lanes.
std::vector<float> random_values(std::uint64_t seed, std::int64_t count, double scale);

// The generator of the reference vectors' JSON.
std::vector<float> generated_weight(std::uint64_t seed, int shift, std::int64_t count);

// A DenseWeight over values that must outlive it.
DenseWeight dense_weight(const std::string& name, std::int64_t out, std::int64_t in,
                         const std::vector<float>& values, std::vector<float> bias = {});

// Sets BITSWEEP_ISA for one scope; "" removes it.
class ScopedIsa {
 public:
    explicit ScopedIsa(const std::string& isa);
    ~ScopedIsa();
};

// The levels that this machine can run, "generic" first.
std::vector<std::string> isas();

// A backend, threads and a workspace for one layer.
struct Bench {
    explicit Bench(int threads = 1);
    std::unique_ptr<Backend> backend;
    ThreadPool pool;
    Workspace workspace;

    std::unique_ptr<Linear> pack(const std::string& method, const DenseWeight& weight,
                                 double threshold = 0);
    std::vector<float> forward(const Linear& layer, const std::vector<float>& x, std::int64_t rows,
                               std::int64_t out);
};

std::vector<float> effective_weight(const Linear& layer, std::int64_t out, std::int64_t in);

}  // namespace bitsweep
