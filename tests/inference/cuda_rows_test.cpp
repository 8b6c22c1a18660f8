// What works row by row between the weight products, on a card against plain loops.
#include <cmath>
#include <limits>
#include <random>

#include "tests/inference/cuda_support.h"
#include "worker/inference/models/cuda/device_ops.h"

namespace bitsweep::testing_inference {
namespace {

constexpr float nan = std::numeric_limits<float>::quiet_NaN();

std::unique_ptr<Buffer> on_card(CudaBackend& backend, const void* from, std::size_t bytes) {
    auto buffer = backend.allocate(bytes, MemoryCategory::workspace).value();
    EXPECT_TRUE(backend.copy_to_device(*buffer, 0, from, bytes).ok());
    return buffer;
}

// The first of the largest, NaN apart; 0 where all are NaN.
std::int32_t first_of_largest(std::span<const float> row) {
    std::int32_t best = -1;
    for (std::size_t i = 0; i < row.size(); ++i) {
        if (!std::isnan(row[i]) && (best < 0 || row[i] > row[static_cast<std::size_t>(best)])) {
            best = static_cast<std::int32_t>(i);
        }
    }
    return std::max(best, 0);
}

struct Choice {
    std::vector<std::int32_t> ids;
    std::int32_t not_finite = 0;
};

// Calls argmax `times` on the same states; every answer must be the same.
Choice chosen(CudaBackend& backend, const std::vector<float>& logits, std::int64_t rows,
              int times = 2) {
    const auto count = static_cast<std::size_t>(rows);
    const auto vocabulary = static_cast<std::int64_t>(logits.size()) / rows;
    const std::vector<device::ArgmaxState> zeros(count);
    const auto on_device = on_card(backend, logits.data(), logits.size() * 4);
    const auto states = on_card(backend, zeros.data(), count * sizeof(device::ArgmaxState));
    Choice first;
    for (int i = 0; i < times; ++i) {
        std::vector<std::int32_t> host(count + 2, 0);
        std::fill_n(host.begin(), count, -7);
        host.back() = -7;  // behind the flag: must stay
        const auto out = on_card(backend, host.data(), host.size() * 4);
        auto* ids = out->as<std::int32_t>();
        EXPECT_EQ(
            device::argmax(on_device->as<float>(), rows, vocabulary,
                           states->as<device::ArgmaxState>(), ids, ids + rows, backend.stream()),
            cudaSuccess);
        EXPECT_TRUE(backend.copy_to_host(host.data(), *out, 0, host.size() * 4).ok());
        EXPECT_EQ(host.back(), -7);
        const Choice now{{host.begin(), host.begin() + rows}, host[count]};
        if (i == 0) {
            first = now;
        }
        EXPECT_EQ(now.ids, first.ids) << "call " << i;
        EXPECT_EQ(now.not_finite, first.not_finite) << "call " << i;
    }
    return first;
}

TEST_F(Cuda, argmax_is_the_first_of_the_largest_of_every_row) {
    std::mt19937 generator(11);
    for (const std::int64_t vocabulary : {1, 3, 1023, 4096, 4100, 50257, 128256}) {
        for (const std::int64_t rows : {1, 5, 32}) {
            // Few different values, so that every row has ties, over many blocks where it is long.
            std::uniform_int_distribution<int> value(-3, vocabulary % 2 == 0 ? 3 : -1);
            std::vector<float> logits(static_cast<std::size_t>(rows * vocabulary));
            std::ranges::generate(logits, [&] { return static_cast<float>(value(generator)); });
            const std::size_t width = static_cast<std::size_t>(vocabulary);
            // One row whose largest is alone, in the last place.
            logits[width - 1] = 7;
            const Choice got = chosen(*backend_, logits, rows);
            EXPECT_EQ(got.not_finite, 0);
            for (std::int64_t row = 0; row < rows; ++row) {
                const auto of_row =
                    std::span(logits).subspan(static_cast<std::size_t>(row) * width, width);
                EXPECT_EQ(got.ids[static_cast<std::size_t>(row)], first_of_largest(of_row))
                    << vocabulary << " logits, row " << row;
            }
        }
    }
}

TEST_F(Cuda, argmax_takes_both_zeros_for_one_value_and_sees_what_is_not_finite) {
    const std::size_t width = 9001;
    const auto row_of = [width](float all) { return std::vector<float>(width, all); };
    std::vector<float> zeros = row_of(-1.0f);
    zeros[8000] = 0.0f;
    zeros[37] = -0.0f;
    EXPECT_EQ(chosen(*backend_, zeros, 1).ids, std::vector<std::int32_t>{37});
    EXPECT_EQ(chosen(*backend_, zeros, 1).not_finite, 0);

    std::vector<float> some = row_of(nan);
    some[8999] = -2.5f;
    EXPECT_EQ(chosen(*backend_, some, 1).ids, std::vector<std::int32_t>{8999});
    EXPECT_EQ(chosen(*backend_, some, 1).not_finite, 1);

    const Choice none = chosen(*backend_, row_of(nan), 1);
    EXPECT_EQ(none.ids, std::vector<std::int32_t>{0});
    EXPECT_EQ(none.not_finite, 1);

    std::vector<float> infinite = row_of(-INFINITY);
    EXPECT_EQ(chosen(*backend_, infinite, 1).ids, std::vector<std::int32_t>{0});
    EXPECT_EQ(chosen(*backend_, infinite, 1).not_finite, 1);
    infinite[5000] = INFINITY, infinite[6000] = INFINITY;
    EXPECT_EQ(chosen(*backend_, infinite, 1).ids, std::vector<std::int32_t>{5000});

    // One NaN in one of many rows, in a block of its own.
    std::vector<float> rows;
    for (int i = 0; i < 4; ++i) {
        std::vector<float> row = row_of(1.0f);
        row[static_cast<std::size_t>(100 * i)] = 2.0f;
        rows.insert(rows.end(), row.begin(), row.end());
    }
    rows[2 * width + 7777] = nan;
    const Choice got = chosen(*backend_, rows, 4);
    EXPECT_EQ(got.ids, (std::vector<std::int32_t>{0, 100, 200, 300}));
    EXPECT_EQ(got.not_finite, 1);
}

struct NormCase {
    std::int64_t rows, width;
    Norm::Kind kind;
    bool weighted;
};

// In double, element by element.
std::vector<double> normed(const NormCase& c, std::span<const float> x,
                           std::span<const float> weight, double eps) {
    const bool layer = c.kind == Norm::Kind::layer;
    double mean = 0, squares = 0;
    for (const float v : x) {
        mean += layer ? v / static_cast<double>(c.width) : 0;
    }
    for (const float v : x) {
        squares += (v - mean) * (v - mean) / static_cast<double>(c.width);
    }
    std::vector<double> out;
    for (std::size_t k = 0; k < x.size(); ++k) {
        const double v = (x[k] - mean) / std::sqrt(squares + eps);
        const double bias = layer && c.weighted ? weight[x.size() + k] : 0;
        out.push_back(c.weighted ? v * weight[k] + bias : v);
    }
    return out;
}

TEST_F(Cuda, norms_of_few_and_many_rows_are_those_of_double_precision) {
    constexpr double eps = 1e-5;
    std::mt19937 generator(5);
    std::normal_distribution<float> normal;
    const auto normals = [&](std::int64_t count) {
        std::vector<float> values(static_cast<std::size_t>(count));
        std::ranges::generate(values, [&] { return 0.5f + 3 * normal(generator); });
        return values;
    };
    for (const NormCase& c : std::vector<NormCase>{{1, 64, Norm::Kind::rms, true},
                                                   {3, 333, Norm::Kind::layer, true},
                                                   {32, 2048, Norm::Kind::rms, true},
                                                   {32, 768, Norm::Kind::layer, true},
                                                   {5, 1026, Norm::Kind::rms, true},
                                                   {8, 4096, Norm::Kind::rms, false},
                                                   {8, 4096, Norm::Kind::layer, true},
                                                   {2, 8192, Norm::Kind::layer, false},
                                                   {2, 9001, Norm::Kind::layer, true},
                                                   {2, 12288, Norm::Kind::rms, true},
                                                   {128, 2048, Norm::Kind::rms, true},
                                                   {129, 2048, Norm::Kind::rms, true},
                                                   {130, 5120, Norm::Kind::layer, true}}) {
        const auto x = normals(c.rows * c.width), weight = normals(2 * c.width);
        const std::int64_t stride = input_stride(c.width) + 4;
        const auto count = static_cast<std::size_t>(c.rows * stride);
        const std::vector<float> empty(count, poison);
        const auto in = on_card(*backend_, x.data(), x.size() * 4);
        const auto factors = on_card(*backend_, weight.data(), weight.size() * 4);
        const auto typed = on_card(*backend_, empty.data(), count * 4);
        const device::NormCall call{.kind = c.kind,
                                    .weight = c.weighted ? factors->as<float>() : nullptr,
                                    .eps = eps,
                                    .x = in->as<float>(),
                                    .rows = c.rows,
                                    .width = c.width,
                                    .typed = {typed->data(), stride, InputType::f32},
                                    .same = in->as<float>()};
        ASSERT_EQ(device::norm(call, backend_->stream()), cudaSuccess);
        std::vector<float> got(count), same(x.size());
        ASSERT_TRUE(backend_->copy_to_host(got.data(), *typed, 0, count * 4).ok());
        ASSERT_TRUE(backend_->copy_to_host(same.data(), *in, 0, same.size() * 4).ok());
        for (std::int64_t row = 0; row < c.rows; ++row) {
            const auto width = static_cast<std::size_t>(c.width);
            const auto first = static_cast<std::size_t>(row * c.width);
            const auto want = normed(c, std::span(x).subspan(first, width), weight, eps);
            const float* of_row = got.data() + row * stride;
            for (std::size_t k = 0; k < width; ++k) {
                // A few units of float32 in values up to about 4 times a weight.
                ASSERT_NEAR(of_row[k], want[k], 4e-6 * (1 + std::fabs(want[k])))
                    << c.rows << " x " << c.width << ", row " << row << ", element " << k;
                ASSERT_EQ(of_row[k], same[first + k]);
            }
            for (std::int64_t k = c.width; k < stride; ++k) {
                ASSERT_EQ(of_row[k], poison) << c.width;
            }
        }
    }
}

// Gates and norms that read what the one before wrote, 90 in a chain; a [rows][2 width] at the end.
class Chain {
 public:
    static constexpr std::int64_t rows = 32, width = 2048, count = rows * 2 * width;

