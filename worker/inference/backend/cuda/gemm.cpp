#include "worker/inference/backend/cuda/gemm.h"

#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "worker/inference/backend/backend.h"
#include "worker/inference/backend/cuda/cuda_error.h"

namespace bitsweep {
namespace {

// cuBLASLt's advice for Hopper; enough for the others.
constexpr std::uint64_t workspace_bytes = std::uint64_t{32} << 20;

constexpr int most_candidates = 8;
constexpr int products_timed = 3;
// Multiply-adds from which a choice is worth timing: about a microsecond of an H100.
constexpr std::int64_t least_tuned = 100'000'000;

// A product of a decode step takes as long as its weights take to arrive from device memory:
// between two steps the other layers push them out of the second-level cache. So it is timed with
// that cache overwritten; repeated products of a matrix that fits (50 MB of an H100) would choose
// by arithmetic. The library's guesses are worse here, and more of them worth a look.
constexpr std::int64_t most_step_rows = 64;
constexpr std::int64_t least_tuned_weights = 1'500'000;  // about a microsecond of halves
constexpr int most_step_candidates = 24;

bool is_of_step(const GemmCall& call) {
    return call.rows <= most_step_rows;
}

bool worth_timing(const GemmCall& call) {
    return is_of_step(call) ? call.out >= least_tuned_weights / call.in
                            : call.out * call.rows >= least_tuned / call.in;
}

Status lt_status(cublasStatus_t status, const std::string& what) {
    if (status == CUBLAS_STATUS_SUCCESS) {
        return {};
    }
    const ErrorCode code = status == CUBLAS_STATUS_NOT_SUPPORTED  ? ErrorCode::unsupported
                           : status == CUBLAS_STATUS_ALLOC_FAILED ? ErrorCode::out_of_gpu_memory
                                                                  : ErrorCode::gpu_fault;
    return make_error(code, "cuBLASLt, " + what + ": " + cublasLtGetStatusString(status));
}

struct Types {
    cudaDataType_t operand, result;
    cublasComputeType_t compute;
    cudaDataType_t scale;
};

Types types_of(GemmType type) {
    switch (type) {
        case GemmType::f32:
            return {CUDA_R_32F, CUDA_R_32F, CUBLAS_COMPUTE_32F, CUDA_R_32F};
        case GemmType::f16:
            return {CUDA_R_16F, CUDA_R_32F, CUBLAS_COMPUTE_32F, CUDA_R_32F};
        case GemmType::bf16:
            return {CUDA_R_16BF, CUDA_R_32F, CUBLAS_COMPUTE_32F, CUDA_R_32F};
        case GemmType::i8:
            break;
    }
    return {CUDA_R_8I, CUDA_R_32I, CUBLAS_COMPUTE_32I, CUDA_R_32I};
}

std::uint32_t alignment_of(const void* pointer) {
    const auto address = reinterpret_cast<std::uintptr_t>(pointer);
    return static_cast<std::uint32_t>(std::min<std::uintptr_t>(address & -address, 256));
}

// What a kernel is chosen by.
using Key = std::tuple<GemmType, std::int64_t, std::int64_t, std::int64_t, std::int64_t,
                       std::int64_t, std::int64_t, std::uint32_t, std::uint32_t, std::uint32_t>;

Key key_of(const GemmCall& call) {
    return {call.type,
            call.out,
            call.rows,
            call.in,
            call.w_stride,
            call.x_stride,
            call.y_stride,
            alignment_of(call.w),
            alignment_of(call.x),
            alignment_of(call.y)};
}

// Row-major y = x w^T is column-major y' [out, rows] = w'^T x'.
struct Plan {
    cublasLtMatmulDesc_t operation = nullptr;
    cublasLtMatrixLayout_t w = nullptr, x = nullptr, y = nullptr;
    cublasLtMatmulAlgo_t algorithm{};

    Plan() = default;
    Plan(const Plan&) = delete;
    Plan& operator=(const Plan&) = delete;
    ~Plan() {
        cublasLtMatrixLayoutDestroy(w);
        cublasLtMatrixLayoutDestroy(x);
        cublasLtMatrixLayoutDestroy(y);
        cublasLtMatmulDescDestroy(operation);
    }

