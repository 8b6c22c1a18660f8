#include "coordinator/server/convert.h"

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <utility>

#include "coordinator/scheduler/packed_key.h"

namespace bitsweep {

namespace {

// The words of jobs.shown, in the order of scheduler::Shown.
constexpr const char* shown_words[] = {"nothing", "flagged", "valid"};

void append_json_string(std::string& json, std::string_view text) {
    json += '"';
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            json += '\\';
            json += c;
        } else if (byte < 0x20) {
            char escaped[8];
            std::snprintf(escaped, sizeof escaped, "\\u%04x", byte);
            json += escaped;
        } else {
            json += c;
        }
    }
    json += '"';
}

}  // namespace

StoredState to_stored_state(scheduler::JobRecord job) {
    StoredState stored;
    stored.key = std::move(job.key);
    // A delay is not worth keeping through a restart: the job simply waits.
    stored.state = std::holds_alternative<scheduler::Backoff>(job.state)
                       ? "waiting"
                       : std::string(scheduler::state_word(job.state));
    stored.attempt = job.attempt;
    stored.crashes = job.crashes;
    stored.failures = job.failures;
    stored.last_outcome = job.last_outcome;
    stored.last_message = std::move(job.last_message);
    stored.kinds_tried = std::move(job.kinds_tried);
    stored.outgrew_bytes = job.outgrew_bytes;
    stored.windows_again = job.windows_again;
    stored.shown = shown_words[static_cast<std::size_t>(job.shown)];
    if (auto* running = std::get_if<scheduler::Running>(&job.state)) {
        stored.worker = std::move(running->worker);
        stored.session = std::move(running->session);
        stored.device = std::move(running->device);
    }
    return stored;
}

Result<scheduler::JobRecord> from_stored(StoredJob job) {
    if (!scheduler::PackedKey::holds(job.key.value)) {
        return make_error(ErrorCode::corrupt, "`" + job.key.value.substr(0, 80) +
                                                  "` is no key of a job: 64 hex digits");
    }
    scheduler::JobRecord record;
    record.key = std::move(job.key);
    record.cell = std::make_shared<const Cell>(std::move(job.cell));
    record.attempt = job.attempt;
    record.crashes = job.crashes;
    record.failures = job.failures;
    record.last_outcome = job.last_outcome;
    record.last_message = std::move(job.last_message);
    record.kinds_tried = std::move(job.kinds_tried);
    record.outgrew_bytes = job.outgrew_bytes;
    record.windows_again = job.windows_again;
    if (!job.reference.empty()) {
        record.sentinel = std::make_shared<const scheduler::SentinelOf>(
            scheduler::SentinelOf{job.reference, job.card});
    }
    const auto shown = std::find(std::begin(shown_words), std::end(shown_words), job.shown);
    if (shown != std::end(shown_words)) {
        record.shown = static_cast<scheduler::Shown>(shown - std::begin(shown_words));
    }
    if (job.state == "waiting") {
        record.state = scheduler::Waiting{};
    } else if (job.state == "running") {
        record.state = scheduler::Running{job.worker, job.session, job.device, {}, {}, true};
    } else if (job.state == "done") {
        record.state = scheduler::Done{};
    } else if (job.state == "failed") {
        record.state = scheduler::Failed{record.last_outcome, record.last_message};
    } else if (job.state == "cancelled") {
        record.state = scheduler::Cancelled{record.last_message};
    } else {
        return make_error(ErrorCode::corrupt,
                          "job " + record.key.value + " is stored in the unknown state `" +
                              job.state + "`: open this database with the release that wrote it");
    }
    return record;
}

std::string event_json(const scheduler::LogEvent& event) {
    std::string json = "{";
    if (!event.key.empty()) {
        json += "\"key\":";
        append_json_string(json, event.key.value);
        json += ",\"attempt\":" + std::to_string(event.attempt.value) + ",";
    }
    for (const auto& [name, value] :
         {std::pair{"experiment", &event.experiment.value},
          std::pair{"worker", &event.worker.value}, std::pair{"device", &event.device},
          std::pair{"card", &event.card}}) {
        if (!value->empty()) {
            json += "\"" + std::string(name) + "\":";
            append_json_string(json, *value);
            json += ',';
        }
    }
    json += "\"text\":";
    append_json_string(json, event.text);
    return json + "}";
}

}  // namespace bitsweep