    explicit Chain(CudaBackend& backend) : backend_(backend), start_(count) {
        std::mt19937 generator(2);
        std::normal_distribution<float> normal;
        std::ranges::generate(start_, [&] { return normal(generator); });
        weights_ = on_card(backend, start_.data(), 3 * width * 4);  // and biases
        a_ = on_card(backend, start_.data(), count * 4);
        b_ = on_card(backend, start_.data(), count * 2);
    }

    cudaError_t queue(device::Follow follow) {
        const cudaStream_t stream = backend_.stream();
        auto* a = a_->as<float>();
        auto* b = b_->as<float>();
        cudaError_t error = cudaSuccess;
        for (int i = 0; i < 30 && error == cudaSuccess; ++i) {
            error = device::gate(Activation::silu, a, i % 2 == 0, rows, width,
                                 {b, width, InputType::f32}, stream, follow);
            for (const std::int64_t side : {std::int64_t{0}, width}) {
                const device::NormCall call{.kind = Norm::Kind::layer,
                                            .weight = weights_->as<float>() + side,
                                            .x = b,
                                            .rows = rows,
                                            .width = width,
                                            .typed = {a + side, 2 * width, InputType::f32},
                                            .follow = follow};
                error = error == cudaSuccess ? device::norm(call, stream) : error;
            }
        }
        return error;
    }

