// Rows of what NVML and RAPL said about the measured window.
#include <algorithm>

#include "worker/metrics/device_window.h"
#include "worker/metrics/metric_functions.h"
#include "worker/metrics/statistics.h"

namespace bitsweep {
namespace {

template <class T>
Value value_of(const Reading<T>& reading) {
    return reading ? Value(static_cast<double>(*reading)) : std::nullopt;
}

Value flag(const MetricInput& input, std::optional<bool> WindowVerdict::*which) {
    if (input.device == nullptr) {
        return std::nullopt;
    }
    const std::optional<bool> set = judge_window(*input.device).*which;
    return set ? Value(*set ? 1 : 0) : std::nullopt;
}

std::vector<double> samples_of(const MetricInput& input,
                               std::optional<double> DeviceSample::*which) {
    return input.device == nullptr ? std::vector<double>{} : device_series(*input.device, which);
}

// How much a counter grew over the window.
Value growth(const MetricInput& input, Reading<std::uint64_t> DeviceSnapshot::*which) {
    if (input.device == nullptr) {
        return std::nullopt;
    }
    const Reading<std::uint64_t>& before = input.device->before.*which;
    const Reading<std::uint64_t>& after = input.device->after.*which;
    if (!before || !after || *after < *before) {
        return std::nullopt;
    }
    return static_cast<double>(*after - *before);
}

// Millijoules a token.
Value per_token(const MetricInput& input, double joules) {
    if (input.device->tokens <= 0) {
        return std::nullopt;
    }
    return joules * 1e3 / static_cast<double>(input.device->tokens);
}

std::optional<WindowEnergy> energy_of(const MetricInput& input) {
    if (input.device == nullptr) {
        return std::nullopt;
    }
    const Reading<WindowEnergy> energy = window_energy(*input.device);
    return energy ? std::optional(*energy) : std::nullopt;
}

std::optional<DeviceMemory> memory_of(const MetricInput& input) {
    if (input.device == nullptr) {
        return std::nullopt;
    }
    const Reading<DeviceMemory> memory = device_memory(*input.device);
    return memory ? std::optional(*memory) : std::nullopt;
}

}  // namespace

std::vector<double> device_series(const DeviceRecord& record,
                                  std::optional<double> DeviceSample::*which) {
    std::vector<double> values;
    for (const DeviceSample& sample : record.samples) {
        if (const std::optional<double> value = sample.*which) {
            values.push_back(*value);
        }
    }
    return values;
}

Value energy_per_token(const MetricInput& input) {
    const auto energy = energy_of(input);
    return energy ? per_token(input, energy->joules) : std::nullopt;
}

Value energy_resolution(const MetricInput& input) {
    const auto energy = energy_of(input);
    return energy ? Value(energy->resolution) : std::nullopt;
}

Value mean_power(const MetricInput& input) {
    const auto energy = energy_of(input);
    return energy ? Value(energy->joules / energy->seconds) : std::nullopt;
}

Value cpu_energy_per_token(const MetricInput& input) {
    if (input.device != nullptr) {
        return input.device->cpu_energy_j ? per_token(input, *input.device->cpu_energy_j)
                                          : std::nullopt;
    }
    std::int64_t tokens = 0;
    for (const SequenceTrace& sequence : input.trace.sequences) {
        tokens += sequence.batch * (1 + static_cast<std::int64_t>(sequence.token_ns.size()));
    }
    if (!input.cpu_energy_j || tokens == 0) {
        return std::nullopt;
    }
    return *input.cpu_energy_j * 1e3 / static_cast<double>(tokens);
}

Value sm_clock_mean(const MetricInput& input) {
    return mean(samples_of(input, &DeviceSample::sm_mhz));
}

Value sm_clock_min(const MetricInput& input) {
    return minimum(samples_of(input, &DeviceSample::sm_mhz));
}

Value memory_clock_mean(const MetricInput& input) {
    return mean(samples_of(input, &DeviceSample::memory_mhz));
}

Value temperature_before(const MetricInput& input) {
    return input.device == nullptr ? std::nullopt : value_of(input.device->before.temperature_c);
}

Value temperature_max(const MetricInput& input) {
    return percentile(samples_of(input, &DeviceSample::temperature_c), 1);
}

Value throttle_s(const MetricInput& input) {
    return input.device == nullptr ? std::nullopt : value_of(slowed_seconds(*input.device));
}

Value foreign_processes(const MetricInput& input) {
    if (input.device == nullptr || !input.device->before.foreign || !input.device->after.foreign) {
        return std::nullopt;
    }
    return static_cast<double>(
        std::max(input.device->before.foreign->size(), input.device->after.foreign->size()));
}

Value ecc_corrected_errors(const MetricInput& input) {
    return growth(input, &DeviceSnapshot::ecc_corrected);
}

Value ecc_uncorrected_errors(const MetricInput& input) {
    return growth(input, &DeviceSnapshot::ecc_uncorrected);
}

Value window_s(const MetricInput& input) {
    return input.device == nullptr ? std::nullopt : Value(input.device->seconds());
}

Value device_samples(const MetricInput& input) {
    return input.device == nullptr ? std::nullopt
                                   : Value(static_cast<double>(input.device->samples.size()));
}

Value window_throttled(const MetricInput& input) {
    return flag(input, &WindowVerdict::throttled);
}

Value window_foreign_process(const MetricInput& input) {
    return flag(input, &WindowVerdict::foreign_process);
}

Value window_clock_drift(const MetricInput& input) {
    return flag(input, &WindowVerdict::clock_drift);
}

Value window_temperature_drift(const MetricInput& input) {
    return flag(input, &WindowVerdict::temperature_drift);
}

Value device_memory_bytes(const MetricInput& input) {
    const auto memory = memory_of(input);
    return memory ? Value(static_cast<double>(memory->bytes)) : std::nullopt;
}

Value device_context_bytes(const MetricInput& input) {
    const auto memory = memory_of(input);
    return memory ? Value(static_cast<double>(memory->context)) : std::nullopt;
}

// Negative where the ledger counts more than the card holds.
Value device_memory_gap_bytes(const MetricInput& input) {
    const auto memory = memory_of(input);
    if (!memory || input.ledger.total() == 0) {
        return std::nullopt;
    }
    return static_cast<double>(memory->bytes) - static_cast<double>(memory->context) -
           static_cast<double>(input.ledger.total());
}

}  // namespace bitsweep
