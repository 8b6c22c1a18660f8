// What the tests on a CUDA card share. They run on cuda:0 and skip, with a word, where there is
// none.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/inference/support.h"
#include "tests/quant/support.h"
#include "worker/inference/backend/cuda/cuda_backend.h"
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

}  // namespace bitsweep::testing_inference
