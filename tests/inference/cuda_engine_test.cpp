// The engine's contract on a card: batches, sequences, outliers, memory, refusals.
#include <algorithm>
#include <array>
#include <cstdlib>

#include "tests/inference/cuda_support.h"
#include "worker/inference/backend/cuda/cuda_error.h"
#include "worker/inference/generate.h"

namespace bitsweep::testing_inference {
namespace {

std::vector<std::int32_t> text(std::size_t count, std::int32_t seed, std::int64_t vocabulary) {
    std::vector<std::int32_t> ids(count);
    for (std::int32_t& id : ids) {
        seed = static_cast<std::int32_t>((seed * 1103515245ll + 12345) & 0x7fffffff);
        id = static_cast<std::int32_t>(seed % vocabulary);
    }
    return ids;
}

TEST_F(Cuda, a_batch_gives_what_its_sequences_give_alone) {
    for (const char* name : {"llama-nano", "gpt2-nano", "opt-nano"}) {
        const ModelFiles files = open_or_die(models_dir / name);
        const std::int64_t vocabulary = files.config.vocabulary;
        for (const std::string method : {"fp16", "int4-g64"}) {
            const EngineWish wish{.method = method, .context = 40, .prefill_rows = 16};
            const auto alone = cuda_engine_or_die(files, wish);
            for (const std::int64_t batch : {2, 5, 12, 32}) {
                EngineWish many = wish;
                many.batch = batch;
                const auto together = cuda_engine_or_die(files, many);
                std::vector<std::int32_t> ids, next;
                for (std::int64_t b = 0; b < batch; ++b) {
                    const auto one = text(11, static_cast<std::int32_t>(b), vocabulary);
                    ids.insert(ids.end(), one.begin(), one.end());
                    next.push_back(static_cast<std::int32_t>(b));
                }
                std::vector<float> logits(static_cast<std::size_t>(batch * vocabulary));
                ASSERT_TRUE(together->forward(ids, 11, logits.data()).ok());
                for (int step = 0; step < 4; ++step) {  // the last ones replay a graph
                    ASSERT_TRUE(together->forward(next, 1, logits.data()).ok());
                }
                for (std::int64_t b = 0; b < batch; ++b) {
                    std::vector<float> want(static_cast<std::size_t>(vocabulary));
                    alone->reset();
                    const auto own = std::span(ids).subspan(static_cast<std::size_t>(b * 11), 11);
                    ASSERT_TRUE(alone->forward(own, 11, nullptr).ok());
                    for (int step = 0; step < 4; ++step) {
                        ASSERT_TRUE(
                            alone
                                ->forward(std::span(next).subspan(static_cast<std::size_t>(b), 1),
                                          1, want.data())
                                .ok());
                    }
                    const auto got =
                        std::span(logits).subspan(static_cast<std::size_t>(b * vocabulary),
                                                  static_cast<std::size_t>(vocabulary));
                    EXPECT_LT(mean_kl(want, got, vocabulary), 1e-4)
                        << name << " " << method << " " << b << " of " << batch;
                }
            }
        }
    }
}

TEST_F(Cuda, tokens_chosen_on_the_device_are_those_the_host_would_choose) {
    const ModelFiles files = open_or_die(models_dir / "llama-micro");
    const auto prompt = heldout_ids(files, 24);
    for (const std::string method :
         {"fp16", "int8", "int4-g64", "nf4", "int3-g64", "w8a8", "llmint8-bnb", "llmint8-fused"}) {
        for (const std::int64_t batch : {1, 3}) {
            const auto engine = cuda_engine_or_die(files, {.method = method,
                                                           .threshold = 6,
                                                           .batch = batch,
                                                           .context = 100,
                                                           .decode_path = DecodePath::steps});
            SequencePlan plan;
            plan.prompt = prompt;
            plan.batch = batch;
            plan.new_tokens = 70;
            plan.vocabulary = files.config.vocabulary;
            const auto host = generate_by_forward(*engine, plan, {});
            const auto device = generate_sequence(*engine, plan, {});
            ASSERT_TRUE(host.ok() && device.ok()) << method;
            EXPECT_EQ(host->new_ids, device->new_ids) << method << " batch " << batch;
            EXPECT_EQ(device->trace.token_ns.size(), 69u);
            EXPECT_EQ(device->trace.decoded_by, "steps: as asked for");
            plan.stop_id = host->new_ids[40];
            const auto first = std::ranges::find(host->new_ids, plan.stop_id);
            const auto stopped = generate_sequence(*engine, plan, {});
            ASSERT_TRUE(stopped.ok());
            EXPECT_EQ(stopped->new_ids,
                      std::vector<std::int32_t>(host->new_ids.begin(), first + 1));
        }
    }
}

TEST_F(Cuda, what_the_host_does_for_a_step_is_counted_and_changes_no_token) {
    const ModelFiles files = open_or_die(models_dir / "llama-micro");
    const double layers = static_cast<double>(files.config.layers);
    for (const std::string method : {"fp16", "llmint8-fused", "llmint8-bnb"}) {
        const auto engine = cuda_engine_or_die(files, {.method = method,
                                                       .threshold = 6,
                                                       .batch = 1,
                                                       .context = 100,
                                                       .decode_path = DecodePath::steps});
        SequencePlan plan;
        plan.prompt = heldout_ids(files, 24);
        plan.new_tokens = 65;  // 64 steps, two looks of the host
        plan.vocabulary = files.config.vocabulary;
        const auto first = generate_sequence(*engine, plan, {});
        const auto second = generate_sequence(*engine, plan, {});
        ASSERT_TRUE(first.ok() && second.ok()) << method;
        EXPECT_EQ(first->new_ids, second->new_ids) << method;
        EXPECT_FALSE(first->trace.host_work) << "its first steps were not counted";
        ASSERT_TRUE(second->trace.host_work) << method;
        const HostWork& work = *second->trace.host_work;
        if (method == "llmint8-bnb") {
            EXPECT_GE(work.syncs, 64 * 4 * layers) << "each product waits for its columns";
            EXPECT_GE(work.launches, 64 * 4 * layers * 3);
            EXPECT_EQ(work.graph_nodes, 0);
        } else {
            EXPECT_EQ(work.syncs, 2);
            EXPECT_EQ(work.launches, 64 * 3) << "position, graph, ids";
            EXPECT_GE(work.graph_nodes, 64 * 7 * layers);
        }
    }
}

TEST_F(Cuda, outliers_of_every_layer_are_those_the_cpu_records) {
    const ModelFiles files = random_or_die("llama-nano");
    const auto ids = text(40, 3, files.config.vocabulary);
    const LogitsSink ignore = [](std::int64_t, std::int64_t, const float*) -> Status { return {}; };
    // What the recorder sees depends on the method only through what the layer reads.
    for (const std::string method : {"fp32", "fp16"}) {
        const EngineWish wish{.method = method, .threshold = 6};
        std::vector<LayerOutliers> want, got;
        ASSERT_TRUE(engine_or_die(files, wish)->score(ids, ignore, &want).ok());
        ASSERT_TRUE(cuda_engine_or_die(files, wish)->score(ids, ignore, &got).ok());
        ASSERT_EQ(want.size(), got.size());
        std::int64_t columns = 0, differ = 0;
        for (std::size_t i = 0; i < want.size(); ++i) {
            EXPECT_EQ(want[i].layer, got[i].layer);
            EXPECT_EQ(want[i].tokens, got[i].tokens);
            EXPECT_NEAR(want[i].max_abs, got[i].max_abs, 0.02 * want[i].max_abs + 1e-3)
                << want[i].layer;
            for (std::size_t k = 0; k < want[i].seen.size(); ++k) {
                columns += want[i].seen[k];
                differ += want[i].seen[k] != got[i].seen[k];
            }
        }
        EXPECT_GT(columns, 0);
        EXPECT_LE(differ, 1 + columns / 20);  // values beside the threshold
    }
}

TEST_F(Cuda, the_ledger_is_that_of_the_catalog_and_score_gives_everything_back) {
    const ModelFiles files = random_or_die("llama-micro");
    const ModelShape* shape = find_shape("llama-micro");
    ASSERT_NE(shape, nullptr);
    for (const std::string method : {"fp16", "int8", "llmint8-fused"}) {
        const auto engine =
            cuda_engine_or_die(files, {.method = method, .context = 64, .prefill_rows = 64});
        const MemoryBytes want =
            estimate_memory({.shape = shape, .method = method_of(method), .context = 64});
        const MemoryBytes got = engine->memory();
        EXPECT_EQ(got.weight_codes, want.weight_codes) << method;
        EXPECT_EQ(got.weight_scales, want.weight_scales) << method;
        EXPECT_EQ(got.embeddings, want.embeddings) << method;
        EXPECT_EQ(got.other_weights, want.other_weights) << method;
        EXPECT_EQ(got.kv_cache, want.kv_cache) << method;
        const auto ids = text(200, 3, files.config.vocabulary);
        score_all(*engine, ids, files.config.vocabulary);
        const MemoryBytes after = engine->memory();
        EXPECT_EQ(got.activations, after.activations) << method;
        EXPECT_EQ(got.kv_cache, after.kv_cache) << method;
    }
}

TEST_F(Cuda, what_the_card_cannot_hold_is_refused_with_both_sizes) {
    const ModelFiles files = random_or_die("llama-pico");
    EngineOptions options;
    options.method = method_of("fp16");
    options.device = "cuda:0";
    options.batch = 1 << 20;
    options.context = 512;
    const auto engine = load_engine(files, options, nullptr);
    ASSERT_FALSE(engine.ok());
    EXPECT_EQ(engine.error().code, ErrorCode::out_of_gpu_memory) << engine.error().message;
    EXPECT_NE(engine.error().message.find("wanted 196608 MiB"), std::string::npos)
        << engine.error().message;
    // The card is as usable as before.
    options.batch = 1;
    EXPECT_TRUE(load_engine(files, options, nullptr).ok());
}

TEST_F(Cuda, a_card_that_is_not_there_is_refused_by_name) {
    EXPECT_EQ(CudaBackend::open("cuda:99").error().code, ErrorCode::unsupported);
    EXPECT_NE(CudaBackend::open("cuda:99").error().message.find("no cuda:99"), std::string::npos);
    EXPECT_EQ(CudaBackend::open("cuda:x").error().code, ErrorCode::invalid_input);
    EXPECT_EQ(CudaBackend::open("gpu").error().message, "device 'gpu'; write cpu or cuda:N");
}

// The planted columns are more than the engine guesses, or fewer: the sums are those of
// llmint8-bnb, which counts them before every product.
TEST_F(Cuda, a_long_prompt_is_right_however_many_columns_are_outliers) {
    for (const int planted : {6, 40}) {
        auto opened = open_random_model("llama-micro", {.seed = 5, .outlier_columns = planted});
        ASSERT_TRUE(opened.ok());
        const ModelFiles files = std::move(opened).value();
        const auto ids = text(300, 9, files.config.vocabulary);
        const auto logits_of = [&](Engine& engine) {
            std::vector<float> logits(static_cast<std::size_t>(files.config.vocabulary));
            EXPECT_TRUE(engine.forward(ids, 300, logits.data()).ok());
            engine.reset();
            return logits;
        };
        EngineWish wish{.method = "llmint8-bnb", .threshold = 6, .context = 320};
        const auto want = logits_of(*cuda_engine_or_die(files, wish));
        const auto cpu = logits_of(*engine_or_die(files, wish));
        wish.method = "llmint8-fused";
        const auto engine = cuda_engine_or_die(files, wish);
        const auto got = logits_of(*engine);
        EXPECT_EQ(got, logits_of(*engine)) << planted;
        double off = 0, off_cpu = 0, all = 0;
        for (std::size_t i = 0; i < want.size(); ++i) {
            off += (want[i] - got[i]) * (want[i] - got[i]);
            off_cpu += (cpu[i] - got[i]) * (cpu[i] - got[i]);
            all += want[i] * want[i];
        }
        EXPECT_LT(off, 1e-4 * all) << planted;
        EXPECT_LT(off_cpu, 3e-2 * all) << planted;  // codes that round the other way
    }
}

// In a process of its own: the number of what did not answer as it should.
int after_a_fault(CudaBackend& backend) {
    const ModelFiles files = random_or_die("llama-pico");
    EngineOptions options;
    options.method = method_of("int8");
    options.device = "cuda:0";
    options.context = 64;
    auto engine = load_engine(files, options, nullptr);
    auto buffer = backend.allocate(64, MemoryCategory::workspace);
    if (!engine.ok() || !buffer.ok()) {
        return 100;
    }
    // A kernel reads from an address that nobody owns; the launch itself succeeds.
    const auto* nowhere = reinterpret_cast<const float*>(std::uintptr_t{0x10});
    if (quant::convert_input(nowhere, 1, 8, InputType::f32, (*buffer)->data(), backend.stream()) !=
        cudaSuccess) {
        return 101;
    }
    const auto is_fault = [](const Status& status) {
        return !status.ok() && status.error().code == ErrorCode::gpu_fault &&
               status.error().message.find("illegal memory access") != std::string::npos;
    };
    int wrong = is_fault(backend.synchronize()) ? 0 : 1;
    std::array<float, 16> host{};
    wrong += is_fault(backend.copy_to_host(host.data(), **buffer, 0, sizeof host)) ? 0 : 1;
    wrong += is_fault(backend.copy_to_device(**buffer, 0, host.data(), sizeof host)) ? 0 : 1;
    std::vector<float> logits(static_cast<std::size_t>(files.config.vocabulary));
    const std::vector<std::int32_t> ids{1, 2, 3};
    wrong += is_fault((*engine)->forward(ids, 3, logits.data())) ? 0 : 1;
    const auto another = load_engine(files, options, nullptr);
    wrong += is_fault(another.ok() ? Status{} : Status(another.error())) ? 0 : 1;
    return wrong;  // and what the card held is let go without a crash
}

TEST_F(Cuda, a_fault_of_the_card_is_the_error_of_every_later_call_and_ends_nothing) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_EXIT(std::exit(after_a_fault(*backend_)), testing::ExitedWithCode(0), "");
    // Another process has the card as it was.
    EXPECT_TRUE(backend_->synchronize().ok());
}

TEST(CudaErrors, become_classes_that_say_what_to_do) {
    EXPECT_TRUE(cuda_status(cudaSuccess, "x").ok());
    const auto code = [](cudaError_t error) { return cuda_status(error, "x").error().code; };
    EXPECT_EQ(code(cudaErrorMemoryAllocation), ErrorCode::out_of_gpu_memory);
    EXPECT_EQ(code(cudaErrorNoKernelImageForDevice), ErrorCode::unsupported);
    EXPECT_EQ(code(cudaErrorNoDevice), ErrorCode::unsupported);
    EXPECT_EQ(code(cudaErrorIllegalAddress), ErrorCode::gpu_fault);
    EXPECT_EQ(code(cudaErrorECCUncorrectable), ErrorCode::gpu_fault);
    const std::string words = cuda_status(cudaErrorInvalidDeviceFunction, "a norm").error().message;
    EXPECT_NE(words.find("a norm"), std::string::npos);
    EXPECT_NE(words.find("build it with CMAKE_CUDA_ARCHITECTURES naming it"), std::string::npos);
}

}  // namespace
}  // namespace bitsweep::testing_inference
