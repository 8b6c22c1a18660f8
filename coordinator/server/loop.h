// The one loop that sees socket, clock and store. A turn takes all messages that are there, steps
// the scheduler with each, writes everything in one transaction and only then sends: nobody hears
// of a dispatch or an acknowledgement that a crash could undo.
//
// When the store cannot be written, nothing is handed out or acknowledged; what was decided is kept
// and written as soon as the store works again. Heartbeats and status go on meanwhile.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "coordinator/scheduler/scheduler.h"
#include "coordinator/server/pieces.h"
#include "coordinator/transport/router.h"
#include "results/store/store.h"

namespace bitsweep {

enum class RoleCheck {
    by_role,  // submit, work and read may do what transport/zap.h says
    open,     // no keys: loopback only, everybody may do everything
};

// Rules that the simulator's mutants switch off; production code never touches them.
struct LoopSafety {
    bool acknowledge_after_commit = true;
    bool dispatch_after_commit = true;
    bool answer_after_commit = true;
};

struct LoopOptions {
    scheduler::Options scheduler;
    RoleCheck roles = RoleCheck::by_role;
    Duration longest_wait{500};  // so that a stop flag is seen
    Duration store_retry{200};   // doubles
    Duration store_retry_max{5'000};
    std::size_t most_messages = 1'024;  // of one turn: results of 100 KiB are 100 MiB
    LoopSafety safety;
    std::function<void(const scheduler::LogEvent&)> on_event;  // may be empty
    // Everything that the scheduler is told, so that a test can tell it again. May be empty.
    std::function<void(TimePoint, const scheduler::Event&)> on_input;
};

class Loop {
 public:
    using Clock = std::function<TimePoint()>;

    // Router and store outlive the loop.
    Loop(Router& router, Store& store, Clock clock, LoopOptions options);

    // Once, before the first turn. Errors: those of recover.h.
    Status recover();

    // Waits for messages at most until something is due, and takes care of it.
    void turn();

    // Writes and sends what is left; io when the store still refuses.
    Status flush();

    bool shutdown_asked() const { return shutdown_asked_; }
    const scheduler::Scheduler& scheduler() const { return scheduler_; }
    const std::string& store_trouble() const { return trouble_; }  // empty: none

 private:
    struct TimedEvent {
        TimePoint when;
        scheduler::LogEvent event;
    };
    using Write = std::variant<StoredExperiment, scheduler::StoreNewJob, scheduler::StoreFormer,
                               StoredState, scheduler::StoreSentinel, scheduler::StoreRun,
                               scheduler::StoreVerdict, TimedEvent>;
    struct Outgoing {
        Peer to;
        SessionId session;
        Message message;
    };
    struct Batch {
        std::vector<Write> writes;
        std::vector<Outgoing> sends;
        bool binding = false;  // sends must wait for the writes; log lines alone bind nothing
    };

    void take(Incoming& incoming);
    void take_from_worker(const Peer& from, const SessionId& session, Message& message);
    void handle(const Peer& from, Message& message);
    void submit(const Peer& from, Submit& submit);
    void control(const Peer& from, Control& control);
    void explain(const Peer& from, const ExplainRequest& question);
    Result<Submitted> accept_submission(Submit& submit);
    bool defer(const Peer& from, Message& message);
    std::string stranger(const Peer& from, const Message& message) const;

    void step(const scheduler::Event& event);
    void perform(Batch& batch, scheduler::Command& command);
    void settle(const scheduler::Instantiate& command);
    // The cells that the device may run; says and counts by why what `where` leaves out.
    std::vector<Cell> cells_for_the_card(const scheduler::Instantiate& command,
                                         std::map<std::string, std::int64_t>& left_out);
    void retry_unsettled();
    void reply(const Peer& to, Message message);
    void refuse(const Peer& to, ErrorCode code, std::string reason);

    bool commit();
    Status write(StoreWriter& writer, const Write& write);
    void send_pending();
    bool is_stale(const Outgoing& outgoing) const;
    void send(const Outgoing& outgoing, std::vector<scheduler::Event>& unsent);
    static void note_unsent(const SessionId& session, const Message& message,
                            std::vector<scheduler::Event>& unsent);
    void stop_dispatch(const Error& error);
    void resume_dispatch();
    void forget_sessions();
    std::optional<TimePoint> next_tick() const;
    Duration wait();

    Router& router_;
    Store& store_;
    Clock clock_;
    LoopOptions options_;
    scheduler::Scheduler scheduler_;
    TimePoint now_;

    Batch pending_;
    std::map<SessionId, Peer> sessions_;  // how to reach a worker process
    std::deque<scheduler::Instantiate> unsettled_;
    std::deque<Incoming> deferred_;             // came while the store was away
    Pieces pieces_;                             // of submissions whose last one has not come
    Submitted counts_;                          // of the submission in progress
    std::optional<Result<Controlled>> obeyed_;  // the order in progress

    std::optional<TimePoint> ticked_at_;  // the scheduler last looked at what is due

    std::string trouble_;
    TimePoint retry_at_;
    Duration retry_wait_;
    bool shutdown_asked_ = false;
    bool shrink_ = false;  // something large was taken in and can be given back
};

}  // namespace bitsweep
