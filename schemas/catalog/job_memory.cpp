#include "schemas/catalog/job_memory.h"

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
    return memory;
}

}  // namespace bitsweep
