#include "worker/inference/decode/stream_decoder.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <string>

#include "worker/inference/decode/choose.h"
#include "worker/inference/decode/stream_kernel.h"
#include "worker/inference/decode/stream_limits.h"

namespace bitsweep::decode {
namespace {

std::int64_t now_ns() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

Status checked(cudaError_t error, const char* what) {
    if (error == cudaSuccess) {
        return {};
    }
    const std::string words =
        std::string("the streaming kernel, ") + what + ": " + cudaGetErrorString(error);
    switch (error) {
        case cudaErrorMemoryAllocation:
            return make_error(ErrorCode::out_of_gpu_memory, words);
        case cudaErrorCooperativeLaunchTooLarge:
        case cudaErrorNoKernelImageForDevice:
        case cudaErrorNotSupported:
            return make_error(ErrorCode::unsupported, words);
        default:
            return make_error(ErrorCode::gpu_fault, words);
    }
}

Result<int> attribute(cudaDeviceAttr name, int ordinal) {
    int value = 0;
    TRY(checked(cudaDeviceGetAttribute(&value, name, ordinal), "the device's limits"));
    return value;
}

}  // namespace

StreamDecoder::StreamDecoder(Backend& backend, const float* code_book, StreamPlace place)
    : backend_(backend), code_book_(code_book), place_(place) {}

StreamDecoder::~StreamDecoder() {
    for (cudaEvent_t event : {begin_, end_}) {
        if (event != nullptr) {
            cudaEventDestroy(event);
        }
    }
}

Result<std::unique_ptr<StreamDecoder>> StreamDecoder::create(Backend& backend,
                                                             const ProgramParts& parts,
                                                             const float* code_book,
                                                             StreamPlace place) {
    TRY(check_parts(parts));
    std::unique_ptr<StreamDecoder> decoder(new StreamDecoder(backend, code_book, place));
    TRY(decoder->prepare(parts));
    return decoder;
}

Status StreamDecoder::prepare(const ProgramParts& parts) {
    const int blocks = TRY(attribute(cudaDevAttrMultiProcessorCount, place_.ordinal));
    const int cooperative = TRY(attribute(cudaDevAttrCooperativeLaunch, place_.ordinal));
    const int shared = TRY(attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, place_.ordinal));
    context_ = parts.context;
    const std::int32_t splits = splits_for(parts, blocks);
    layout_ = layout_of(parts, splits, blocks);
    const std::size_t wanted =
        stream_shared_bytes(program_of(parts, layout_, nullptr, splits), code_book_ != nullptr);
    if (cooperative == 0 || wanted > static_cast<std::size_t>(shared)) {
        return make_error(ErrorCode::unsupported,
                          "the streaming kernel wants " + std::to_string(wanted) +
                              " bytes of shared memory a block and a resident grid; this device "
                              "has " +
                              std::to_string(shared) + (cooperative == 0 ? ", not resident" : ""));
    }
    block_ = TRY(backend_.allocate(layout_.bytes, MemoryCategory::activations));
    program_ = program_of(parts, layout_, block_->data(), splits);
    const std::vector<Stage> stages = stages_of(parts, layout_, block_->data());
    TRY(backend_.copy_to_device(*block_, layout_.stages, stages.data(),
                                stages.size() * sizeof(Stage)));
    const RopeTables rope = rope_tables(parts);
    if (!rope.cos.empty()) {
        TRY(backend_.copy_to_device(*block_, layout_.rope_cos, rope.cos.data(),
                                    rope.cos.size() * sizeof(float)));
        TRY(backend_.copy_to_device(*block_, layout_.rope_sin, rope.sin.data(),
                                    rope.sin.size() * sizeof(float)));
    }
    TRY(backend_.synchronize());
    TRY(checked(cudaEventCreate(&begin_), "an event"));
    return checked(cudaEventCreate(&end_), "an event");
}

Status StreamDecoder::launch(std::int32_t token, std::int64_t position, std::int64_t count) {
    const std::int32_t state[2] = {token, static_cast<std::int32_t>(position)};
    TRY(checked(
        cudaMemcpyAsync(program_.token, state, sizeof state, cudaMemcpyHostToDevice, place_.stream),
        "its token"));
    TRY(checked(cudaEventRecord(begin_, place_.stream), "an event"));
    TRY(checked(launch_stream(program_, code_book_, static_cast<int>(count), place_.stream),
                "its launch"));
    return checked(cudaEventRecord(end_, place_.stream), "an event");
}

// The device's clock reads the end of each token; the events give the time of all.
Status StreamDecoder::collect(std::int64_t position, std::int64_t count, StreamRun& to) {
    const auto size = static_cast<std::size_t>(count);
    to.tokens.resize(size);
    TRY(checked(cudaMemcpyAsync(to.tokens.data(), program_.new_tokens + position,
                                size * sizeof(std::int32_t), cudaMemcpyDeviceToHost, place_.stream),
                "its tokens"));
    TRY(checked(cudaStreamSynchronize(place_.stream), "its tokens"));
    return {};
}

Result<StreamRun> StreamDecoder::run(std::int32_t token, std::int64_t position,
                                     std::int64_t count) {
    if (position < 0 || count < 1 || position + count > context_) {
        return make_error(ErrorCode::invalid_input,
                          std::to_string(count) + " tokens from position " +
                              std::to_string(position) + " do not fit a cache of " +
                              std::to_string(context_) + " positions");
    }
    StreamRun run;
    const std::int64_t begin = now_ns();
    TRY(launch(token, position, count));
    TRY(collect(position, count, run));
    run.host_ns = now_ns() - begin;

    const auto size = static_cast<std::size_t>(count);
    std::vector<std::uint64_t> ends(size);
    TRY(checked(cudaMemcpy(ends.data(), program_.token_ns, size * sizeof(std::uint64_t),
                           cudaMemcpyDeviceToHost),
                "its clock"));
    float ms = 0;
    TRY(checked(cudaEventElapsedTime(&ms, begin_, end_), "its time"));
    const auto whole = static_cast<std::int64_t>(std::llround(static_cast<double>(ms) * 1e6));
    const auto later = static_cast<std::int64_t>(ends.back() - ends.front());
    run.token_ns.push_back(std::max<std::int64_t>(whole - later, 0));
    for (std::size_t i = 1; i < size; ++i) {
        run.token_ns.push_back(static_cast<std::int64_t>(ends[i] - ends[i - 1]));
    }
    TRY(check_finite(position + count - 1));
    return run;
}

// A value that is not finite stays so in every later position.
Status StreamDecoder::check_finite(std::int64_t position) {
    std::int32_t* scratch = program_.token + 3;
    const auto* logits = reinterpret_cast<const float*>(block_->data() + layout_.logits);
    TRY(checked(choose_rows(logits, 1, program_.vocabulary, scratch, scratch + 1, place_.stream),
                "its logits"));
    std::int32_t bad = 0;
    TRY(checked(
        cudaMemcpyAsync(&bad, scratch + 1, sizeof bad, cudaMemcpyDeviceToHost, place_.stream),
        "its logits"));
    TRY(checked(cudaStreamSynchronize(place_.stream), "its logits"));
    if (bad != 0) {
        return make_error(ErrorCode::invalid_numbers,
                          "logits at position " + std::to_string(position) +
                              " hold NaN or infinity; a value left the range of its type");
    }
    return {};
}

Status StreamDecoder::last_logits(float* to) {
    return backend_.copy_to_host(to, *block_, layout_.logits,
                                 static_cast<std::size_t>(program_.vocabulary) * sizeof(float));
}

}  // namespace bitsweep::decode
