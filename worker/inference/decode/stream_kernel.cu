// One launch, one or more tokens: a persistent grid, one block a multiprocessor. Weights stream
// through each lane's own queue (stream_feed.cuh) ahead of the computation; activations travel as
// tagged words (program.h), so a block waits only for the inputs of its own next rows and no grid
// barrier separates the stages.
//
// Why a block may overwrite a buffer without asking: it writes stage s only after it has read all
// inputs of s, which every block that has rows in the stages before wrote after reading theirs.
//
// Version ladder (prediction -> measured; NVIDIA H100 80GB HBM3, batch 1, 128 tokens; share of the
// byte floor at fp16 for GPT-2 124M / Llama-3.2-1B / Llama-3.1-8B, goals 40 / 80 / 88 %):
//   1  queue of 12 chunks a lane, grid barriers, 5 a layer -> 14 / 52 / 70 %. A stage cost 9 us:
//      inputs unrolled to 32 a thread, row constants fetched at the end of each row
//   2  constants through the queue, inputs by size -> 20 % (124M). A stage: 3.5 k cycles inputs,
//      4.4 k product, 4.5 k barrier; attention 8.7 k
//   3  tagged words instead of barriers, one reduction a norm -> 21 / 63 / 75 %
//   4  one lane of a warp polls (predicted: less traffic in L2) -> 22 / 66 / 74 %: little
//   5  two chunks a step, stage descriptions through a register, cached keys asked for before the
//      query -> 24 / 68 / 78 %; int8 53 % (1B), 66 % (8B); int4-g64 36 %, 48 %
//   6  gpu-scope instead of volatile words -> 24 / 68 %: nothing
//   7  all words of a thread asked for before one is looked at (the new key and value alone were 8
//      trips to the second-level cache in turn), keys published once a token -> 25 / 70 / 84 %;
//      int8 56 % (1B), 74 % (8B); int4-g64 39 %, 54 %. 2, 3 or 4 steps in flight: the same
//   8  tried, not kept: tiles of 16 rows on tensor cores, inputs as exact planes in the operand's
//      unused columns (predicted 78 % at 1B) -> 27 / 68 / 79 %, int8 51 %, int4 37 % (1B). Outliers
//      then cost 4 % whatever their number (here 1.2x with 6, 1.4x with 64), but a tile waits for
//      the slowest of 16 warps: it wants a finishing warp, so that the others never stop
//   9  tried, not kept: bulk copies asked for by a 17th warp, at most 1 to 6 steps of a warp on
//      their way, outliers from shared memory (predicted 80 % at 1B: a step was 350 instructions)
//      -> fp16 69 %, int8 56 %, int4-g64 36 % (1B); int4 at 8B 60 %. Copies into the second-level
//      cache ahead of the queue: 56 % (1B, 17 MB ahead), the words of the activations wait behind
//   Where the time goes (1B, version 9): with every wait for another block left out 969 us of 1,155
//   (fp16) and 594 of 714 (int4), the products left out as well 969 and 492: so 6 us a stage are
//   this block's own latency (trips to the second-level cache, barriers, reductions), not bytes.
//   A plain stream through the same queue reaches 3.1 TB/s of 3.08, stalls of 3 us in 5.5 included.
//   Fewer warps have less of it: 8 of 16 (4 chunks a step) fp16 at 1B 1,079 us instead of 1,138
//   (version 9: 1,049), but int4 835 instead of 648; 12 of 16: GPT-2 288 us instead of 314.
//   On an NVIDIA H200 (reads 4.54 TB/s; us for fp16 / int8 / int4-g64) version 7 takes 307 / 293 /
//   285 (GPT-2), 878 / 686 / 657 (1B), 4,341 / 2,760 / 2,535 (8B), and 16 warps are the best at 1B:
//   with 8 warps 1,047 / 838 / 834.
//  10  tried, not kept (H200): tiles of eight rows as columns of m16n8 products, a tile's columns
//      over the warps, whose last to arrive adds the parts, so that nobody waits (predicted 650 /
//      450 / 400 at 1B; 70 instead of 350 instructions a step). 8 warps, left words of shared
//      memory as whole fragments: 257 / 270 / 321, 941 / 688 / 798, 4,893 / 2,990 / 4,092. With the
//      copies left out altogether 250 / 260 / 308, 628 / 578 / 742, 2,500 / 2,081 / 3,663: at 8 and
//      4 bits bytes are not what is waited for, and at 16 bits a step's eight runs of 256 bytes
//      reach 17.5 of 19.4 bytes a cycle and multiprocessor. Deeper queues were slower (9 instead of
//      6 steps: 1,022 instead of 1,005 at 1B), bulk copies of 256 bytes too (1,044; a lane each,
//      one after the other)
//  11  tried, not kept (H200): one awaited word a warp for all of its inputs, the attention's words
//      of several runs asked for together (predicted 3 % at 8B, where a warp awaits 7 words in
//      turn) -> 893 us at 1B, 4,373 at 8B: nothing. No awaited word at all, everybody polls: GPT-2
//      fp16 308 -> 342 us
//  12  a producer that only adds: what it did once a row, a division and two products of 64 bits
//      among it, was a third of a step's instructions at 4 bits (predicted 15 % at int4, 1B) ->
//      H200, us for fp16 / int8 / int4-g64: 862 / 625 / 609 (1B), 4,334 / 2,644 / 2,385 (8B)
//  13  no branch between the chunks of a step -> int4 at 8B 2,327, elsewhere nothing. Four
//      chunks a step, 3 steps in flight: int8 at 1B 598 instead of 611, but int4 674 instead of 594
//  14  outlier columns of i8_i8 from the queue, listed by step in order of the columns. With six
//      columns T 6 over T 0 was 750 / 700 us (1B): each row waited for the second-level cache.
//      A lane its own chunks' columns: 747 / 656; the same listed by one thread each: 753 / 623,
//      the listing was 5,000 cycles a stage; by a warp each behind a barrier of its own: 663 / 593;
//      under the barrier that the largest input needs anyway: 644 / 599, GPT-2 295 / 282, 8B 2,621
//      / 2,497 (64 columns 666, 304, 2,648). What is left is the listing, 1,500 cycles a stage
//  15  four steps in flight instead of six (H200; fp16 / int8 / T 0 / T 6 / int4-g64 / nf4): 1B
//      865 / 606 / 607 / 644 / 587 / 633 instead of 860 / 612 / 600 / 643 / 596 / 648; 8B 4,255 /
//      2,557 / 2,530 / 2,622 / 2,302 / 2,564 instead of 4,284 / 2,563 / 2,511 / 2,640 / 2,328 /
//      2,590; three 869 / 615 / 625 / 657 / 585 / 627, two 903 / 629 / 636 / 670 / 586 / 620 (1B)
//  16  tried, not kept (H200). By ncu's samples a step of two chunks was 131 (fp16), 90 (T 0) and
//      240 (int4) instructions, 48, 8 and 140 of them products; a warp issued one in 7 cycles, 53 %
//      of all slots were used. So: runs of whole units, a row's constants once a unit, inputs
//      padded to whole steps, nothing asked of a lane (64 instructions at T 0; predicted 15 % at
//      int4, 1B). us for fp16 / int8 / T 0 / int4-g64 at 1B, before 858 / 613 / 599 / 596:
//        copies without a condition (rows of whole steps only)   864 / 579 / 603 / 554
//        copies that a predicate skips                           872 / 598 / 628 / 574
//        copies that write zeros behind a row's end              878 / 593 / 622 / 566
//        the last, constants by plain loads a unit ahead         896 / 669 / 686 / 604
//        the last, keys and values of four positions ahead       911 / 613 / 645 / 580
//        that, depth 8 / 4 / 3 instead of 6 (fp16, int4)         993, 637 / 895, 564 / 889, 551
//        four chunks a step, both rows of a unit in one          899 / 605 / 637 / 599
//        diagonals of m16n8k16 for products (int4-g128)          879 / 618 /     / 614
//        refills of a stage's last four steps after its inputs   921 / 654 / 662 / 603
//      At 8B int4 2,335 -> 2,088 to 2,126 and nf4 2,594 -> 2,400, but T 0 2,493 -> 2,630, and rows
//      of no whole steps lose (GPT-2 int4 280 -> 303). So: fewer instructions gain at 4 bits, where
//      they are what is waited for; elsewhere the same requests come in bursts, and the words of
//      other blocks wait behind them. Next: a kernel of its own for programs of whole steps
#include "worker/inference/decode/stream_kernel.h"

