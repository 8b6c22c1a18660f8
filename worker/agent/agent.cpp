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
    for (KeptResult& kept : options_.undelivered) {
        Id id{kept.result.key, kept.result.attempt};
        undelivered_[{kept.database, std::move(id)}] = {std::move(kept.result), {}};
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
        for (const auto& [owed, entry] : undelivered_) {
            if (owed.first == terms_.database) {
                wake = std::min(wake, entry.sent + options_.resend);
            }
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
            emit(KeepResult{{result, slot.database}});
            Undelivered& entry = undelivered_[{slot.database, id}];
            entry.result = std::move(result);
            if (phase_ == Phase::working && slot.database == terms_.database) {
                send_result(entry);
            }
        }
        break;
    }
    for (auto& [name, slot] : devices_) {
        start_next(slot);
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
    for (auto& [owed, entry] : undelivered_) {
        if (owed.first == terms_.database && now_ >= entry.sent + options_.resend) {
            send_result(entry);
        }
    }
}

void Machine::send_what_is_owed() {
    std::size_t others = 0;
    for (auto& [owed, entry] : undelivered_) {
        if (owed.first == terms_.database) {
            send_result(entry);
        } else {
            ++others;
        }
    }
    if (others > 0) {
        emit(Say{"kept for another database until its coordinator is connected to: " +
                 std::to_string(others) + (others == 1 ? " result" : " results")});
    }
}

void Machine::take(const Welcome& message) {
    if (!ever_welcome_) {
        emit(Say{"connected; waiting for jobs"});
    } else if (phase_ != Phase::working) {
        emit(Say{"connected again"});
    }
    const bool was_working = phase_ == Phase::working && terms_.database == message.database;
    if (ever_welcome_ && terms_.database != message.database) {
        for (auto& [name, slot] : devices_) {
            slot.waiting.clear();  // handed out by the one before, who misses them
        }
    }
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
    send_what_is_owed();
    leave_when_done();
}

void Machine::take(Dispatch& message) {
    const Id id{message.key, message.attempt};
    if (const auto known = undelivered_.find({terms_.database, id}); known != undelivered_.end()) {
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
    const bool ours = slot.database == terms_.database;
    if ((ours && slot.running == id) ||
        std::any_of(slot.waiting.begin(), slot.waiting.end(), same)) {
        return;
    }
    if (slot.waiting.size() >= waiting_limit) {
        emit(Send{Refusal{ErrorCode::unavailable,
                          "device `" + message.device + "` of this worker is busy"}});
        return;
    }
    if (ours && slot.running && slot.running->first == message.key) {
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
        if (slot.running == Id{message.key, message.attempt} && slot.database == terms_.database) {
            kill(slot, message.reason);
        }
    }
}

void Machine::take(const ResultAck& message) {
    if (undelivered_.erase({terms_.database, {message.key, message.attempt}}) > 0) {
        emit(DropResult{terms_.database, message.key, message.attempt});
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
    hello.database = database_of_hello();
    hello.running = running(hello.database);
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
    Heartbeat heartbeat{options_.self.session, running(terms_.database), {}};
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
    if (runs(Id{slot.waiting.front().key, slot.waiting.front().attempt})) {
        return;  // for another database; two runs of one name could not be told apart
    }
    Dispatch job = std::move(slot.waiting.front());
    slot.waiting.pop_front();
    slot.running = Id{job.key, job.attempt};
    slot.database = terms_.database;
    Started started{options_.self.session, job.key, job.attempt, job.device};
    emit(StartJob{std::move(job)});
    if (phase_ == Phase::working) {
        emit(Send{std::move(started)});
    }
}

bool Machine::runs(const Id& id) const {
    return std::any_of(devices_.begin(), devices_.end(),
                       [&](const auto& entry) { return entry.second.running == id; });
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
    // A drained worker waits until everything is acknowledged that this coordinator can take; a
    // stopped one leaves the rest on disk for its next start.
    const auto is_owed = [this](const auto& entry) { return entry.first.first == terms_.database; };
    if (ending_ == Ending::drain && ever_welcome_ &&
        std::any_of(undelivered_.begin(), undelivered_.end(), is_owed)) {
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

// Before the first welcome nobody knows which database it will be: that of the results found.
std::string Machine::database_of_hello() const {
    return ever_welcome_ || undelivered_.empty() ? terms_.database
                                                 : undelivered_.rbegin()->first.first;
}

std::vector<RunningJob> Machine::running(const std::string& database) const {
    std::vector<RunningJob> jobs;
    for (const auto& [name, slot] : devices_) {
        if (slot.running && slot.database == database) {
            jobs.push_back({slot.running->first, slot.running->second});
        }
        for (const Dispatch& job : slot.waiting) {
            if (database == terms_.database) {
                jobs.push_back({job.key, job.attempt});
            }
        }
    }
    // A finished job counts as running until its result is acknowledged, so that a coordinator
    // that started again does not hand it out once more.
    for (const auto& [owed, entry] : undelivered_) {
        if (owed.first == database) {
            jobs.push_back({owed.second.first, owed.second.second});
        }
    }
    return jobs;
}

bool Machine::idle() const {
    return std::all_of(devices_.begin(), devices_.end(), [](const auto& entry) {
        return !entry.second.running && entry.second.waiting.empty();
    });
}

}  // namespace bitsweep::agent