    Status describe(const GemmCall& call);
    // The library's proposals for this shape, its best guess first.
    Result<std::vector<cublasLtMatmulAlgo_t>> candidates(const GemmCall& call,
                                                         cublasLtHandle_t handle) const;
};

Status Plan::describe(const GemmCall& call) {
    const Types types = types_of(call.type);
    const auto out = static_cast<std::uint64_t>(call.out);
    const auto rows = static_cast<std::uint64_t>(call.rows);
    const auto in = static_cast<std::uint64_t>(call.in);
    TRY(lt_status(cublasLtMatmulDescCreate(&operation, types.compute, types.scale),
                  "an operation"));
    const cublasOperation_t transposed = CUBLAS_OP_T;
    TRY(lt_status(cublasLtMatmulDescSetAttribute(operation, CUBLASLT_MATMUL_DESC_TRANSA,
                                                 &transposed, sizeof transposed),
                  "a transposed operand"));
    TRY(lt_status(cublasLtMatrixLayoutCreate(&w, types.operand, in, out, call.w_stride),
                  "a layout"));
    TRY(lt_status(cublasLtMatrixLayoutCreate(&x, types.operand, in, rows, call.x_stride),
                  "a layout"));
    return lt_status(cublasLtMatrixLayoutCreate(&y, types.result, out, rows, call.y_stride),
                     "a layout");
}

struct Preference {
    cublasLtMatmulPreference_t value = nullptr;
    ~Preference() { cublasLtMatmulPreferenceDestroy(value); }

    template <class T>
    Status set(cublasLtMatmulPreferenceAttributes_t attribute, T to) {
        return lt_status(cublasLtMatmulPreferenceSetAttribute(value, attribute, &to, sizeof to),
                         "a preference");
    }
};

Result<std::vector<cublasLtMatmulAlgo_t>> Plan::candidates(const GemmCall& call,
                                                           cublasLtHandle_t handle) const {
    Preference preference;
    TRY(lt_status(cublasLtMatmulPreferenceCreate(&preference.value), "a preference"));
    TRY(preference.set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace_bytes));
    TRY(preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment_of(call.w)));
    TRY(preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment_of(call.x)));
    TRY(preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_of(call.y)));
    TRY(preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_of(call.y)));
    std::array<cublasLtMatmulHeuristicResult_t, std::max(most_candidates, most_step_candidates)>
        found{};
    int count = 0;
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
        handle, operation, w, x, y, y, preference.value,
        is_of_step(call) ? most_step_candidates : most_candidates, found.data(), &count);
    TRY(lt_status(
        count == 0 && status == CUBLAS_STATUS_SUCCESS ? CUBLAS_STATUS_NOT_SUPPORTED : status,
        "a kernel for " + std::to_string(call.out) + " x " + std::to_string(call.in) + " times " +
            std::to_string(call.rows) + " rows"));
    std::vector<cublasLtMatmulAlgo_t> algorithms;
    for (int i = 0; i < count; ++i) {
        if (found[static_cast<std::size_t>(i)].state == CUBLAS_STATUS_SUCCESS) {
            algorithms.push_back(found[static_cast<std::size_t>(i)].algo);
        }
    }
    return algorithms;
}

// Two events on a stream.
struct Watch {
    cudaEvent_t from = nullptr, to = nullptr;
    ~Watch() {
        cudaEventDestroy(from);
        cudaEventDestroy(to);
    }
};

}  // namespace

struct Gemm::Plans {
    Backend& backend;
    cudaStream_t stream;
    cublasLtHandle_t handle = nullptr;
    std::unique_ptr<Buffer> workspace;
    std::map<Key, Plan> plans;

    Plans(Backend& of, cudaStream_t on) : backend(of), stream(on) {}
    Plans(const Plans&) = delete;
    Plans& operator=(const Plans&) = delete;
    ~Plans() {
        plans.clear();
        if (handle != nullptr) {
            cublasLtDestroy(handle);
        }
    }

    Status run(const Plan& plan, const cublasLtMatmulAlgo_t& algorithm, const GemmCall& call) const;
    Result<float> time_ms(const Plan& plan, const cublasLtMatmulAlgo_t& algorithm,
                          const GemmCall& call) const;
    Result<float> time_cold_ms(const Plan& plan, const cublasLtMatmulAlgo_t& algorithm,
                               const GemmCall& call, Buffer& eviction) const;
    std::unique_ptr<Buffer> eviction_for(const GemmCall& call) const;
    Status choose(Plan& plan, const GemmCall& call);
};

Status Gemm::Plans::run(const Plan& plan, const cublasLtMatmulAlgo_t& algorithm,
                        const GemmCall& call) const {
    const float one = 1, factor = call.accumulate ? 1 : 0;
    const std::int32_t whole_one = 1, whole_factor = call.accumulate ? 1 : 0;
    const bool whole = call.type == GemmType::i8;
    return lt_status(
        cublasLtMatmul(handle, plan.operation, whole ? static_cast<const void*>(&whole_one) : &one,
                       call.w, plan.w, call.x, plan.x,
                       whole ? static_cast<const void*>(&whole_factor) : &factor, call.y, plan.y,
                       call.y, plan.y, &algorithm, workspace->data(), workspace_bytes, stream),
        "a product of " + std::to_string(call.out) + " x " + std::to_string(call.in));
}

