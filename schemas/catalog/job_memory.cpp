#include "schemas/catalog/job_memory.h"

#include <algorithm>

namespace bitsweep {

std::optional<JobMemory> job_memory(const JobSpec& spec) {
    const Result<MethodId> method = parse_method(spec.method);
    JobMemory memory;
    MemoryQuestion& question = memory.question;
    question.shape = find_shape(spec.model.name);
    if (!method || question.shape == nullptr) {
        return std::nullopt;
    }
    question.method = *method;
    question.decomposes = !spec.threshold || *spec.threshold > 0;
    question.head_bits = spec.head_bits;
    question.kv = kv_from_string(spec.kv).value_or(KvFormat::bits16);
    question.batch = spec.batch;
    question.prefill_rows = spec.gpu == "cpu" ? cpu_prefill_rows : card_prefill_rows;
    if (method->family == MethodFamily::mixed) {
        // A policy that cannot be read is the job's own failure: its layers count as 16 bits here.
        const Result<LayerPolicy> policy = policy_from_json(spec.policy);
        Result<LayerMethods> layers =
            policy ? layer_methods_of(*policy) : Result<LayerMethods>(policy.error());
        memory.layers = layers ? std::move(*layers) : LayerMethods{};
    }
    memory.weights = weight_memory(question, memory.layers);
    return memory;
}

const std::optional<JobMemory>& JobMemories::of(const JobSpec& spec) {
    const bool decomposes = !spec.threshold || *spec.threshold > 0;
    const bool on_cpu = spec.gpu == "cpu";
    const auto found = std::ranges::find_if(known_, [&](const Known& one) {
        return one.method == spec.method && one.model == spec.model.name &&
               one.head_bits == spec.head_bits && one.kv == spec.kv &&
               one.decomposes == decomposes && one.on_cpu == on_cpu && one.policy == spec.policy;
    });
    if (found != known_.end()) {
        if (found->memory) {
            found->memory->question.batch = spec.batch;
        }
        return found->memory;
    }
    if (known_.size() < most_known) {
        known_.emplace_back();
    }
    Known& one = known_[oldest_];
    oldest_ = (oldest_ + 1) % most_known;
    one = {spec.model.name, spec.method, spec.policy,    spec.kv,
           decomposes,      on_cpu,      spec.head_bits, job_memory(spec)};
    return one.memory;
}

}  // namespace bitsweep