    void begin_again() {
        EXPECT_TRUE(backend_.copy_to_device(*a_, 0, start_.data(), count * 4).ok());
    }
    std::vector<float> result() {
        std::vector<float> host(count);
        EXPECT_TRUE(backend_.copy_to_host(host.data(), *a_, 0, count * 4).ok());
        return host;
    }

 private:
    CudaBackend& backend_;
    std::vector<float> start_;
    std::unique_ptr<Buffer> weights_, a_, b_;
};

TEST_F(Cuda, kernels_that_follow_early_read_what_the_one_before_wrote) {
    Chain chain(*backend_);
    ASSERT_EQ(chain.queue(device::Follow::complete), cudaSuccess);
    const auto want = chain.result();
    ASSERT_TRUE(std::ranges::all_of(want, [](float v) { return std::isfinite(v) && v != 0; }));
    chain.begin_again();
    ASSERT_EQ(chain.queue(device::Follow::early), cudaSuccess);
    EXPECT_EQ(chain.result(), want);

    cudaGraph_t graph = nullptr;
    cudaGraphExec_t replay = nullptr;
    const cudaStream_t stream = backend_->stream();
    ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    const cudaError_t queued = chain.queue(device::Follow::early);
    ASSERT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
    ASSERT_EQ(queued, cudaSuccess);
    ASSERT_EQ(cudaGraphInstantiate(&replay, graph, 0), cudaSuccess);
    for (int i = 0; i < 20; ++i) {
        chain.begin_again();
        ASSERT_EQ(cudaGraphLaunch(replay, stream), cudaSuccess);
        ASSERT_EQ(chain.result(), want) << "replay " << i;
    }
    cudaGraphExecDestroy(replay);
    cudaGraphDestroy(graph);
}

}  // namespace
}  // namespace bitsweep::testing_inference
