#include "worker/runner/provenance.h"

#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include <fstream>
#include <set>
#include <vector>

#include "worker/inference/quant/method.h"
#include "worker/metrics/run_queue.h"
#include "worker/runner/build_info.h"

namespace bitsweep {
namespace {

std::string cpu_name() {
    std::ifstream info("/proc/cpuinfo");
    std::string line;
    while (std::getline(info, line)) {
        if (line.starts_with("model name")) {
            const std::size_t colon = line.find(": ");
            return colon == std::string::npos ? line : line.substr(colon + 2);
        }
    }
    return "unknown";
}

Provenance read_process_facts() {
    utsname names{};
    ::uname(&names);
    struct sysinfo machine {};
    ::sysinfo(&machine);
    return {
        {"engine_version", build_info::version},
        {"git", build_info::git},
        {"compiler", build_info::compiler},
        {"flags", build_info::flags},
        {"torch", build_info::torch},
        {"host", names.nodename},
        {"kernel", std::string(names.sysname) + " " + names.release + " " + names.machine},
        {"cpu", cpu_name()},
        {"cores", std::to_string(available_cores())},
        {"memory_bytes", std::to_string(machine.totalram * machine.mem_unit)},
        {"isa", vector_isa()},
    };
}

// One linear layer of each family, by the canonical names of worker/inference/models.
std::vector<std::string> sample_tensors() {
    return {"model.layers.0.self_attn.q_proj.weight",
            "model.layers.0.mlp.down_proj.weight",
            "transformer.h.0.attn.c_attn.weight",
            "transformer.h.0.mlp.c_proj.weight",
            "model.decoder.layers.0.self_attn.q_proj.weight",
            "model.decoder.layers.0.fc2.weight"};
}

}  // namespace

const Provenance& process_provenance() {
    static const Provenance facts = read_process_facts();
    return facts;
}

Provenance model_provenance(const ModelFiles& files) {
    std::set<std::string> types;
    for (const std::string& name : sample_tensors()) {
        if (files.weights->contains(name)) {
            types.insert(files.weights->stored_type(name));
        }
    }
    std::string joined;
    for (const std::string& type : types) {
        joined += (joined.empty() ? "" : ",") + type;
    }
    return {{"model_path", files.path.string()},
            {"model_format", files.format},
            {"weights_type", joined.empty() ? "unknown" : joined}};
}

}  // namespace bitsweep
