// The VRAM formula for one job, whose policy may store each layer in its own way.
#pragma once

#include <optional>

#include "schemas/catalog/layer_methods.h"
#include "schemas/catalog/memory.h"
#include "schemas/job.h"

namespace bitsweep {

// estimate_memory() of method mixed: each linear layer by its name in worker/inference/models. One
// that is not named here counts as 16 bits.
MemoryBytes estimate_memory(const MemoryQuestion& question, const LayerMethods& layers);

struct JobMemory {
    MemoryQuestion question;  // all but the context, which the asker knows
    LayerMethods layers;      // of mixed

    MemoryBytes bytes() const { return estimate_memory(question, layers); }
};

// nullopt: a model outside the table of shapes, or a method that this release does not know.
std::optional<JobMemory> job_memory(const JobSpec& spec);

}  // namespace bitsweep
