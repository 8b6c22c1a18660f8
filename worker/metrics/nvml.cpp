#include "worker/metrics/nvml.h"

#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "worker/metrics/nvml_abi.h"

namespace bitsweep {
namespace {

using nvml::Code;
using nvml::Device;

// Processes of one card in one reading; more are not counted one by one.
constexpr unsigned most_processes = 256;

std::int64_t now_ns() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

template <class T>
std::optional<T> value_or_nothing(const Reading<T>& reading) {
    return reading ? std::optional<T>(*reading) : std::nullopt;
}

}  // namespace

// The open library and the calls on it. A symbol that an older driver lacks is a reading that is
// not available.
struct NvmlDevice::Library {
    void* handle = nullptr;
    bool started = false;

    ~Library() {
        if (started) {
            (void)call("nvmlShutdown");
        }
        if (handle != nullptr) {
            ::dlclose(handle);
        }
    }

    template <class... Arguments>
    Status call(const char* name, Arguments... arguments) const {
        void* symbol = ::dlsym(handle, name);
        if (symbol == nullptr) {
            return make_error(ErrorCode::unavailable, std::string("this driver has no ") + name);
        }
        const Code code = reinterpret_cast<Code (*)(Arguments...)>(symbol)(arguments...);
        if (code != nvml::success) {
            return make_error(
                code == nvml::not_supported ? ErrorCode::unsupported : ErrorCode::unavailable,
                std::string(name) + ": " + words(code));
        }
        return {};
    }

    std::string words(Code code) const {
        void* symbol = ::dlsym(handle, "nvmlErrorString");
        const char* text =
            symbol == nullptr ? nullptr : reinterpret_cast<const char* (*)(Code)>(symbol)(code);
        return text == nullptr ? "NVML error " + std::to_string(code) : text;
    }

