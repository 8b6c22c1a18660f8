#include "coordinator/server/loop.h"

#include <malloc.h>

#include <algorithm>
#include <map>

#include "coordinator/expand/card_condition.h"
#include "coordinator/server/convert.h"
#include "coordinator/server/recover.h"
#include "coordinator/server/resolve.h"

namespace bitsweep {

namespace {

// Between two looks at what is due, whatever is due: no circle.
constexpr Duration glance{5};

// A submission's text, cells and writes are many times the size of what is kept of it.
void give_memory_back() {
    malloc_trim(0);
}

Status put_job(StoreWriter& writer, const ExperimentName& experiment,
               const scheduler::JobRecord& job, Membership membership) {
    const StoredState state = to_stored_state(job);
    if (!job.is_sentinel()) {
        return writer.put_job(experiment, JobView{state, *job.cell}, membership);
    }
    return writer.put_job(
        experiment, JobView{state, *job.cell, job.sentinel->reference.value, job.sentinel->card},
        membership);
}

std::int64_t bounded_wait(Duration wait, TimePoint now, TimePoint due) {
    return std::clamp<std::int64_t>((due - now).ms, 0, wait.ms);
}

}  // namespace

Loop::Loop(Router& router, Store& store, Clock clock, LoopOptions options)
    : router_(router),
      store_(store),
      clock_(std::move(clock)),
      options_(std::move(options)),
      scheduler_(options_.scheduler),
      now_(clock_()),
      retry_wait_(options_.store_retry) {}

Status Loop::recover() {
    scheduler::Snapshot snapshot = TRY(bitsweep::recover(store_));
    now_ = clock_();
    scheduler_.restore(std::move(snapshot), now_);
    give_memory_back();
    return {};
}

std::optional<TimePoint> Loop::next_tick() const {
    const std::optional<TimePoint> due = scheduler_.next_deadline();
    return due && ticked_at_ ? std::max(*due, *ticked_at_ + glance) : due;
}

Duration Loop::wait() {
    if (!trouble_.empty()) {
        return {bounded_wait(options_.longest_wait, now_, retry_at_)};
    }
    const std::optional<TimePoint> due = next_tick();
    return {due ? bounded_wait(options_.longest_wait, now_, *due) : options_.longest_wait.ms};
}

void Loop::turn() {
    std::vector<Incoming> incoming = router_.receive(wait(), options_.most_messages);
    now_ = clock_();
    for (std::string& complaint : router_.complaints()) {
        if (options_.on_event) {
            options_.on_event(scheduler::LogEvent{"keys", {}, {}, std::move(complaint)});
        }
    }
    if (!trouble_.empty() && now_ >= retry_at_) {
        commit();  // the messages below find out whether the store is back
    }
    for (Incoming& message : incoming) {
        take(message);
    }
    // After a stall the queue may hold the heartbeats that keep leases alive: read them all first.
    if (trouble_.empty() && incoming.size() < options_.most_messages) {
        retry_unsettled();
        if (const std::optional<TimePoint> due = next_tick(); due && now_ >= *due) {
            ticked_at_ = now_;
            step(scheduler::Tick{});
        }
    }
    if (trouble_.empty()) {
        commit();
    }
    if (shrink_) {
        incoming.clear();
        pending_.writes.shrink_to_fit();
        give_memory_back();
        shrink_ = false;
    }
    forget_sessions();
}

Status Loop::flush() {
    now_ = clock_();
    commit();
    return trouble_.empty() ? Status{} : make_error(ErrorCode::io, trouble_);
}

// ---- scheduler's commands

void Loop::step(const scheduler::Event& event) {
    if (options_.on_input) {
        options_.on_input(now_, event);
    }
    std::vector<scheduler::Command> commands = scheduler_.step(now_, event);
    if (trouble_.empty()) {
        for (scheduler::Command& command : commands) {
            perform(pending_, command);
        }
        return;
    }
    Batch batch;
    for (scheduler::Command& command : commands) {
        perform(batch, command);
    }
    const bool at_once = !batch.binding;
    std::move(batch.writes.begin(), batch.writes.end(), std::back_inserter(pending_.writes));
    if (at_once) {
        std::vector<scheduler::Event> unsent;  // nothing is dispatched while the store is away
        for (const Outgoing& outgoing : batch.sends) {
            send(outgoing, unsent);
        }
        return;
    }
    std::move(batch.sends.begin(), batch.sends.end(), std::back_inserter(pending_.sends));
}

void Loop::perform(Batch& batch, scheduler::Command& command) {
    if (auto* send = std::get_if<scheduler::Send>(&command)) {
        const auto peer = sessions_.find(send->to);
        if (peer == sessions_.end()) {
            return;  // never heard of in this life of the coordinator
        }
        Outgoing outgoing{peer->second, send->to,
                          std::visit([](auto& m) { return Message(std::move(m)); }, send->message)};
        const bool early = (!options_.safety.acknowledge_after_commit &&
                            std::holds_alternative<ResultAck>(outgoing.message)) ||
                           (!options_.safety.dispatch_after_commit &&
                            std::holds_alternative<Dispatch>(outgoing.message));
        if (early) {
            std::vector<scheduler::Event> ignored;
            this->send(outgoing, ignored);
            return;
        }
        batch.sends.push_back(std::move(outgoing));
    } else if (auto* log = std::get_if<scheduler::LogEvent>(&command)) {
        if (options_.on_event) {
            options_.on_event(*log);
        }
        batch.writes.emplace_back(TimedEvent{now_, std::move(*log)});
    } else if (auto* instantiate = std::get_if<scheduler::Instantiate>(&command)) {
        unsettled_.push_back(std::move(*instantiate));
    } else if (auto* answer = std::get_if<scheduler::Answer>(&command)) {
        counts_.cells += answer->counts.cells;
        counts_.new_cells += answer->counts.new_cells;
        counts_.done += answer->counts.done;
        counts_.running += answer->counts.running;
        counts_.failed_before += answer->counts.failed_before;
        counts_.impossible += answer->counts.impossible;
        counts_.former += answer->counts.former;
    } else if (auto* obeyed = std::get_if<scheduler::Obeyed>(&command)) {
        obeyed_ = std::move(obeyed->answer);
    } else if (auto* new_job = std::get_if<scheduler::StoreNewJob>(&command)) {
        batch.writes.emplace_back(std::move(*new_job));
        batch.binding = true;
    } else if (auto* former = std::get_if<scheduler::StoreFormer>(&command)) {
        batch.writes.emplace_back(std::move(*former));
        batch.binding = true;
    } else if (auto* job = std::get_if<scheduler::StoreJob>(&command)) {
        batch.writes.emplace_back(to_stored_state(std::move(job->job)));
        batch.binding = true;
    } else if (auto* run = std::get_if<scheduler::StoreRun>(&command)) {
        batch.writes.emplace_back(std::move(*run));
        batch.binding = true;
    } else if (auto* sentinel = std::get_if<scheduler::StoreSentinel>(&command)) {
        batch.writes.emplace_back(std::move(*sentinel));
        batch.binding = true;
    } else if (auto* verdict = std::get_if<scheduler::StoreVerdict>(&command)) {
        batch.writes.emplace_back(std::move(*verdict));
        batch.binding = true;
    }
}

std::vector<Cell> Loop::cells_for_the_card(const scheduler::Instantiate& command,
                                           std::map<std::string, std::int64_t>& left_out) {
    const CardFacts card = card_facts(command.device);
    std::vector<Cell> cells;
    for (const Cell& cell : command.cells) {
        const CardVerdict verdict = decide_for_card(cell.card_condition.value_or(""), card);
        if (!verdict.runs) {
            ++left_out["`where` leaves them out on " + card.kind + ": " + verdict.why];
            continue;
        }
        cells.push_back(cell);
        cells.back().card_condition.reset();
    }
    for (const auto& [why, count] : left_out) {
        pending_.writes.emplace_back(
            TimedEvent{now_,
                       {"template",
                        {},
                        {},
                        command.experiment.value + ": " + std::to_string(count) + " cells, " + why,
                        command.experiment}});
    }
    return cells;
}

void Loop::settle(const scheduler::Instantiate& command) {
    std::map<std::string, std::int64_t> left_out;
    auto resolved = resolve_cells(store_, cells_for_the_card(command, left_out));
    if (resolved) {
        step(scheduler::CellsResolved{command.experiment, std::move(resolved).value(),
                                      command.force, command.retry_failed, std::move(left_out)});
    } else if (resolved.error().code == ErrorCode::invalid_input) {
        pending_.writes.emplace_back(
            TimedEvent{now_, {"template", {}, {}, resolved.error().message}});
    } else {
        unsettled_.push_back(command);
        stop_dispatch(resolved.error());
    }
}

void Loop::retry_unsettled() {
    for (std::size_t left = unsettled_.size(); left > 0 && trouble_.empty(); --left) {
        const scheduler::Instantiate command = std::move(unsettled_.front());
        unsettled_.pop_front();
        settle(command);
    }
}

void Loop::reply(const Peer& to, Message message) {
    pending_.sends.push_back({to, {}, std::move(message)});
}

// ---- persist, then send

Status Loop::write(StoreWriter& writer, const Write& write) {
    if (const auto* experiment = std::get_if<StoredExperiment>(&write)) {
        return writer.put_experiment(*experiment);
    }
    if (const auto* new_job = std::get_if<scheduler::StoreNewJob>(&write)) {
        return put_job(writer, new_job->experiment, new_job->job, Membership::asked);
    }
    if (const auto* former = std::get_if<scheduler::StoreFormer>(&write)) {
        StoredJob job;
        job.key = former->key;
        return writer.put_job(former->experiment, job, Membership::former);
    }
    if (const auto* state = std::get_if<StoredState>(&write)) {
        return writer.set_job(*state);
    }
    if (const auto* run = std::get_if<scheduler::StoreRun>(&write)) {
        return writer.put_run({*run->result, run->worker, run->device, run->device_kind,
                               run->device_name, run->shown ? RunUse::shown : RunUse::kept});
    }
    if (const auto* sentinel = std::get_if<scheduler::StoreSentinel>(&write)) {
        return put_job(writer, sentinel->experiment, sentinel->job, Membership::sentinel);
    }
    if (const auto* verdict = std::get_if<scheduler::StoreVerdict>(&write)) {
        FinishedRun later;
        later.result.key = verdict->key;
        later.result.attempt = verdict->attempt;
        later.result.measurements = {verdict->verdict};
        later.use = RunUse::verdict;
        return writer.put_run(later);
    }
    const auto& timed = std::get<TimedEvent>(write);
    return writer.put_event(timed.when, timed.event.kind, event_json(timed.event));
}

// True when nothing is left to write.
bool Loop::commit() {
    // Each round but the first comes from workers that turned out to be gone; one that is gone gets
    // nothing again, so the rounds end.
    while (!pending_.writes.empty() || !pending_.sends.empty()) {
        if (!pending_.writes.empty()) {
            // Known to be away, it is asked again without waiting: peers are answered meanwhile.
            const WhenLocked when_locked = trouble_.empty() ? WhenLocked::wait : WhenLocked::fail;
            const Status written = store_.transact(
                [&](StoreWriter& writer) -> Status {
                    for (const Write& one : pending_.writes) {
                        TRY(write(writer, one));
                    }
                    return {};
                },
                when_locked);
            if (!written) {
                stop_dispatch(written.error());
                return false;
            }
            pending_.writes.clear();
        }
        send_pending();
    }
    if (!trouble_.empty()) {
        resume_dispatch();
    }
    return true;
}

void Loop::send_pending() {
    std::vector<Outgoing> sends = std::move(pending_.sends);
    pending_.sends.clear();
    // What goes to one peer goes together, in its order.
    std::vector<std::vector<std::size_t>> groups;
    std::map<std::string_view, std::size_t> group_of;
    for (std::size_t i = 0; i < sends.size(); ++i) {
        if (!is_stale(sends[i])) {
            const auto [group, is_new] = group_of.emplace(sends[i].to.routing_id, groups.size());
            groups.resize(groups.size() + (is_new ? 1 : 0));
            groups[group->second].push_back(i);
        }
    }
    std::vector<scheduler::Event> unsent;
    for (const std::vector<std::size_t>& members : groups) {
        std::vector<Message> messages;
        messages.reserve(members.size());
        for (const std::size_t i : members) {
            messages.push_back(std::move(sends[i].message));
        }
        if (router_.send_all(sends[members.front()].to, messages)) {
            continue;
        }
        for (std::size_t i = 0; i < members.size(); ++i) {
            note_unsent(sends[members[i]].session, messages[i], unsent);
        }
    }
    for (const scheduler::Event& event : unsent) {
        step(event);
    }
}

// A dispatch that was taken back before it could leave, in the same turn or while the store was
// away; or whose attempt a newer process of its worker runs meanwhile.
bool Loop::is_stale(const Outgoing& outgoing) const {
    const auto* dispatch = std::get_if<Dispatch>(&outgoing.message);
    if (dispatch == nullptr) {
        return false;
    }
    const auto index = scheduler_.state().find(dispatch->key);
    ASSERT(index);
    const scheduler::Job& job = scheduler_.state().job(*index);
    const auto* running = std::get_if<scheduler::Running>(&job.state());
    return running == nullptr || job.attempt() != dispatch->attempt ||
           running->session != outgoing.session;
}

void Loop::send(const Outgoing& outgoing, std::vector<scheduler::Event>& unsent) {
    if (is_stale(outgoing)) {
        return;
    }
    if (!router_.send(outgoing.to, outgoing.message)) {
        note_unsent(outgoing.session, outgoing.message, unsent);
    }
}

// Everything but a dispatch comes again by itself: results are delivered until acknowledged,
// clients ask.
void Loop::note_unsent(const SessionId& session, const Message& message,
                       std::vector<scheduler::Event>& unsent) {
    if (const auto* dispatch = std::get_if<Dispatch>(&message)) {
        unsent.push_back(scheduler::DispatchUnsent{session, dispatch->key, dispatch->attempt});
    }
}

void Loop::stop_dispatch(const Error& error) {
    if (trouble_.empty()) {
        retry_wait_ = options_.store_retry;
        step(scheduler::StoreFailed{});
        if (options_.on_event) {
            options_.on_event({"stopped", {}, {}, error.message});
        }
    } else {
        retry_wait_ = std::min(Duration{retry_wait_.ms * 2}, options_.store_retry_max);
    }
    trouble_ = error.message.empty() ? "the database cannot be used" : error.message;
    retry_at_ = now_ + retry_wait_;
}

void Loop::resume_dispatch() {
    trouble_.clear();
    if (options_.on_event) {
        options_.on_event({"resumed", {}, {}, "the database can be written again"});
    }
    step(scheduler::StoreMended{});
    std::deque<Incoming> deferred = std::move(deferred_);
    deferred_.clear();
    for (Incoming& message : deferred) {
        take(message);
    }
}

}  // namespace bitsweep
