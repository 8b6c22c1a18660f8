#include "worker/metrics/device_monitor.h"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

#include "worker/metrics/statistics.h"

namespace bitsweep {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int periods_seen = 6;
constexpr auto longest_silence = std::chrono::seconds(1);
constexpr auto poll_every = std::chrono::microseconds(500);

std::int64_t now_ns() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch())
        .count();
}

// Every reading of a card that cannot be read says why, once and everywhere.
DeviceSnapshot unread_state(const Error& why) {
    return {.at_ns = now_ns(),
            .sm_mhz = why,
            .memory_mhz = why,
            .temperature_c = why,
            .power_w = why,
            .throttle = why,
            .energy_mj = why,
            .power_slowed_ns = why,
            .thermal_slowed_ns = why,
            .ecc_corrected = why,
            .ecc_uncorrected = why,
            .used_bytes = why,
            .process_bytes = why,
            .foreign = why};
}

DeviceFacts unread_facts(const Error& why) {
    return {.name = why,
            .uuid = why,
            .driver = why,
            .power_limit_w = why,
            .max_sm_mhz = why,
            .max_memory_mhz = why,
            .ecc = why,
            .mig = why};
}

}  // namespace

Reading<double> energy_counter_period(const NvmlDevice& device) {
    std::uint64_t last = TRY(device.energy_mj());
    std::vector<double> periods;
    Clock::time_point changed{};
    Clock::time_point heard = Clock::now();
    while (static_cast<int>(periods.size()) < periods_seen) {
        std::this_thread::sleep_for(poll_every);
        const std::uint64_t energy = TRY(device.energy_mj());
        const Clock::time_point now = Clock::now();
        if (energy == last) {
            if (now - heard > longest_silence) {
                return make_error(ErrorCode::timeout,
                                  "the card's energy counter did not change for a second");
            }
            continue;
        }
        if (changed != Clock::time_point{}) {
            periods.push_back(std::chrono::duration<double>(now - changed).count());
        }
        last = energy;
        changed = heard = now;
    }
    return *median(periods);
}

// The sampling thread, alive as long as this object.
struct DeviceMonitor::Sampler {
    explicit Sampler(const NvmlDevice& device)
        : thread_([this, &device](std::stop_token stop) { run(device, stop); }) {}

    std::vector<DeviceSample> stop() {
        thread_.request_stop();
        thread_.join();
        return std::move(samples_);
    }

 private:
    void run(const NvmlDevice& device, std::stop_token stop) {
        auto next = Clock::now();
        std::unique_lock guard(lock_);
        while (samples_.size() < most_device_samples) {
            // A late sample does not make the next one early: the rate stays bounded.
            next = std::max(next, Clock::now()) + std::chrono::nanoseconds(sample_period_ns);
            wake_.wait_until(guard, stop, next, [] { return false; });
            if (stop.stop_requested()) {
                return;
            }
            samples_.push_back(device.sample());
        }
    }

    std::mutex lock_;
    std::condition_variable_any wake_;
    std::vector<DeviceSample> samples_;
    std::jthread thread_;  // last: it uses the members above
};

DeviceMonitor::DeviceMonitor(const std::string& pci_bus_id, const std::string& library)
    : device_(NvmlDevice::open(pci_bus_id, library)), cpu_before_(not_read()) {
    if (device_) {
        record_.facts = (*device_)->facts();
        record_.energy_period_s = energy_counter_period(**device_);
    } else {
        record_.facts = unread_facts(device_.error());
        record_.energy_period_s = device_.error();
    }
}

DeviceMonitor::~DeviceMonitor() = default;

DeviceSnapshot DeviceMonitor::state() const {
    return device_ ? (*device_)->state() : unread_state(device_.error());
}

void DeviceMonitor::note_context() {
    record_.context = state();
}

void DeviceMonitor::note_loaded() {
    record_.loaded = state();
}

void DeviceMonitor::begin() {
    sampler_.reset();
    cpu_before_ = read_cpu_energy();
    record_.before = state();
    if (device_) {
        sampler_ = std::make_unique<Sampler>(**device_);
    }
}

std::optional<double> DeviceMonitor::energy_period_s() const {
    return record_.energy_period_s ? std::optional(*record_.energy_period_s) : std::nullopt;
}

std::optional<double> DeviceMonitor::temperature_c() const {
    return device_ ? (*device_)->sample().temperature_c : std::nullopt;
}

bool DeviceMonitor::reads_energy() const {
    return record_.before.energy_mj.ok() || record_.before.power_w.ok();
}

DeviceRecord DeviceMonitor::end(std::int64_t tokens) {
    ASSERT(record_.before.at_ns != 0);
    DeviceRecord record = record_;
    record.tokens = tokens;
    record.after = state();
    if (sampler_) {
        record.samples = sampler_->stop();
        sampler_.reset();
    }
    const Result<CpuEnergy> cpu_after = read_cpu_energy();
    if (!cpu_before_) {
        record.cpu_energy_j = cpu_before_.error();
    } else if (!cpu_after) {
        record.cpu_energy_j = cpu_after.error();
    } else {
        record.cpu_energy_j = joules_between(*cpu_before_, *cpu_after);
    }
    return record;
}

}  // namespace bitsweep
