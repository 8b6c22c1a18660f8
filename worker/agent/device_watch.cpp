#include "worker/agent/device_watch.h"

#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <optional>

namespace bitsweep::agent {

namespace {

std::string program_of(pid_t pid) {
    std::ifstream stream("/proc/" + std::to_string(pid) + "/comm");
    std::string name;
    std::getline(stream, name);
    return name;
}

}  // namespace

std::uint64_t host_memory_free() {
    std::ifstream stream("/proc/meminfo");
    std::string name;
    std::uint64_t kib = 0;
    std::string unit;
    while (stream >> name >> kib) {
        std::getline(stream, unit);
        if (name == "MemAvailable:") {
            return kib << 10;
        }
    }
    return 0;
}

// Resident less file-backed pages: mapped weights are the page cache's and count as available.
std::uint64_t resident_bytes(pid_t pid) {
    std::ifstream stream("/proc/" + std::to_string(pid) + "/statm");
    std::uint64_t size = 0;
    std::uint64_t resident = 0;
    std::uint64_t shared = 0;
    if (!(stream >> size >> resident >> shared) || resident < shared) {
        return 0;
    }
    return (resident - shared) * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

// The few calls of NVML that are needed, by hand: no build needs its header, and its binary
// interface is kept stable by version suffixes (NVML API reference, nvmlMemory_t,
// nvmlProcessInfo_t).
class DeviceWatch::Nvml {
 public:
    using Handle = void*;
    struct Memory {
        unsigned long long total = 0;
        unsigned long long free = 0;
        unsigned long long used = 0;
    };
    struct Process {
        unsigned pid = 0;
        unsigned long long used_bytes = 0;
        unsigned gpu_instance = 0;
        unsigned compute_instance = 0;
    };

    // nullptr: no driver here.
    static std::unique_ptr<Nvml> load() {
        std::unique_ptr<Nvml> nvml(new Nvml);
        nvml->library_ = dlopen("libnvidia-ml.so.1", RTLD_LAZY | RTLD_LOCAL);
        if (nvml->library_ == nullptr) {
            return nullptr;
        }
        int (*init)() = nullptr;
        const bool all = nvml->find("nvmlInit_v2", init) &&
                         nvml->find("nvmlShutdown", nvml->shutdown_) &&
                         nvml->find("nvmlDeviceGetHandleByPciBusId_v2", nvml->by_bus_) &&
                         nvml->find("nvmlDeviceGetHandleByIndex_v2", nvml->by_index_) &&
                         nvml->find("nvmlDeviceGetMemoryInfo", nvml->memory_) &&
                         nvml->find("nvmlDeviceGetComputeRunningProcesses_v3", nvml->processes_);
        if (!all || init() != 0) {
            nvml->shutdown_ = nullptr;
            return nullptr;
        }
        return nvml;
    }

    ~Nvml() {
        if (shutdown_ != nullptr) {
            shutdown_();
        }
        if (library_ != nullptr) {
            dlclose(library_);
        }
    }

    // Its number says nothing where CUDA_VISIBLE_DEVICES renumbers, so the bus goes first.
    std::optional<Handle> device(const DeviceInfo& info) const {
        Handle handle = nullptr;
        const auto bus = info.facts.find("pci_bus_id");
        if (bus != info.facts.end()) {
            return by_bus_(bus->second.c_str(), &handle) == 0 ? std::optional(handle)
                                                              : std::nullopt;
        }
        const auto index = static_cast<unsigned>(std::atoi(info.id.c_str() + 5));  // "cuda:"
        return by_index_(index, &handle) == 0 ? std::optional(handle) : std::nullopt;
    }

    std::optional<Memory> memory(Handle device) const {
        Memory memory;
        return memory_(device, &memory) == 0 ? std::optional(memory) : std::nullopt;
    }

    std::vector<Process> processes(Handle device) const {
        std::vector<Process> list(64);
        auto count = static_cast<unsigned>(list.size());
        if (processes_(device, &count, list.data()) != 0) {
            count = 0;
        }
        list.resize(std::min<std::size_t>(count, list.size()));
        return list;
    }

 private:
    Nvml() = default;

    template <class Function>
    bool find(const char* name, Function*& into) {
        into = reinterpret_cast<Function*>(dlsym(library_, name));
        return into != nullptr;
    }

    void* library_ = nullptr;
    int (*shutdown_)() = nullptr;
    int (*by_bus_)(const char*, Handle*) = nullptr;
    int (*by_index_)(unsigned, Handle*) = nullptr;
    int (*memory_)(Handle, Memory*) = nullptr;
    int (*processes_)(Handle, unsigned*, Process*) = nullptr;
};

namespace {

// Who computes there besides us, in words. Inside a container the driver's process numbers are the
// host's: while a runner of ours is on the device, only those that can be seen here count.
template <class Process>
std::string foreigners(const std::vector<Process>& processes, const std::vector<pid_t>& own) {
    for (const Process& process : processes) {
        const auto pid = static_cast<pid_t>(process.pid);
        if (std::find(own.begin(), own.end(), pid) != own.end()) {
            continue;
        }
        const std::string program = program_of(pid);
        if (own.empty() || !program.empty()) {
            return "pid " + std::to_string(pid) + (program.empty() ? "" : ", " + program);
        }
    }
    return "";
}

}  // namespace

DeviceWatch::DeviceWatch(const std::vector<DeviceInfo>& devices) : devices_(devices) {
    const bool any_gpu = std::any_of(devices.begin(), devices.end(),
                                     [](const DeviceInfo& device) { return device.id != "cpu"; });
    if (any_gpu) {
        nvml_ = Nvml::load();
    }
}

DeviceWatch::~DeviceWatch() = default;

std::vector<DeviceState> DeviceWatch::look(const std::vector<OwnRunner>& own) const {
    std::vector<DeviceState> states;
    for (const DeviceInfo& info : devices_) {
        DeviceState state;
        state.id = info.id;
        std::vector<pid_t> pids;
        for (const OwnRunner& runner : own) {
            if (runner.device == info.id) {
                pids.push_back(runner.pid);
            }
        }
        if (info.id == "cpu") {
            state.free_bytes = host_memory_free();
            for (const pid_t pid : pids) {
                state.free_bytes += resident_bytes(pid);
            }
            states.push_back(std::move(state));
            continue;
        }
        const auto device = nvml_ ? nvml_->device(info) : std::nullopt;
        const auto memory = device ? nvml_->memory(*device) : std::nullopt;
        if (!memory) {
            continue;
        }
        const std::vector<Nvml::Process> processes = nvml_->processes(*device);
        state.free_bytes = memory->free;
        for (const Nvml::Process& process : processes) {
            const auto pid = static_cast<pid_t>(process.pid);
            const bool known = process.used_bytes != ~0ull;
            if (known && std::find(pids.begin(), pids.end(), pid) != pids.end()) {
                state.free_bytes += process.used_bytes;
            }
        }
        state.foreign = foreigners(processes, pids);
        states.push_back(std::move(state));
    }
    return states;
}

}  // namespace bitsweep::agent
