// What each message does to the loop; see loop.h.
#include <algorithm>

#include "coordinator/scheduler/explain.h"
#include "coordinator/server/loop.h"
#include "coordinator/server/resolve.h"
#include "coordinator/server/status_view.h"
#include "coordinator/transport/zap.h"
#include "schemas/catalog/canonical_forms.h"

namespace bitsweep {

namespace {

constexpr std::size_t most_deferred = 256;  // results of 100 KiB: 25 MiB; the rest comes again
constexpr std::size_t longest_name = 200;
constexpr std::size_t large_submission = 1'000;  // cells; below it there is nothing to give back
constexpr std::size_t longest_yaml = 1u << 20;   // matrix.md

// They leave the cells, each with its spec key.
Result<std::vector<Cell>> take_templates(std::vector<Cell>& cells) {
    const auto is_template = [](const Cell& cell) { return cell.spec.gpu == "*"; };
    std::vector<Cell> templates;
    CanonicalForms forms;
    for (const Cell& cell : cells) {
        if (is_template(cell)) {
            TRY(check_cell(cell));
            templates.push_back(cell);
            templates.back().identity.spec_key = forms.key(cell.spec);
        }
    }
    std::erase_if(cells, is_template);
    return templates;
}

// The session a message of a worker speaks for; nullptr: not a worker's message.
const SessionId* session_of(const Message& message) {
    return std::visit(
        [](const auto& body) -> const SessionId* {
            if constexpr (requires { body.session; }) {
                return &body.session;
            } else {
                return nullptr;
            }
        },
        message);
}

}  // namespace

void Loop::refuse(const Peer& to, ErrorCode code, std::string reason) {
    reply(to, Refusal{code, std::move(reason)});
}

void Loop::take(Incoming& incoming) {
    if (!incoming.message) {
        refuse(incoming.from, incoming.message.error().code, incoming.message.error().message);
        return;
    }
    Message& message = *incoming.message;
    if (std::holds_alternative<Refusal>(message)) {
        return;  // answering a refusal with a refusal would never end
    }
    if (options_.roles == RoleCheck::by_role) {
        if (const Status allowed = check_role(incoming.from.role, message); !allowed) {
            refuse(incoming.from, allowed.error().code, allowed.error().message);
            return;
        }
    }
    if (!trouble_.empty() && defer(incoming.from, message)) {
        return;
    }
    if (const SessionId* session = session_of(message)) {
        take_from_worker(incoming.from, SessionId(*session), message);
    } else {
        handle(incoming.from, message);
    }
}

// While the store is away: what would have to be stored waits, as far as there is room.
bool Loop::defer(const Peer& from, Message& message) {
    if (std::holds_alternative<Submit>(message) || std::holds_alternative<Control>(message)) {
        std::vector<scheduler::Event> ignored;
        send({from, {}, Refusal{ErrorCode::unavailable, "the coordinator is stopped: " + trouble_}},
             ignored);
        return true;
    }
    if (std::holds_alternative<ResultDelivery>(message) ||
        std::holds_alternative<Goodbye>(message)) {
        if (deferred_.size() < most_deferred) {
            deferred_.push_back({from, std::move(message)});
        }
        return true;
    }
    return false;
}

// Why this peer may not speak for this session or take this worker's name; empty: it may.
std::string Loop::stranger(const Peer& from, const Message& message) const {
    const SessionId& session = *session_of(message);
    const auto known = sessions_.find(session);
    if (known != sessions_.end() && known->second.name != from.name) {
        return "this session belongs to the access file " + known->second.name;
    }
    if (const auto* hello = std::get_if<Hello>(&message)) {
        for (const auto& [other, worker] : scheduler_.state().workers()) {
            const auto owner = sessions_.find(other);
            if (worker.name == hello->worker && owner != sessions_.end() &&
                owner->second.name != from.name) {
                return "the name " + hello->worker.value + " belongs to the access file " +
                       owner->second.name;
            }
        }
    }
    return {};
}

void Loop::take_from_worker(const Peer& from, const SessionId& session, Message& message) {
    if (const std::string why = stranger(from, message); !why.empty()) {
        refuse(from, ErrorCode::refused, why);
        return;
    }
    Peer& known = sessions_[session];
    if (known.routing_id != from.routing_id || known.key != from.key || known.name != from.name) {
        known = from;  // a peer that connected again has another routing id
    }
    if (auto* hello = std::get_if<Hello>(&message)) {
        step(std::move(*hello));
        if (trouble_.empty()) {
            retry_unsettled();
        }
    } else if (auto* heartbeat = std::get_if<Heartbeat>(&message)) {
        step(std::move(*heartbeat));
    } else if (auto* started = std::get_if<Started>(&message)) {
        step(std::move(*started));
    } else if (auto* delivery = std::get_if<ResultDelivery>(&message)) {
        step(scheduler::ResultArrived{
            session, std::make_shared<const RunResult>(std::move(delivery->result))});
    } else if (auto* goodbye = std::get_if<Goodbye>(&message)) {
        step(std::move(*goodbye));
    }
}

void Loop::handle(const Peer& from, Message& message) {
    if (auto* request = std::get_if<StatusRequest>(&message)) {
        StatusReply view = status_view(scheduler_.state(), now_, request->experiment, trouble_);
        std::vector<scheduler::Event> ignored;
        send({from, {}, std::move(view)}, ignored);
    } else if (auto* request = std::get_if<Submit>(&message)) {
        submit(from, *request);
    } else if (auto* order = std::get_if<Control>(&message)) {
        control(from, *order);
    } else if (auto* question = std::get_if<ExplainRequest>(&message)) {
        explain(from, *question);
    } else if (std::holds_alternative<Shutdown>(message)) {
        shutdown_asked_ = true;
    } else {
        refuse(from, ErrorCode::invalid_input,
               "this message is for a worker or a client, not for the coordinator");
    }
}

void Loop::submit(const Peer& from, Submit& submit) {
    const ExperimentName experiment = submit.experiment;
    // Cells of an earlier submission must be findable in the store.
    if (!commit()) {
        Message message(std::move(submit));
        defer(from, message);
        return;
    }
    Result<std::optional<Submit>> whole = pieces_.take(from.routing_id, std::move(submit), now_);
    if (!whole) {
        refuse(from, whole.error().code, whole.error().message);
        return;
    }
    if (!*whole) {
        Submitted receipt;
        receipt.experiment = experiment;
        receipt.cells = static_cast<std::int64_t>(pieces_.cells(from.routing_id));
        reply(from, receipt);
        return;
    }
    const std::size_t cells = (*whole)->cells.size();
    Result<Submitted> accepted = accept_submission(**whole);
    shrink_ = shrink_ || cells >= large_submission;
    if (accepted) {
        reply(from, std::move(accepted).value());
    } else {
        refuse(from, accepted.error().code, accepted.error().message);
    }
}

void Loop::control(const Peer& from, Control& control) {
    obeyed_.reset();
    step(std::move(control));
    ASSERT(obeyed_);
    if (*obeyed_ && !options_.safety.answer_after_commit) {
        std::vector<scheduler::Event> ignored;
        send({from, {}, std::move(*obeyed_).value()}, ignored);
    } else if (*obeyed_) {
        reply(from, std::move(*obeyed_).value());
    } else {
        refuse(from, obeyed_->error().code, obeyed_->error().message);
    }
}

void Loop::explain(const Peer& from, const ExplainRequest& question) {
    const Result<Explanation> told =
        scheduler::explain(scheduler_.state(), question.job, now_, trouble_);
    std::vector<scheduler::Event> ignored;
    if (told) {
        send({from, {}, *told}, ignored);
    } else {
        send({from, {}, Refusal{told.error().code, told.error().message}}, ignored);
    }
}

Result<Submitted> Loop::accept_submission(Submit& submit) {
    if (submit.experiment.empty() || submit.experiment.value.size() > longest_name) {
        return make_error(ErrorCode::invalid_input,
                          "an experiment needs a name of 1 to 200 characters");
    }
    if (submit.yaml.size() > longest_yaml) {
        return make_error(ErrorCode::invalid_input, "the experiment file is longer than 1 MiB");
    }
    if (submit.cells.empty()) {
        return make_error(ErrorCode::invalid_input,
                          "experiment " + submit.experiment.value + " has no cells");
    }
    scheduler::Submission submission;
    submission.experiment = submit.experiment;
    submission.force = submit.force;
    submission.retry_failed = submit.retry_failed;
    submission.max_fails = submit.max_fails;
    std::vector<Cell> cells = std::move(submit.cells);
    submission.templates = TRY(take_templates(cells));
    submission.cells = TRY(resolve_cells(store_, std::move(cells)));

    pending_.writes.emplace_back(StoredExperiment{submit.experiment, std::move(submit.yaml),
                                                  std::move(submit.tags), now_,
                                                  submission.templates, submission.max_fails});
    counts_ = {};
    step(std::move(submission));
    retry_unsettled();
    counts_.experiment = submit.experiment;
    pending_.writes.emplace_back(
        TimedEvent{now_,
                   {"submitted",
                    {},
                    {},
                    submit.experiment.value + ": " + std::to_string(counts_.cells) + " cells, " +
                        std::to_string(counts_.new_cells) + " new",
                    submit.experiment}});
    return counts_;
}

void Loop::forget_sessions() {
    pieces_.forget_the_silent(now_);
    if (sessions_.size() > scheduler_.state().workers().size()) {
        std::erase_if(sessions_, [&](const auto& entry) {
            return scheduler_.state().find_worker(entry.first) == nullptr;
        });
    }
}

}  // namespace bitsweep
