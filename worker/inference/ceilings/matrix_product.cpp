#include "worker/inference/ceilings/matrix_product.h"

#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <string>

#include "worker/inference/ceilings/kernels.h"

namespace bitsweep::ceilings {
namespace {

constexpr std::uint64_t workspace_bytes = std::uint64_t{32} << 20;  // cuBLASLt's advice for Hopper
constexpr int candidates = 3;
constexpr int products_timed = 4;

Status lt_checked(cublasStatus_t status, const char* what) {
    if (status == CUBLAS_STATUS_SUCCESS) {
        return {};
    }
    const ErrorCode code = status == CUBLAS_STATUS_NOT_SUPPORTED  ? ErrorCode::unsupported
                           : status == CUBLAS_STATUS_ALLOC_FAILED ? ErrorCode::out_of_gpu_memory
                                                                  : ErrorCode::gpu_fault;
    return make_error(code,
                      std::string("cuBLASLt, ") + what + ": " + cublasLtGetStatusString(status));
}

// Everything that one product needs, freed together.
struct Product {
    cublasLtHandle_t handle = nullptr;
    cublasLtMatmulDesc_t operation = nullptr;
    cublasLtMatrixLayout_t inputs = nullptr, output = nullptr;
    cublasLtMatmulPreference_t preference = nullptr;
    DeviceBlock a, b, c, workspace;

    Product() = default;
    Product(const Product&) = delete;
    Product& operator=(const Product&) = delete;
    ~Product() {
        cublasLtMatmulPreferenceDestroy(preference);
        cublasLtMatrixLayoutDestroy(inputs);
        cublasLtMatrixLayoutDestroy(output);
        cublasLtMatmulDescDestroy(operation);
        cublasLtDestroy(handle);
    }
};

// Both operands with the summed index innermost (transposed A): the layout of a linear layer, and
// the only one that int8 has on every card.
Status describe(Product& product, ProductType type, int n) {
    const bool half = type == ProductType::fp16;
    const auto order = static_cast<std::uint64_t>(n);
    TRY(lt_checked(cublasLtCreate(&product.handle), "a handle"));
    TRY(lt_checked(
        cublasLtMatmulDescCreate(&product.operation, half ? CUBLAS_COMPUTE_32F : CUBLAS_COMPUTE_32I,
                                 half ? CUDA_R_32F : CUDA_R_32I),
        "an operation"));
    const cublasOperation_t transposed = CUBLAS_OP_T;
    TRY(lt_checked(cublasLtMatmulDescSetAttribute(product.operation, CUBLASLT_MATMUL_DESC_TRANSA,
                                                  &transposed, sizeof transposed),
                   "a transposed operand"));
    TRY(lt_checked(
        cublasLtMatrixLayoutCreate(&product.inputs, half ? CUDA_R_16F : CUDA_R_8I, order, order, n),
        "a layout"));
    TRY(lt_checked(cublasLtMatrixLayoutCreate(&product.output, half ? CUDA_R_16F : CUDA_R_32I,
                                              order, order, n),
                   "a layout"));
    TRY(lt_checked(cublasLtMatmulPreferenceCreate(&product.preference), "a preference"));
    TRY(lt_checked(cublasLtMatmulPreferenceSetAttribute(product.preference,
                                                        CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                        &workspace_bytes, sizeof workspace_bytes),
                   "a workspace"));
    return {};
}

Status fill(Product& product, ProductType type, int n, cudaStream_t stream) {
    const std::uint64_t count = static_cast<std::uint64_t>(n) * static_cast<std::uint64_t>(n);
    const std::uint64_t input = type == ProductType::fp16 ? 2 : 1;
    const std::uint64_t output = type == ProductType::fp16 ? 2 : 4;
    product.a = TRY(device_block(count * input));
    product.b = TRY(device_block(count * input));
    product.c = TRY(device_block(count * output));
    product.workspace = TRY(device_block(workspace_bytes));
    for (void* operand : {product.a.get(), product.b.get()}) {
        TRY(checked(type == ProductType::fp16 ? fill_halves(operand, count, stream)
                                              : fill_words(operand, count * input, stream),
                    "filling a matrix"));
    }
    return {};
}

Result<double> fastest_ns(Stopwatch& watch, Product& product, ProductType type) {
    std::array<cublasLtMatmulHeuristicResult_t, candidates> found{};
    int count = 0;
    TRY(lt_checked(
        cublasLtMatmulAlgoGetHeuristic(product.handle, product.operation, product.inputs,
                                       product.inputs, product.output, product.output,
                                       product.preference, candidates, found.data(), &count),
        "choosing a kernel"));
    const float one = 1, zero = 0;
    const std::int32_t whole_one = 1, whole_zero = 0;
    const bool half = type == ProductType::fp16;
    const auto multiply = [&](const cublasLtMatmulAlgo_t& algorithm) {
        return lt_checked(
            cublasLtMatmul(product.handle, product.operation,
                           half ? static_cast<const void*>(&one) : &whole_one, product.a.get(),
                           product.inputs, product.b.get(), product.inputs,
                           half ? static_cast<const void*>(&zero) : &whole_zero, product.c.get(),
                           product.output, product.c.get(), product.output, &algorithm,
                           product.workspace.get(), workspace_bytes, watch.stream()),
            "a product");
    };
    double best = std::numeric_limits<double>::infinity();
    for (int i = 0; i < count; ++i) {
        const cublasLtMatmulAlgo_t& algorithm = found[static_cast<std::size_t>(i)].algo;
        TRY(multiply(algorithm));  // loads the kernel
        for (int k = 0; k < products_timed; ++k) {
            best = std::min(best, TRY(device_ns(watch, [&] { return multiply(algorithm); })));
        }
    }
    return best;
}

}  // namespace

Result<double> product_rate(Stopwatch& watch, ProductType type, int n) {
    Product product;
    TRY(describe(product, type, n));
    TRY(fill(product, type, n, watch.stream()));
    const double ns = TRY(fastest_ns(watch, product, type));
    const double order = n;
    return 2 * order * order * order / ns * 1e9;
}

}  // namespace bitsweep::ceilings
