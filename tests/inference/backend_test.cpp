#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <numeric>
#include <thread>
#include <vector>

#include "worker/inference/backend/backend.h"
#include "worker/inference/backend/cpu/gemm.h"
#include "worker/inference/backend/cpu/threads.h"

namespace bitsweep {
namespace {

TEST(CpuBackend, counts_every_buffer_under_its_category_until_it_is_freed) {
    const auto backend = make_cpu_backend();
    auto codes = backend->allocate(1000, MemoryCategory::weight_codes);
    auto cache = backend->allocate(5 << 20, MemoryCategory::kv_cache);
    ASSERT_TRUE(codes.ok() && cache.ok());
    EXPECT_EQ(backend->allocated().weight_codes, 1000u);
    EXPECT_EQ(backend->allocated().kv_cache, std::uint64_t{5} << 20);
    EXPECT_EQ(backend->allocated().total(), 1000u + (5u << 20));
    codes->reset();
    EXPECT_EQ(backend->allocated().weight_codes, 0u);
    cache->reset();
    EXPECT_EQ(backend->allocated().total(), 0u);
}

TEST(CpuBackend, hands_out_zeroed_aligned_memory_again_and_again) {
    const auto backend = make_cpu_backend();
    for (const std::size_t bytes : {0u, 1u, 100u, 4096u, 3u << 20}) {
        for (int round = 0; round < 3; ++round) {
            auto buffer = backend->allocate(bytes, MemoryCategory::activations);
            ASSERT_TRUE(buffer.ok());
            std::byte* data = (*buffer)->data();
            EXPECT_EQ(reinterpret_cast<std::uintptr_t>(data) % 64, 0u);
            EXPECT_TRUE(
                std::all_of(data, data + bytes, [](std::byte b) { return b == std::byte{}; }));
            std::fill_n(data, bytes, std::byte{0xab});  // dirty for the next round
        }
    }
}

TEST(CpuBackend, refuses_memory_that_the_machine_does_not_have_with_both_sizes) {
    const auto backend = make_cpu_backend();
    const auto buffer = backend->allocate(std::size_t{1} << 50, MemoryCategory::kv_cache);
    ASSERT_FALSE(buffer.ok());
    EXPECT_EQ(buffer.error().code, ErrorCode::out_of_memory);
    EXPECT_NE(buffer.error().message.find("wanted 1073741824 MiB"), std::string::npos)
        << buffer.error().message;
    EXPECT_NE(buffer.error().message.find("are free"), std::string::npos);
    EXPECT_EQ(backend->allocated().total(), 0u);
}

TEST(CpuBackend, a_buffer_may_outlive_its_backend) {
    auto backend = make_cpu_backend();
    auto buffer = backend->allocate(64, MemoryCategory::workspace);
    ASSERT_TRUE(buffer.ok());
    backend.reset();
    buffer->reset();
}

TEST(CpuBackend, copies_to_the_device_and_back) {
    const auto backend = make_cpu_backend();
    auto buffer = backend->allocate(32, MemoryCategory::other_weights);
    ASSERT_TRUE(buffer.ok());
    const int sent = 42;
    int received = 0;
    ASSERT_TRUE(backend->copy_to_device(**buffer, 8, &sent, sizeof sent).ok());
    ASSERT_TRUE(backend->copy_to_host(&received, **buffer, 8, sizeof received).ok());
    EXPECT_EQ(received, 42);
    EXPECT_TRUE(backend->synchronize().ok());
}

TEST(ThreadPool, covers_every_index_once_in_ranges_that_begin_on_the_grain) {
    for (const int threads : {1, 2, 3, 5}) {
        ThreadPool pool(threads);
        EXPECT_EQ(pool.threads(), threads);
        for (const std::int64_t count : {0, 1, 2, 7, 64, 1000}) {
            for (const std::int64_t grain : {1, 3, 16, 2000}) {
                std::vector<std::atomic<int>> seen(static_cast<std::size_t>(count));
                std::atomic<bool> aligned = true;
                pool.parallel_for(count, grain, [&](std::int64_t begin, std::int64_t end) {
                    aligned = aligned && begin % grain == 0 && begin < end;
                    for (std::int64_t i = begin; i < end; ++i) {
                        ++seen[static_cast<std::size_t>(i)];
                    }
                });
                EXPECT_TRUE(aligned);
                EXPECT_TRUE(std::ranges::all_of(seen, [](const auto& n) { return n == 1; }))
                    << threads << " threads, " << count << " by " << grain;
            }
        }
    }
}

TEST(ThreadPool, survives_a_hundred_thousand_short_loops_and_a_pause_between_them) {
    ThreadPool pool(2);
    std::vector<std::int64_t> sums(2);
    for (int loop = 0; loop < 100'000; ++loop) {
        pool.parallel_for(2, 1, [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) {
                ++sums[static_cast<std::size_t>(i)];
            }
        });
        if (loop % 20'000 == 0) {  // long enough for the worker to fall asleep
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
    }
    EXPECT_EQ(sums, (std::vector<std::int64_t>{100'000, 100'000}));
}

TEST(ThreadPool, a_loop_inside_a_body_runs_on_that_thread_alone) {
    ThreadPool pool(2);
    std::atomic<int> total = 0;
    pool.parallel_for(2, 1, [&](std::int64_t, std::int64_t) {
        const auto outer = std::this_thread::get_id();
        pool.parallel_for(10, 1, [&](std::int64_t begin, std::int64_t end) {
            EXPECT_EQ(std::this_thread::get_id(), outer);
            total += static_cast<int>(end - begin);
        });
    });
    EXPECT_EQ(total, 20);
}

TEST(Gemm, is_exact_on_whole_numbers_with_and_without_a_pool_and_with_a_wider_row) {
    const std::int64_t rows = 5, out = 101, in = 37, ldy = 110;
    std::vector<float> x(rows * in), w(out * in);
    for (std::size_t i = 0; i < x.size(); ++i) {
        x[i] = static_cast<float>(static_cast<int>(i * 7 % 31) - 15);
    }
    for (std::size_t i = 0; i < w.size(); ++i) {
        w[i] = static_cast<float>(static_cast<int>(i * 11 % 61) - 30);
    }
    ThreadPool pool(2);
    for (const bool pooled : {false, true}) {
        std::vector<float> y(rows * ldy, -1.0f);
        if (pooled) {
            gemm_f32(pool, x.data(), w.data(), y.data(), rows, out, in, ldy);
        } else {
            gemm_f32(x.data(), w.data(), y.data(), rows, out, in, ldy);
        }
        for (std::int64_t r = 0; r < rows; ++r) {
            for (std::int64_t o = 0; o < ldy; ++o) {
                float wanted = -1;  // beyond `out` the row stays as it was
                if (o < out) {
                    wanted = 0;
                    for (std::int64_t i = 0; i < in; ++i) {
                        wanted += x[r * in + i] * w[o * in + i];
                    }
                }
                ASSERT_EQ(y[r * ldy + o], wanted) << r << ", " << o;
            }
        }
    }
}

}  // namespace
}  // namespace bitsweep