    Reading<double> number(const char* name, Device device, double scale) const {
        unsigned value = 0;
        TRY(call(name, device, &value));
        return value * scale;
    }
    Reading<double> number_of(const char* name, Device device, int what) const {
        unsigned value = 0;
        TRY(call(name, device, what, &value));
        return static_cast<double>(value);
    }
    Reading<std::uint64_t> count(const char* name, Device device) const {
        unsigned long long value = 0;
        TRY(call(name, device, &value));
        return std::uint64_t{value};
    }
    Reading<std::uint64_t> ecc_errors(Device device, int type) const {
        unsigned long long value = 0;
        TRY(call("nvmlDeviceGetTotalEccErrors", device, type, nvml::ecc_volatile, &value));
        return std::uint64_t{value};
    }
    Reading<std::uint64_t> slowed_ns(Device device, int policy) const {
        nvml::ViolationTime time{};
        TRY(call("nvmlDeviceGetViolationStatus", device, policy, &time));
        return std::uint64_t{time.violation_ns};
    }
    Reading<std::uint64_t> used_bytes(Device device) const {
        nvml::Memory memory{};
        TRY(call("nvmlDeviceGetMemoryInfo", device, &memory));
        return std::uint64_t{memory.used};
    }
    Reading<bool> mode(const char* name, Device device) const {
        unsigned current = 0, pending = 0;
        TRY(call(name, device, &current, &pending));
        return current != 0;
    }
    Reading<std::string> text(const char* name, Device device) const {
        char buffer[nvml::text_bytes] = {};
        TRY(call(name, device, static_cast<char*>(buffer), nvml::text_bytes - 1));
        return std::string(buffer);
    }
    Reading<std::string> driver() const {
        char buffer[nvml::text_bytes] = {};
        TRY(call("nvmlSystemGetDriverVersion", static_cast<char*>(buffer), nvml::text_bytes - 1));
        return std::string(buffer);
    }
    Reading<std::uint64_t> throttle(Device device) const {
        // Renamed in CUDA 12.2; drivers export both, those of before only the first.
        constexpr const char* old_name = "nvmlDeviceGetCurrentClocksThrottleReasons";
        return count(::dlsym(handle, old_name) != nullptr
                         ? old_name
                         : "nvmlDeviceGetCurrentClocksEventReasons",
                     device);
    }
    Reading<std::vector<nvml::ProcessInfo>> processes(Device device) const {
        const bool today = ::dlsym(handle, "nvmlDeviceGetComputeRunningProcesses_v3") != nullptr;
        std::vector<nvml::ProcessInfo> found(most_processes);
        unsigned count = most_processes;
        TRY(call(today ? "nvmlDeviceGetComputeRunningProcesses_v3"
                       : "nvmlDeviceGetComputeRunningProcesses_v2",
                 device, &count, found.data()));
        found.resize(std::min(count, most_processes));
        return found;
    }
};

NvmlDevice::NvmlDevice(std::unique_ptr<Library> library, void* device)
    : library_(std::move(library)), device_(device) {}

NvmlDevice::~NvmlDevice() = default;

Result<std::unique_ptr<NvmlDevice>> NvmlDevice::open(const std::string& pci_bus_id,
                                                     const std::string& library) {
    auto opened = std::make_unique<Library>();
    opened->handle = ::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (opened->handle == nullptr) {
        const char* words = ::dlerror();
        return make_error(ErrorCode::unavailable,
                          "NVML cannot be loaded (is an NVIDIA driver installed?): " +
                              std::string(words == nullptr ? library : words));
    }
    TRY(opened->call("nvmlInit_v2"));
    opened->started = true;
    Device device = nullptr;
    Status found = opened->call("nvmlDeviceGetHandleByPciBusId_v2", pci_bus_id.c_str(), &device);
    if (!found) {
        return make_error(ErrorCode::not_found,
                          "card " + pci_bus_id + ": " + found.error().message);
    }
    return std::unique_ptr<NvmlDevice>(new NvmlDevice(std::move(opened), device));
}

DeviceFacts NvmlDevice::facts() const {
    const Library& nvml = *library_;
    return {
        .name = nvml.text("nvmlDeviceGetName", device_),
        .uuid = nvml.text("nvmlDeviceGetUUID", device_),
        .driver = nvml.driver(),
        .power_limit_w = nvml.number("nvmlDeviceGetEnforcedPowerLimit", device_, 1e-3),
        .max_sm_mhz = nvml.number_of("nvmlDeviceGetMaxClockInfo", device_, nvml::clock_sm),
        .max_memory_mhz = nvml.number_of("nvmlDeviceGetMaxClockInfo", device_, nvml::clock_memory),
        .ecc = nvml.mode("nvmlDeviceGetEccMode", device_),
        .mig = nvml.mode("nvmlDeviceGetMigMode", device_)};
}

DeviceSnapshot NvmlDevice::state() const {
    const Library& nvml = *library_;
    DeviceSnapshot state{
        .sm_mhz = nvml.number_of("nvmlDeviceGetClockInfo", device_, nvml::clock_sm),
        .memory_mhz = nvml.number_of("nvmlDeviceGetClockInfo", device_, nvml::clock_memory),
        .temperature_c =
            nvml.number_of("nvmlDeviceGetTemperature", device_, nvml::temperature_of_gpu),
        .power_w = nvml.number("nvmlDeviceGetPowerUsage", device_, 1e-3),
        .throttle = nvml.throttle(device_),
        .power_slowed_ns = nvml.slowed_ns(device_, nvml::policy_power),
        .thermal_slowed_ns = nvml.slowed_ns(device_, nvml::policy_thermal),
        .ecc_corrected = nvml.ecc_errors(device_, nvml::ecc_corrected),
        .ecc_uncorrected = nvml.ecc_errors(device_, nvml::ecc_uncorrected),
        .used_bytes = nvml.used_bytes(device_)};
    read_processes(state);
    // Last, beside the time: the two make the window of the energy.
    state.energy_mj = energy_mj();
    state.at_ns = now_ns();
    return state;
}

Reading<std::uint64_t> NvmlDevice::energy_mj() const {
    return library_->count("nvmlDeviceGetTotalEnergyConsumption", device_);
}

DeviceSample NvmlDevice::sample() const {
    const Library& nvml = *library_;
    DeviceSample sample;
    sample.sm_mhz =
        value_or_nothing(nvml.number_of("nvmlDeviceGetClockInfo", device_, nvml::clock_sm));
    sample.memory_mhz =
        value_or_nothing(nvml.number_of("nvmlDeviceGetClockInfo", device_, nvml::clock_memory));
    sample.temperature_c = value_or_nothing(
        nvml.number_of("nvmlDeviceGetTemperature", device_, nvml::temperature_of_gpu));
    sample.power_w = value_or_nothing(nvml.number("nvmlDeviceGetPowerUsage", device_, 1e-3));
    sample.throttle = value_or_nothing(nvml.throttle(device_));
    sample.energy_mj = value_or_nothing(energy_mj());
    sample.at_ns = now_ns();
    return sample;
}

// A process that holds a context is listed under its own id, unless it lives in a container with
// ids of its own: then nobody here can say which entry is ours, and nothing is claimed.
void NvmlDevice::read_processes(DeviceSnapshot& to) const {
    const Reading<std::vector<nvml::ProcessInfo>> listed = library_->processes(device_);
    if (!listed) {
        to.process_bytes = listed.error();
        to.foreign = listed.error();
        return;
    }
    const auto own = static_cast<unsigned>(::getpid());
    std::vector<DeviceProcess> others;
    bool own_listed = false;
    to.process_bytes = make_error(ErrorCode::unavailable, "this process is not among the " +
                                                              std::to_string(listed->size()) +
                                                              " compute processes that NVML lists");
    for (const nvml::ProcessInfo& one : *listed) {
        if (one.pid != own) {
            others.push_back({one.pid, one.used_bytes == nvml::no_value ? 0 : one.used_bytes});
            continue;
        }
        own_listed = true;
        if (one.used_bytes == nvml::no_value) {
            to.process_bytes = make_error(ErrorCode::unavailable,
                                          "NVML does not say how much memory this process uses");
        } else {
            to.process_bytes = std::uint64_t{one.used_bytes};
        }
    }
    if (own_listed || others.empty()) {
        to.foreign = std::move(others);
    } else {
        to.foreign = make_error(ErrorCode::unavailable,
                                "NVML lists " + std::to_string(others.size()) +
                                    " compute processes and not this one: it has no CUDA context, "
                                    "or its process ids are a container's");
    }
}

}  // namespace bitsweep