Result<float> Gemm::Plans::time_ms(const Plan& plan, const cublasLtMatmulAlgo_t& algorithm,
                                   const GemmCall& call) const {
    Watch watch;
    TRY(cuda_status(cudaEventCreate(&watch.from), "an event"));
    TRY(cuda_status(cudaEventCreate(&watch.to), "an event"));
    TRY(run(plan, algorithm, call));  // loads the kernel
    TRY(cuda_status(cudaEventRecord(watch.from, stream), "an event"));
    for (int i = 0; i < products_timed; ++i) {
        TRY(run(plan, algorithm, call));
    }
    TRY(cuda_status(cudaEventRecord(watch.to, stream), "an event"));
    TRY(cuda_status(cudaEventSynchronize(watch.to), "timing a product"));
    float ms = 0;
    TRY(cuda_status(cudaEventElapsedTime(&ms, watch.from, watch.to), "timing a product"));
    return ms;
}

// The shortest of single products, each after `eviction` has been written.
Result<float> Gemm::Plans::time_cold_ms(const Plan& plan, const cublasLtMatmulAlgo_t& algorithm,
                                        const GemmCall& call, Buffer& eviction) const {
    Watch watch;
    TRY(cuda_status(cudaEventCreate(&watch.from), "an event"));
    TRY(cuda_status(cudaEventCreate(&watch.to), "an event"));
    TRY(run(plan, algorithm, call));  // loads the kernel
    float best = std::numeric_limits<float>::infinity();
    for (int i = 0; i < products_timed; ++i) {
        TRY(cuda_status(cudaMemsetAsync(eviction.data(), 0, eviction.bytes(), stream),
                        "timing a product"));
        TRY(cuda_status(cudaEventRecord(watch.from, stream), "an event"));
        TRY(run(plan, algorithm, call));
        TRY(cuda_status(cudaEventRecord(watch.to, stream), "an event"));
        TRY(cuda_status(cudaEventSynchronize(watch.to), "timing a product"));
        float ms = 0;
        TRY(cuda_status(cudaEventElapsedTime(&ms, watch.from, watch.to), "timing a product"));
        best = std::min(best, ms);
    }
    return best;
}

// More than the second-level cache holds, for a product of a step; null: not wanted, or no room.
std::unique_ptr<Buffer> Gemm::Plans::eviction_for(const GemmCall& call) const {
    int device = 0, cache_bytes = 0;
    if (!is_of_step(call) || cudaGetDevice(&device) != cudaSuccess ||
        cudaDeviceGetAttribute(&cache_bytes, cudaDevAttrL2CacheSize, device) != cudaSuccess) {
        return nullptr;
    }
    const auto bytes = static_cast<std::size_t>(cache_bytes) * 3 / 2;
    auto buffer = backend.allocate(bytes, MemoryCategory::workspace);
    return buffer.ok() ? std::move(buffer).value() : nullptr;
}

// The library's first guess where a product is small; else the fastest of its guesses, timed into
// memory of their own, where there is room for that.
Status Gemm::Plans::choose(Plan& plan, const GemmCall& call) {
    const auto algorithms = TRY(plan.candidates(call, handle));
    ASSERT(!algorithms.empty());
    plan.algorithm = algorithms.front();
    if (!worth_timing(call) || algorithms.size() == 1) {
        return {};
    }
    auto scratch = backend.allocate(static_cast<std::size_t>(call.rows * call.y_stride) * 4,
                                    MemoryCategory::workspace);
    if (!scratch.ok()) {
        return {};
    }
    GemmCall trial = call;
    trial.y = (*scratch)->data();
    const auto eviction = eviction_for(call);
    float best = std::numeric_limits<float>::infinity();
    for (const cublasLtMatmulAlgo_t& algorithm : algorithms) {
        const auto ms = eviction ? time_cold_ms(plan, algorithm, trial, *eviction)
                                 : time_ms(plan, algorithm, trial);
        if (!ms.ok() && ms.error().code != ErrorCode::unsupported) {
            return ms.error();
        }
        if (ms.ok() && *ms < best) {
            best = *ms;
            plan.algorithm = algorithm;
        }
    }
    return {};
}

Gemm::Gemm(std::unique_ptr<Plans> plans) : plans_(std::move(plans)) {}
Gemm::~Gemm() = default;

Result<std::unique_ptr<Gemm>> Gemm::create(Backend& backend, cudaStream_t stream) {
    auto plans = std::make_unique<Plans>(backend, stream);
    TRY(lt_status(cublasLtCreate(&plans->handle), "a handle"));
    plans->workspace = TRY(backend.allocate(workspace_bytes, MemoryCategory::workspace));
    return std::unique_ptr<Gemm>(new Gemm(std::move(plans)));
}

Status Gemm::multiply(const GemmCall& call) {
    const Key key = key_of(call);
    auto found = plans_->plans.find(key);
    if (found == plans_->plans.end()) {
        found = plans_->plans.try_emplace(key).first;
        Status status = found->second.describe(call);
        if (status.ok()) {
            status = plans_->choose(found->second, call);
        }
        if (!status.ok()) {
            plans_->plans.erase(found);
            return status;
        }
    }
    return plans_->run(found->second, found->second.algorithm, call);
}

}  // namespace bitsweep