#include "worker/inference/backend/cuda/warp.cuh"
#include "worker/inference/decode/stream_attention.cuh"
#include "worker/inference/decode/stream_feed.cuh"
#include "worker/inference/decode/stream_inputs.cuh"
#include "worker/inference/decode/stream_rows.cuh"

namespace bitsweep::decode {
namespace {

__device__ std::uint64_t global_ns() {
    std::uint64_t ns = 0;
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(ns));
    return ns;
}

template <Codes kind>
__device__ __forceinline__ void run_gemv(const Program& p, const Gemv& g, const Feed& feed,
                                         Producer& producer, int& slot, int position,
                                         std::uint32_t token_tag, std::uint32_t stage,
                                         std::uint64_t& best) {
    stamp(p, 4);
    const float activation_scale = prepare_inputs(p, g, position, token_tag + g.input_stage);
    __syncthreads();
    stamp(p, 1);
    run_units<kind>(p, g, feed, producer, slot, position, activation_scale, token_tag + stage,
                    best);
    stamp(p, 2);
}

__device__ __forceinline__ void dispatch_gemv(const Program& p, const Gemv& g, const Feed& feed,
                                              Producer& producer, int& slot, int position,
                                              std::uint32_t token_tag, std::uint32_t stage,
                                              std::uint64_t& best) {
#define BITSWEEP_CASE(kind) \
    case kind:              \
        return run_gemv<kind>(p, g, feed, producer, slot, position, token_tag, stage, best)
    switch (g.kind) {
        BITSWEEP_CASE(Codes::f16);
        BITSWEEP_CASE(Codes::bf16);
        BITSWEEP_CASE(Codes::i8);
        BITSWEEP_CASE(Codes::i8_i8);
        BITSWEEP_CASE(Codes::i4_group);
        BITSWEEP_CASE(Codes::lut4);
    }
#undef BITSWEEP_CASE
}

__device__ float embedding_value(const Program& p, int token, int i) {
    const std::int64_t at = static_cast<std::int64_t>(token) * p.width + i;
    if (p.embedding_kind == Codes::i8) {
        return reinterpret_cast<const std::int8_t*>(p.embedding)[at] * p.embedding_scales[token];
    }
    if (p.embedding_kind == Codes::bf16) {
        return __bfloat162float(reinterpret_cast<const __nv_bfloat16*>(p.embedding)[at]);
    }
    return __half2float(reinterpret_cast<const __half*>(p.embedding)[at]);
}

__device__ __noinline__ void run_embedding(const Program& p, int token, int position,
                                           std::uint32_t tag) {
    for (int i = blockIdx.x * stream_threads + threadIdx.x; i < p.width;
         i += gridDim.x * stream_threads) {
        float value = embedding_value(p, token, i);
        if (p.position_embedding != nullptr) {
            value += p.position_embedding[static_cast<std::int64_t>(position + p.position_offset) *
                                              p.width +
                                          i];
        }
        store_word(p.hidden + i, value, tag);
    }
}

__device__ __forceinline__ std::uint64_t warp_max(std::uint64_t value) {
    return device::over_warp(value, [](std::uint64_t a, std::uint64_t b) { return b > a ? b : a; });
}

// After the head: the best of every block, reduced by everyone, so that all agree on the token.
__device__ __noinline__ int choose_token(const Program& p, std::uint64_t best, std::uint32_t tag,
                                         std::uint64_t* scratch) {
    best = warp_max(best);
    if (threadIdx.x % 32 == 0) {
        scratch[threadIdx.x / 32] = best;
    }
    __syncthreads();
    auto* words = reinterpret_cast<FloatWord*>(p.best);
    if (threadIdx.x < 32) {
        best = warp_max(threadIdx.x < stream_warps ? scratch[threadIdx.x] : 0);
        if (threadIdx.x == 0) {
            __threadfence();  // this token's keys and values, before the next token reads them
            store_word(words + 2 * blockIdx.x,
                       __uint_as_float(static_cast<std::uint32_t>(best >> 32)), tag);
            store_word(words + 2 * blockIdx.x + 1,
                       __uint_as_float(static_cast<std::uint32_t>(best)), tag);
        }
        std::uint64_t all = 0;
        for (unsigned block = threadIdx.x; block < gridDim.x; block += 32) {
            const float2 pair = await_pair(words + 2 * block, tag);
            const std::uint64_t other =
                static_cast<std::uint64_t>(__float_as_uint(pair.x)) << 32 | __float_as_uint(pair.y);
            all = other > all ? other : all;
        }
        all = warp_max(all);
        if (threadIdx.x == 0) {
            scratch[stream_warps] = all;
        }
    }
    __syncthreads();
    return static_cast<int>(0xffffffffu - static_cast<std::uint32_t>(scratch[stream_warps]));
}

// The producer's list, one entry a product; returns their number.
__device__ int fill_feeds(const Program& p, Feed* feeds) {
    int count = 0, first_warp = 0;
    for (int i = 0; i < p.stage_count; ++i) {
        if (p.stages[i].kind != StageKind::gemv) {
            continue;
        }
        const Gemv& g = p.stages[i].gemv;
        const bool grouped = g.kind == Codes::i4_group || g.kind == Codes::lut4;
        if (threadIdx.x == 0) {
            const auto* scales = static_cast<const std::uint8_t*>(g.scales);
            const bool per_row = !grouped && scales != nullptr;
            feeds[count] = {g.codes,
                            grouped ? scales : nullptr,
                            static_cast<std::int32_t>(g.rows),
                            g.row_chunks,
                            g.rows_per_unit,
                            first_warp,
                            g.kind == Codes::i4_group ? 2
                            : grouped                 ? 4
                                                      : 0,
                            grouped ? 31 - __clz(g.group / 32) : 0,
                            grouped ? g.in_features / g.group : 0,
                            per_row ? static_cast<const float*>(g.scales) : nullptr,
                            g.bias};
        }
        first_warp = static_cast<int>((first_warp + g.rows / g.rows_per_unit) % grid_warps());
        ++count;
    }
    return count;
}

// The table of all pairs of codes, a column for each lane.
__device__ void fill_lut(std::uint32_t* lut, const float* code_book) {
    for (int i = threadIdx.x; i < 256 * 32; i += stream_threads) {
        const __half2 pair = __floats2half2_rn(code_book[(i / 32) & 15], code_book[i / 32 / 16]);
        lut[i] = *reinterpret_cast<const std::uint32_t*>(&pair);
    }
}

// The description of stage `i` travels through a register: asked for before a stage, put into
// shared memory after it, so that nobody waits for it.
constexpr int stage_words = sizeof(Stage) / sizeof(std::uint64_t);
static_assert(sizeof(Stage) % sizeof(std::uint64_t) == 0 && stage_words <= stream_threads);

__device__ __forceinline__ std::uint64_t ask_stage(const Program& p, int i) {
    const auto* words = reinterpret_cast<const unsigned long long*>(p.stages + i % p.stage_count);
    return threadIdx.x < stage_words ? __ldg(words + threadIdx.x) : 0;
}

__device__ __forceinline__ void put_stage(Stage* current, int i, std::uint64_t word) {
    if (threadIdx.x < stage_words) {
        reinterpret_cast<std::uint64_t*>(&current[i % 2])[threadIdx.x] = word;
    }
}

// Whether this block has rows of the product; if not it must not wait for the inputs, which may be
// overwritten before it looks.
__device__ __forceinline__ bool has_rows(const Feed& feed) {
    const int first = first_unit(feed, 0);
    return first < units_of(feed) || first + stream_warps > grid_warps();
}

__global__ void __launch_bounds__(stream_threads, 1)
    stream_kernel(const __grid_constant__ Program program, const float* code_book, int tokens) {
    __shared__ std::uint64_t best_scratch[stream_warps + 1];
    __shared__ Stage current[2];
    // 1. Open: producer's list, code book, first chunks in flight.
    auto* feeds = shared_at<Feed>(Layout::feeds(program));
    const int feed_count = fill_feeds(program, feeds);
    if (code_book != nullptr) {
        fill_lut(shared_at<std::uint32_t>(Layout::lut(program)), code_book);
    }
    __syncthreads();
    Producer producer{feeds, feed_count, tokens};
    producer.open_feed();
    for (int i = 0; i < stream_depth; ++i) {
        producer.issue(i);
    }
    int slot = 0;  // of the queue, the next one that is read and filled again
    int token = *program.token, position = *program.position;
    std::uint32_t token_tag = *program.epoch + 1;
    // 2. Tokens.
    for (int n = 0; n < tokens; ++n) {
        std::uint64_t best = 0;
        int feed = 0;
        put_stage(current, 0, ask_stage(program, 0));
        __syncthreads();
        for (int i = 0; i < program.stage_count; ++i) {
            const Stage& stage = current[i % 2];
            const std::uint64_t next = ask_stage(program, i + 1);
            if (stage.kind == StageKind::embed) {
                run_embedding(program, token, position, token_tag + i);
            } else if (stage.kind == StageKind::attention) {
                stamp(program, 3);
                run_attention(program, stage.attention, position, token_tag + i - 1, token_tag + i);
                stamp(program, 5);
            } else {
                if (has_rows(feeds[feed])) {
                    dispatch_gemv(program, stage.gemv, feeds[feed], producer, slot, position,
                                  token_tag, i, best);
                }
                ++feed;
            }
            put_stage(current, i + 1, next);
            __syncthreads();
        }
        // 3. The next token, chosen by every block alike.
        token = choose_token(program, best, token_tag + program.stage_count - 1, best_scratch);
        if (blockIdx.x == 0 && threadIdx.x == 0) {
            program.new_tokens[position] = token;
            if (program.token_ns != nullptr) {
                program.token_ns[n] = global_ns();
            }
        }
        ++position;
        token_tag += program.stage_count;
    }
    device::wait_for_copies<0>();
    // 4. Leave the state for the next launch.
    if (blockIdx.x == 0 && threadIdx.x == 0) {
        *program.token = token;
        *program.position = position;
        *program.epoch = token_tag - 1;
    }
}

}  // namespace

cudaError_t launch_stream(const Program& program, const float* code_book, int tokens,
                          cudaStream_t stream) {
    int device = 0, processors = 0;
    if (cudaError_t e = cudaGetDevice(&device); e != cudaSuccess) {
        return e;
    }
    cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
    const std::size_t bytes = Layout::end(program, code_book != nullptr);
    if (cudaError_t e = cudaFuncSetAttribute(
            stream_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
        e != cudaSuccess) {
        return e;
    }
    Program copy = program;
    void* arguments[] = {&copy, &code_book, &tokens};
    return cudaLaunchCooperativeKernel(reinterpret_cast<void*>(stream_kernel), dim3(processors),
                                       dim3(stream_threads), arguments, bytes, stream);
}

}  // namespace bitsweep::decode
