// What the tests on a CUDA card share. They run on cuda:0 and skip, with a word, where there is
// none.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tests/inference/support.h"
#include "tests/quant/support.h"
#include "worker/inference/backend/cuda/cuda_backend.h"
#include "worker/inference/quant/shared/device_layer.h"
#include "worker/inference/quant/shared/device_linear.h"

namespace bitsweep::testing_inference {

class Cuda : public testing::Test {
 protected:
    void SetUp() override {
        auto opened = CudaBackend::open("cuda:0");
        if (!opened.ok()) {
            ASSERT_EQ(opened.error().code, ErrorCode::unsupported) << opened.error().message;
            GTEST_SKIP() << "no CUDA card here: " << opened.error().message;
        }
        backend_ = std::move(opened).value();
    }

    std::unique_ptr<CudaBackend> backend_;
};

inline std::unique_ptr<Engine> cuda_engine_or_die(const ModelFiles& files, EngineWish wish) {
    wish.device = "cuda:0";
    return engine_or_die(files, wish);
}

inline constexpr float poison = -12345.0f;

// y of `rows` rows by multiply(), between poisoned columns that must stay.
inline std::vector<float> multiply(CudaBackend& backend, const Linear& linear,
                                   std::span<const float> x, std::int64_t rows, float before = 0) {
    const DeviceLinear& layer = on_device(linear);
    const std::int64_t in = layer.matrix().in_features, out = layer.matrix().rows;
    const std::int64_t stride = out + 3;
    Workspace workspace(backend);
    const auto floats = [&](std::int64_t count) {
        return backend.allocate(static_cast<std::size_t>(count) * 4, MemoryCategory::workspace)
            .value();
    };
    const auto plain = floats(rows * in), typed = floats(rows * input_stride(in)),
               y = floats(rows * stride);
    std::vector<float> host(static_cast<std::size_t>(rows * stride), poison);
    for (std::int64_t r = 0; before != 0 && r < rows; ++r) {
        std::fill_n(host.begin() + r * stride, out, before);
    }
    EXPECT_TRUE(backend.copy_to_device(*plain, 0, x.data(), plain->bytes()).ok());
    EXPECT_TRUE(backend.copy_to_device(*y, 0, host.data(), y->bytes()).ok());
    EXPECT_EQ(quant::convert_input(plain->as<float>(), rows, in, layer.input_type(), typed->data(),
                                   backend.stream()),
              cudaSuccess);
    const Status status = layer.multiply(DeviceCall{.backend = backend,
                                                    .workspace = workspace,
                                                    .x = typed->data(),
                                                    .rows = rows,
                                                    .y = y->as<float>(),
                                                    .y_stride = stride,
                                                    .accumulate = before != 0});
    EXPECT_TRUE(status.ok()) << (status.ok() ? "" : status.error().message);
    EXPECT_TRUE(backend.copy_to_host(host.data(), *y, 0, y->bytes()).ok());
    std::vector<float> result;
    for (std::int64_t r = 0; r < rows; ++r) {
        const auto row = host.begin() + r * stride;
        result.insert(result.end(), row, row + out);
        EXPECT_EQ(std::vector<float>(row + out, row + stride), std::vector<float>(3, poison));
    }
    return result;
}

}  // namespace bitsweep::testing_inference
