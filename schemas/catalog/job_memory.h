// The VRAM formula for one job, whose policy may store each layer in its own way.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "schemas/catalog/layer_methods.h"
#include "schemas/catalog/memory.h"
#include "schemas/job.h"

namespace bitsweep {

// estimate_memory() of method mixed: each linear layer by its name in worker/inference/models. One
// that is not named here counts as 16 bits.
MemoryBytes estimate_memory(const MemoryQuestion& question, const LayerMethods& layers);

// Its two halves: what batch and context do not change, and what they do.
MemoryBytes weight_memory(const MemoryQuestion& question, const LayerMethods& layers);
MemoryBytes with_buffers(MemoryBytes weights, const MemoryQuestion& question,
                         const LayerMethods& layers);

struct JobMemory {
    MemoryQuestion question;  // all but the context, which the asker knows
    LayerMethods layers;      // of mixed
    MemoryBytes weights;      // weight_memory()

    MemoryBytes bytes() const { return with_buffers(weights, question, layers); }
};

// nullopt: a model outside the table of shapes, or a method that this release does not know.
std::optional<JobMemory> job_memory(const JobSpec& spec);

// Likewise of one job after another: cells of a matrix mostly differ in lengths and batches, and
// what their weights take is summed up once.
class JobMemories {
 public:
    const std::optional<JobMemory>& of(const JobSpec& spec);  // until the next call

 private:
    struct Known {
        std::string model;
        std::string method;
        std::string policy;
        std::string kv;
        bool decomposes = true;
        bool on_cpu = true;
        int head_bits = 16;
        std::optional<JobMemory> memory;
    };
    static constexpr std::size_t most_known = 64;

    std::vector<Known> known_;
    std::size_t oldest_ = 0;  // what the next one replaces
};

}  // namespace bitsweep
