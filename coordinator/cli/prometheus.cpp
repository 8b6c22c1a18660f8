// A status reply as Prometheus reads it (exposition format 0.0.4).
#include <cstdio>
#include <map>

#include "coordinator/cli/live_page.h"

namespace bitsweep {

namespace {

std::string label(const std::string& value) {
    std::string text;
    for (const char c : value) {
        if (c == '\\' || c == '"') {
            text += '\\';
        }
        text += c == '\n' ? ' ' : c;
    }
    return "\"" + text + "\"";
}

// One family of the exposition: help, type, samples.
class Family {
 public:
    Family(std::string name, const char* type, const char* help)
        : name_("bitsweep_" + std::move(name)),
          text_("# HELP " + name_ + " " + help + "\n# TYPE " + name_ + " " + type + "\n") {}

    void add(const std::string& labels, double value) {
        char number[32];
        std::snprintf(number, sizeof number, "%.15g", value);
        text_ += name_ + (labels.empty() ? "" : "{" + labels + "}") + " " + number + "\n";
    }

    const std::string& text() const { return text_; }

 private:
    std::string name_;
    std::string text_;
};

std::string experiment_families(const StatusReply& reply) {
    Family jobs("jobs", "gauge", "Jobs of an experiment by state.");
    Family failures("failed_jobs", "gauge", "Jobs that failed for good, by class.");
    Family retries("retries_total", "counter", "Attempts that were done again, by reason.");
    Family left("left_seconds", "gauge", "Estimated time until every job has ended.");
    for (const ExperimentStatus& experiment : reply.experiments) {
        const std::string name = "experiment=" + label(experiment.experiment.value);
        for (const auto& [state, count] : experiment.jobs) {
            jobs.add(name + ",state=" + label(state), static_cast<double>(count));
        }
        for (const auto& [outcome, count] : experiment.failures) {
            failures.add(name + ",class=" + label(outcome), static_cast<double>(count));
        }
        for (const auto& [reason, count] : experiment.retries) {
            retries.add(name + ",reason=" + label(reason), static_cast<double>(count));
        }
        if (experiment.eta_ms >= 0) {
            left.add(name, static_cast<double>(experiment.eta_ms) / 1'000);
        }
    }
    return jobs.text() + failures.text() + retries.text() + left.text();
}

std::string worker_families(const StatusReply& reply) {
    Family workers("workers", "gauge", "Workers by state.");
    Family silent("worker_silent_seconds", "gauge", "Time since the worker's last word.");
    Family running("worker_running_jobs", "gauge", "Jobs that the worker runs.");
    Family loads("weight_loads_total", "counter", "Jobs for which weights had to be loaded.");
    Family saved("weight_loads_saved_total", "counter", "Jobs whose runner held the weights.");
    Family memory("device_memory_bytes", "gauge", "Memory of a device.");
    Family free("device_free_bytes", "gauge", "Memory of a device that a job could use.");
    std::map<std::string, int> by_state;
    for (const WorkerStatus& worker : reply.workers) {
        ++by_state[worker.state];
        const std::string name = "worker=" + label(worker.worker.value);
        silent.add(name, static_cast<double>(worker.silent_ms) / 1'000);
        running.add(name, static_cast<double>(worker.running.size()));
        loads.add(name, static_cast<double>(worker.loads));
        saved.add(name, static_cast<double>(worker.loads_saved));
        for (const DeviceInfo& device : worker.devices) {
            const std::string which =
                name + ",device=" + label(device.id) + ",kind=" + label(device.kind);
            memory.add(which, static_cast<double>(device.memory_bytes));
            free.add(which, static_cast<double>(device.free_bytes));
        }
    }
    for (const auto& [state, count] : by_state) {
        workers.add("state=" + label(state), count);
    }
    return workers.text() + silent.text() + running.text() + loads.text() + saved.text() +
           memory.text() + free.text();
}

}  // namespace

std::string to_prometheus(const Result<StatusReply>& reply) {
    Family up("up", "gauge", "Whether the coordinator answers.");
    up.add("", reply ? 1 : 0);
    if (!reply) {
        return up.text();
    }
    Family dispatching("dispatching", "gauge", "Whether the coordinator hands out jobs.");
    dispatching.add("", reply->state == "running" ? 1 : 0);
    return up.text() + dispatching.text() + experiment_families(*reply) + worker_families(*reply);
}

}  // namespace bitsweep
