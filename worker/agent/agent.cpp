#include "worker/agent/agent.h"

#include <algorithm>
#include <type_traits>

namespace bitsweep::agent {

namespace {

// A coordinator hands out one job for each device; a second one may overtake the end of the first.
constexpr std::size_t waiting_limit = 4;

// Free memory moves all the time; a change of this share of it moves a decision.
constexpr std::uint64_t noticeable = 32;

bool matters(const DeviceState& told, const DeviceState& seen) {
    const std::uint64_t change = told.free_bytes > seen.free_bytes
                                     ? told.free_bytes - seen.free_bytes
                                     : seen.free_bytes - told.free_bytes;
    return told.foreign != seen.foreign || change > told.free_bytes / noticeable;
}

std::string short_key(const JobKey& key) {
    return key.value.substr(0, 12);
}

}  // namespace

Machine::Machine(Options options, TimePoint now)
    : options_(std::move(options)), now_(now), born_(now), hello_wait_(options_.hello_first) {
    for (const DeviceInfo& device : options_.self.devices) {
        devices_[device.id];
    }
    for (RunResult& result : options_.undelivered) {
        Id id{result.key, result.attempt};
        undelivered_[std::move(id)] = {std::move(result), {}};
    }
    options_.undelivered.clear();
}

std::vector<Command> Machine::step(TimePoint now, Event event) {
    now_ = now;
    out_.clear();
    if (phase_ != Phase::gone) {
        std::visit([this](auto& body) { handle(body); }, event);
    }
    return std::move(out_);
}

TimePoint Machine::next_wake() const {
    TimePoint wake = now_ + Duration{60'000};
    if (!ever_welcome_) {
        wake = std::min(wake, born_ + options_.patience);
    }
    if (options_.until && ending_ == Ending::no) {
        wake = std::min(wake, *options_.until);
    }
    if (phase_ == Phase::greeting) {
        wake = std::min(wake, hello_at_ + hello_wait_);
        if (link_up_) {
            wake = std::min(wake, unanswered_since_ + options_.unanswered);
        }
    }
    if (phase_ == Phase::working) {
        wake = std::min(wake, spoke_ + terms_.heartbeat);
        for (const auto& [id, entry] : undelivered_) {
            wake = std::min(wake, entry.sent + options_.resend);
        }
    }
    return wake;
}

void Machine::handle(const LinkUp&) {
    link_up_ = true;
    hello_wait_ = options_.hello_first;
    unanswered_since_ = now_;
    greet();
}

void Machine::handle(const LinkDown& event) {
    if (link_up_ || event.reason != last_reason_) {
        emit(Say{event.reason + (ever_welcome_ ? "; jobs go on, trying again" : "; trying again")});
    }
    link_up_ = false;
    last_reason_ = event.reason;
    phase_ = Phase::connecting;
}

void Machine::handle(const LinkRejected& event) {
    leave(make_error(ErrorCode::refused, event.reason));
}

void Machine::handle(Received& event) {
    heard_ = now_;
    std::visit(
        [this](auto& body) {
            if constexpr (requires { take(body); }) {
                take(body);
            }  // anything else is no word of a coordinator to a worker
        },
        event.message);
}

void Machine::handle(JobEnded& event) {
    RunResult& result = event.result;
    const Id id{result.key, result.attempt};
    for (auto& [name, slot] : devices_) {
        if (slot.running != id) {
            continue;
        }
        // After a stop the job goes back unharmed: a result `cancelled` would end it for good.
        const bool hand_back =
            ending_ == Ending::stop && result.outcome.outcome == OutcomeClass::cancelled;
        slot.running.reset();
        slot.killed = false;
        if (!hand_back) {
            emit(KeepResult{result});
            Undelivered& entry = undelivered_[id];
            entry.result = std::move(result);
            if (phase_ == Phase::working) {
                send_result(entry);
            }
        }
        start_next(slot);
        break;
    }
    leave_when_done();
}

void Machine::handle(const DevicesSeen& event) {
    for (const DeviceState& device : event.devices) {
        seen_[device.id] = device;
    }
}

void Machine::handle(const DrainAsked&) {
    if (ending_ == Ending::no) {
        ending_ = Ending::drain;
        for (auto& [name, slot] : devices_) {
            slot.waiting.clear();  // the goodbye hands them back
        }
    }
    leave_when_done();
}

void Machine::handle(const StopAsked&) {
    ending_ = Ending::stop;
    for (auto& [name, slot] : devices_) {
        slot.waiting.clear();
        kill(slot, "the worker was stopped");
    }
    leave_when_done();
}

void Machine::handle(const Tick&) {
    if (!ever_welcome_ && now_ >= born_ + options_.patience) {
        leave(make_error(ErrorCode::unavailable, "gave up: " + last_reason_));
        return;
    }
    if (options_.until && ending_ == Ending::no && now_ >= *options_.until) {
        emit(Say{"the time is up; what runs is finished"});
        handle(DrainAsked{});
        if (phase_ == Phase::gone) {
            return;
        }
    }
    if (phase_ == Phase::greeting && link_up_ && now_ >= unanswered_since_ + options_.unanswered) {
        give_up_connection();
        return;
    }
    if (phase_ == Phase::greeting && now_ >= hello_at_ + hello_wait_) {
        hello_wait_ = std::min(Duration{hello_wait_.ms * 2}, options_.hello_max);
        greet();
        return;
    }
    if (phase_ != Phase::working) {
        return;
    }
    if (now_ >= heard_ + std::max(terms_.lease, terms_.heartbeat)) {
        hello_wait_ = options_.hello_first;
        unanswered_since_ = now_;
        greet();
        return;
    }
    if (now_ >= spoke_ + terms_.heartbeat) {
        beat();
    }
    for (auto& [id, entry] : undelivered_) {
        if (now_ >= entry.sent + options_.resend) {
            send_result(entry);
        }
    }
}

void Machine::take(const Welcome& message) {
    if (!ever_welcome_) {
        emit(Say{"connected; waiting for jobs"});
    } else if (phase_ != Phase::working) {
        emit(Say{"connected again"});
    }
    const bool was_working = phase_ == Phase::working;
    ever_welcome_ = true;
    terms_ = message;
    terms_.heartbeat = std::max(terms_.heartbeat, Duration{10});
    phase_ = Phase::working;
    if (was_working) {
        return;  // an answer to a heartbeat
    }
    hello_wait_ = options_.hello_first;
    spoke_ = now_;
    told_.clear();
    for (auto& [id, entry] : undelivered_) {
        send_result(entry);
    }
    leave_when_done();
}

void Machine::take(Dispatch& message) {
    const Id id{message.key, message.attempt};
    if (const auto known = undelivered_.find(id); known != undelivered_.end()) {
        send_result(known->second);  // done already: the result was lost on its way
        return;
    }
    const auto found = devices_.find(message.device);
    if (phase_ != Phase::working || ending_ != Ending::no) {
        return;  // the next hello or the goodbye says that it does not run here
    }
    if (found == devices_.end()) {
        emit(Send{
            Refusal{ErrorCode::not_found, "this worker has no device `" + message.device + "`"}});
        return;
    }
    Slot& slot = found->second;
    const auto same = [&](const Dispatch& job) {
        return job.key == message.key && job.attempt == message.attempt;
    };
    if (slot.running == id || std::any_of(slot.waiting.begin(), slot.waiting.end(), same)) {
        return;
    }
    if (slot.waiting.size() >= waiting_limit) {
        emit(Send{Refusal{ErrorCode::unavailable,
                          "device `" + message.device + "` of this worker is busy"}});
        return;
    }
    if (slot.running && slot.running->first == message.key) {
        kill(slot, "attempt " + std::to_string(message.attempt.value) + " replaces it");
    }
    slot.waiting.push_back(std::move(message));
    start_next(slot);
}

void Machine::take(const Cancel& message) {
    for (auto& [name, slot] : devices_) {
        std::erase_if(slot.waiting, [&](const Dispatch& job) {
            return job.key == message.key && job.attempt == message.attempt;
        });
        if (slot.running == Id{message.key, message.attempt}) {
            kill(slot, message.reason);
        }
    }
}

void Machine::take(const ResultAck& message) {
    if (undelivered_.erase({message.key, message.attempt}) > 0) {
        emit(DropResult{message.key, message.attempt});
    }
    leave_when_done();
}

void Machine::take(const Drain&) {
    emit(Say{"the coordinator has no more jobs for this worker"});
    handle(DrainAsked{});
}

void Machine::take(const Refusal& message) {
    if (message.code == ErrorCode::already_exists) {
        leave(make_error(ErrorCode::refused, "the coordinator refused: " + message.reason));
        return;
    }
    const bool greeted = phase_ == Phase::greeting;
    if (greeted && message.code != ErrorCode::unavailable && message.code != ErrorCode::not_found) {
        leave(make_error(ErrorCode::refused, "the coordinator refused: " + message.reason));
        return;
    }
    if (message.protocol_wanted != protocol_version) {
        leave(make_error(ErrorCode::unsupported,
                         "the coordinator speaks protocol " +
                             std::to_string(message.protocol_wanted) + ", this worker " +
                             std::to_string(protocol_version) + ": " + message.reason));
        return;
    }
    emit(Say{"the coordinator refused: " + message.reason});
    // It started again and does not know this session, or it takes nothing more from us: the answer
    // to a new hello tells.
    if (phase_ == Phase::working &&
        (message.code == ErrorCode::not_found || message.code == ErrorCode::refused)) {
        unanswered_since_ = now_;
        greet();
    }
}

void Machine::greet() {
    phase_ = Phase::greeting;
    hello_at_ = now_;
    Hello hello = options_.self;
    hello.running = running();
    hello.clear = options_.self.clear && !ever_welcome_;  // a person looked once, before the start
    if (options_.until) {
        hello.remaining = std::max(*options_.until - now_, Duration{1});
    }
    emit(Send{std::move(hello)});
}

void Machine::give_up_connection() {
    const std::string reason = "no answer on a connection that stands";
    link_up_ = false;
    last_reason_ = reason;
    phase_ = Phase::connecting;
    emit(Say{reason + "; connecting anew"});
    emit(Reconnect{reason});
}

void Machine::beat() {
    Heartbeat heartbeat{options_.self.session, running(), {}};
    for (const auto& [id, device] : seen_) {
        const auto known = told_.find(id);
        if (known == told_.end() || matters(known->second, device)) {
            told_[id] = device;
            heartbeat.devices.push_back(device);
        }
    }
    emit(Send{std::move(heartbeat)});
    spoke_ = now_;
}

void Machine::send_result(Undelivered& entry) {
    entry.sent = now_;
    emit(Send{ResultDelivery{options_.self.session, entry.result}});
}

void Machine::start_next(Slot& slot) {
    if (slot.running || slot.waiting.empty() || ending_ != Ending::no) {
        return;
    }
    Dispatch job = std::move(slot.waiting.front());
    slot.waiting.pop_front();
    slot.running = Id{job.key, job.attempt};
    Started started{options_.self.session, job.key, job.attempt, job.device};
    emit(StartJob{std::move(job)});
    if (phase_ == Phase::working) {
        emit(Send{std::move(started)});
    }
}

void Machine::kill(Slot& slot, std::string reason) {
    if (slot.running && !slot.killed) {
        slot.killed = true;
        const auto& [key, attempt] = *slot.running;
        emit(Say{"stopping job " + short_key(key) + ": " + reason});
        emit(KillJob{key, attempt, std::move(reason)});
    }
}

void Machine::leave_when_done() {
    if (ending_ == Ending::no || !idle()) {
        return;
    }
    // A drained worker waits until everything is acknowledged; a stopped one leaves the rest on
    // disk for its next start.
    if (ending_ == Ending::drain && (!undelivered_.empty() && ever_welcome_)) {
        return;
    }
    if (phase_ == Phase::working) {
        emit(Send{Goodbye{options_.self.session}});
    }
    leave(std::nullopt);
}

void Machine::leave(std::optional<Error> error) {
    for (auto& [name, slot] : devices_) {
        kill(slot, "the worker ends");
    }
    phase_ = Phase::gone;
    emit(Leave{std::move(error)});
}

std::vector<RunningJob> Machine::running() const {
    std::vector<RunningJob> jobs;
    for (const auto& [name, slot] : devices_) {
        if (slot.running) {
            jobs.push_back({slot.running->first, slot.running->second});
        }
        for (const Dispatch& job : slot.waiting) {
            jobs.push_back({job.key, job.attempt});
        }
    }
    // A finished job counts as running until its result is acknowledged, so that a coordinator
    // that started again does not hand it out once more.
    for (const auto& [id, entry] : undelivered_) {
        jobs.push_back({id.first, id.second});
    }
    return jobs;
}

bool Machine::idle() const {
    return std::all_of(devices_.begin(), devices_.end(), [](const auto& entry) {
        return !entry.second.running && entry.second.waiting.empty();
    });
}

}  // namespace bitsweep::agent
