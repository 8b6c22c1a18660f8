// The worker's side of the session as a pure machine: events in, commands out, time an argument.
// No sockets, files, processes or clocks here; agent_loop.h connects it to them.
//
//   connecting --link up--> greeting --welcome--> working --drain--> draining --all acked--> gone
//        ^                     |  ^                  |
//        +------ link down ----+--+---- silence -----+        stop: kill what runs, goodbye, gone
//
// A job keeps running through every loss of the coordinator; its result is kept on disk and sent
// again after each welcome of the database that asked for it until it is acknowledged.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "schemas/message.h"
#include "schemas/status.h"
#include "schemas/time.h"
#include "worker/agent/kept_result.h"

namespace bitsweep::agent {

// ---- events
struct LinkUp {};  // a handshake was completed, the first or a later one
struct LinkDown {
    std::string reason;
};
struct LinkRejected {  // our key is not authorised, or the server is another one
    std::string reason;
};
struct Received {
    Message message;
};
struct JobEnded {  // the runner answered or died; its process may still be closing
    RunResult result;
};
struct DevicesSeen {  // how they are now; passed on with the next heartbeat where it matters
    std::vector<DeviceState> devices;
};
struct DrainAsked {};  // finish what runs, then leave
struct StopAsked {};   // leave now: what runs is killed and goes back to the coordinator
struct Tick {};

using Event = std::variant<LinkUp, LinkDown, LinkRejected, Received, JobEnded, DevicesSeen,
                           DrainAsked, StopAsked, Tick>;

// ---- commands, to be carried out in order
struct Send {
    Message message;
};
struct StartJob {
    Dispatch dispatch;
};
struct KillJob {  // answered by JobEnded with outcome `cancelled`, as any end of a job
    JobKey key;
    Attempt attempt;
    std::string reason;
};
struct KeepResult {  // on disk before the next command is carried out
    KeptResult kept;
};
struct DropResult {
    std::string database;
    JobKey key;
    Attempt attempt;
};
struct Say {  // one line for the person at this terminal
    std::string line;
};
struct Reconnect {  // the connection stands and nobody answers on it: give it up, make another
    std::string reason;
};
struct Leave {  // end the worker; an error is why it cannot go on
    std::optional<Error> error;
};

using Command =
    std::variant<Send, StartJob, KillJob, KeepResult, DropResult, Say, Reconnect, Leave>;

struct Options {
    Hello self;                           // everything but `running` and `remaining`
    std::optional<TimePoint> until;       // drains by itself then
    std::vector<KeptResult> undelivered;  // found in the outbox at start
    Duration patience{60'000};            // for the first welcome; then the worker gives up
    Duration hello_first{250};            // between two hellos; doubles
    Duration hello_max{8'000};
    Duration resend{5'000};  // an unacknowledged result is sent again
    // An unanswered hello on a connection that stands: a router that forgot it drops everything and
    // closes nothing, and libzmq itself would take 40 s to see that.
    Duration unanswered{5'000};
};

class Machine {
 public:
    Machine(Options options, TimePoint now);

    std::vector<Command> step(TimePoint now, Event event);

    // When a Tick is due at the latest.
    TimePoint next_wake() const;

 private:
    using Id = std::pair<JobKey, Attempt>;
    using Owed = std::pair<std::string, Id>;  // and to which database
    struct Slot {                             // one device
        std::optional<Id> running;
        std::string database;          // that asked for it
        std::deque<Dispatch> waiting;  // handed out while the device was still busy
        bool killed = false;
    };
    struct Undelivered {
        RunResult result;
        TimePoint sent{};
    };
    enum class Phase { connecting, greeting, working, gone };
    enum class Ending { no, drain, stop };

    void handle(const LinkUp& event);
    void handle(const LinkDown& event);
    void handle(const LinkRejected& event);
    void handle(Received& event);
    void handle(JobEnded& event);
    void handle(const DevicesSeen& event);
    void handle(const DrainAsked& event);
    void handle(const StopAsked& event);
    void handle(const Tick& event);

    void take(const Welcome& message);
    void take(Dispatch& message);
    void take(const Cancel& message);
    void take(const ResultAck& message);
    void take(const Drain& message);
    void take(const Refusal& message);

    void greet();
    void give_up_connection();
    void beat();
    void send_result(Undelivered& entry);
    void send_what_is_owed();
    std::string database_of_hello() const;
    void start_next(Slot& slot);
    bool runs(const Id& id) const;
    void kill(Slot& slot, std::string reason);
    void leave_when_done();
    void leave(std::optional<Error> error);
    std::vector<RunningJob> running(const std::string& database) const;
    bool idle() const;
    void emit(Command command) { out_.push_back(std::move(command)); }

    Options options_;
    TimePoint now_;
    TimePoint born_;
    Phase phase_ = Phase::connecting;
    Ending ending_ = Ending::no;
    bool link_up_ = false;
    bool ever_welcome_ = false;
    std::string last_reason_ = "no answer yet";
    Welcome terms_;
    TimePoint heard_{};
    TimePoint spoke_{};
    TimePoint hello_at_{};
    TimePoint unanswered_since_{};
    Duration hello_wait_;
    std::map<std::string, Slot> devices_;
    std::map<Owed, Undelivered> undelivered_;
    std::map<std::string, DeviceState> seen_;  // by device
    std::map<std::string, DeviceState> told_;  // what the coordinator knows of them
    std::vector<Command> out_;
};

}  // namespace bitsweep::agent
