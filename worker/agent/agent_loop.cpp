#include "worker/agent/agent_loop.h"

#include <poll.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <memory>
#include <optional>
#include <random>

#include "worker/agent/agent.h"
#include "worker/agent/device_watch.h"
#include "worker/agent/log_folder.h"
#include "worker/agent/outbox.h"

namespace bitsweep::agent {

namespace {

// Signals and libzmq's connection news wake no poll(), so nothing waits longer than this.
constexpr Duration longest_wait{200};
constexpr Duration look_every{2'000};        // at the devices: NVML takes milliseconds
constexpr Duration read_again_every{1'000};  // the access file
constexpr Duration keep_again{2'000};        // a result that the disk did not take
constexpr int prune_every = 256;             // jobs

TimePoint clock_now() {
    using std::chrono::duration_cast;
    using std::chrono::milliseconds;
    // Steady, but counted from the Unix epoch: a step of the wall clock must not end a job.
    static const auto steady_start = std::chrono::steady_clock::now();
    static const auto wall_start = std::chrono::system_clock::now();
    const auto elapsed = std::chrono::steady_clock::now() - steady_start;
    return {duration_cast<milliseconds>(wall_start.time_since_epoch() + elapsed).count()};
}

SessionId new_session() {
    std::random_device random;
    char text[33];
    std::snprintf(text, sizeof text, "%08x%08x%08x%08x", random(), random(), random(), random());
    return {text};
}

class Loop {
 public:
    Loop(const WorkerSetup& setup, const StateFolder& state, std::unique_ptr<Dealer> dealer,
         Outbox outbox, const StopFlags& flags, const std::function<void(const std::string&)>& say)
        : dealer_(std::move(dealer)),
          access_file_(setup.access_file),
          address_(setup.access.coordinator),
          access_(setup.access),
          outbox_(std::move(outbox)),
          runners_(settings_of(setup, state)),
          machine_(options_of(setup, state, outbox_, say), clock_now()),
          watch_(setup.devices),
          logs_(state.logs()),
          flags_(flags),
          say_(say) {
        prune_logs(logs_, LogBounds{});
    }

    Status run() {
        while (!left_) {
            wait();
            if (flags_.stop >= 2) {
                return {};
            }
            watch_link();
            look_for_another_address();
            watch_devices();
            take_messages();
            for (RunResult& result : runners_.advance(clock_now())) {
                const std::string line = line_of(result);
                step(JobEnded{std::move(result)});
                say_(line);  // only now is it on disk
                if (++ended_ % prune_every == 0) {
                    prune_logs(logs_, LogBounds{});
                }
            }
            keep_unkept();
            watch_flags();
            if (clock_now() >= machine_.next_wake()) {
                step(Tick{});
            }
            do {
                send_what_was_said();
                // The send may have swallowed the edge that announces an answer.
                take_messages();
            } while (!said_.empty());
        }
        return failure_ ? Status(*failure_) : Status();
    }

 private:
    static RunnerSettings settings_of(const WorkerSetup& setup, const StateFolder& state) {
        RunnerSettings settings = setup.runners;
        settings.logs = state.logs();
        return settings;
    }

    static Options options_of(const WorkerSetup& setup, const StateFolder& state,
                              const Outbox& outbox,
                              const std::function<void(const std::string&)>& say) {
        Options options;
        options.self.worker = {state.name()};
        options.self.session = new_session();
        options.self.host = host_name();
        options.self.version = setup.version;
        options.self.devices = setup.devices;
        options.self.models = setup.models;
        options.self.clear = setup.clear;
        options.patience = setup.patience;
        if (setup.until.ms > 0) {
            options.until = clock_now() + setup.until;
        }
        std::vector<std::string> complaints;
        options.undelivered = outbox.load(complaints);
        for (const std::string& complaint : complaints) {
            say(complaint);
        }
        if (!options.undelivered.empty()) {
            const std::size_t count = options.undelivered.size();
            say("of an earlier life wait to be delivered: " + std::to_string(count) +
                (count == 1 ? " result" : " results"));
        }
        return options;
    }

    static std::string line_of(const RunResult& result) {
        std::string line = "job " + result.key.value.substr(0, 12) + " " +
                           std::string(to_string(result.outcome.outcome));
        if (!result.outcome.message.empty()) {
            line += ": " + result.outcome.message;
        }
        return line;
    }

    void wait() {
        std::vector<pollfd> items = {{dealer_->descriptor(), POLLIN, 0}};
        runners_.add_descriptors(items);
        const TimePoint now = clock_now();
        const TimePoint wake = std::min(machine_.next_wake(), runners_.next_wake(now));
        const Duration left = std::clamp(wake - now, Duration{0}, longest_wait);
        poll(items.data(), items.size(), static_cast<int>(left.ms));
    }

    void watch_link() {
        const Link link = dealer_->link();
        if (link.handshakes != seen_.handshakes) {
            step(LinkUp{});
        }
        if (link.state != seen_.state || link.handshakes != seen_.handshakes) {
            if (link.state == LinkState::rejected) {
                step(LinkRejected{dealer_->last_failure()});
            } else if (link.state == LinkState::unreachable) {
                step(LinkDown{dealer_->last_failure()});
            }
        }
        seen_ = link;
    }

    void look_for_another_address() {
        const TimePoint now = clock_now();
        if (seen_.state != LinkState::unreachable || access_file_.empty() || now < read_again_at_) {
            return;
        }
        read_again_at_ = now + read_again_every;
        const Result<Access> access = read_access(access_file_);
        if (!access || access->coordinator == address_) {
            return;
        }
        if (connect(*access)) {
            say_("the access file names another address: " + access->coordinator);
            address_ = access->coordinator;
        }
    }

    bool connect(const Access& access) {
        Result<std::unique_ptr<Dealer>> dealer = Dealer::connect(access);
        if (!dealer) {
            return false;
        }
        send_what_was_said();  // to whom it was said
        dealer_ = std::move(*dealer);
        access_ = access;
        seen_ = {};
        return true;
    }

    void watch_devices() {
        const TimePoint now = clock_now();
        if (now >= look_at_) {
            look_at_ = now + look_every;
            step(DevicesSeen{watch_.look(runners_.living())});
        }
    }

    void take_messages() {
        while (!left_) {
            Result<std::optional<Message>> message = dealer_->receive(Duration{0});
            if (!message) {
                say_("not understood: " + message.error().message);
                if (message.error().code == ErrorCode::unavailable) {
                    return;
                }
            } else if (*message) {
                step(Received{std::move(**message)});
            } else {
                return;
            }
        }
    }

    void watch_flags() {
        if (flags_.stop >= 1 && !stop_passed_on_) {
            stop_passed_on_ = true;
            step(StopAsked{});
        } else if (flags_.drain && !drain_passed_on_) {
            drain_passed_on_ = true;
            step(DrainAsked{});
        }
    }

    void step(Event event) {
        for (Command& command : machine_.step(clock_now(), std::move(event))) {
            std::visit([this](auto& body) { perform(body); }, command);
        }
    }

    // What is said in one turn leaves together.
    void perform(Send& command) { said_.push_back(std::move(command.message)); }

    // Lost messages are the machine's business: it repeats what matters.
    void send_what_was_said() {
        if (!said_.empty()) {
            (void)dealer_->send_all(said_);
            said_.clear();
        }
    }

    void perform(const StartJob& command) {
        const JobSpec& spec = command.dispatch.spec;
        say_("job " + command.dispatch.key.value.substr(0, 12) + " " + spec.model.name + " " +
             spec.method + " on " + command.dispatch.device);
        runners_.start(clock_now(), command.dispatch);
    }

    void perform(const KillJob& command) {
        runners_.kill(clock_now(), command.key, command.attempt, command.reason);
    }

    void perform(const KeepResult& command) {
        if (const Status kept = outbox_.keep(command.kept); !kept) {
            say_(kept.error().message +
                 "; it is kept in memory, sent all the same, and written when there is room");
            unkept_.push_back(command.kept);
            keep_at_ = clock_now() + keep_again;
        }
    }

    void perform(const DropResult& command) {
        std::erase_if(unkept_, [&](const KeptResult& kept) {
            return kept.database == command.database && kept.result.key == command.key &&
                   kept.result.attempt == command.attempt;
        });
        outbox_.drop(command.database, command.key, command.attempt);
    }

    void keep_unkept() {
        if (unkept_.empty() || clock_now() < keep_at_) {
            return;
        }
        keep_at_ = clock_now() + keep_again;
        std::erase_if(unkept_, [&](const KeptResult& kept) { return outbox_.keep(kept).ok(); });
        if (unkept_.empty()) {
            say_("the disk takes results again; nothing is kept in memory only");
        }
    }

    void perform(const Say& command) { say_(command.line); }

    void perform(const Reconnect&) { connect(access_); }

    void perform(const Leave& command) {
        left_ = true;
        failure_ = command.error;
    }

    std::unique_ptr<Dealer> dealer_;
    std::vector<Message> said_;  // to the coordinator, in this turn
    std::filesystem::path access_file_;
    std::string address_;
    Access access_;  // of the connection that stands
    TimePoint read_again_at_{};
    Outbox outbox_;
    Runners runners_;
    Machine machine_;
    DeviceWatch watch_;
    TimePoint look_at_{};
    std::filesystem::path logs_;
    int ended_ = 0;
    std::vector<KeptResult> unkept_;  // not on disk yet
    TimePoint keep_at_{};
    const StopFlags& flags_;
    const std::function<void(const std::string&)>& say_;
    Link seen_;
    bool stop_passed_on_ = false;
    bool drain_passed_on_ = false;
    bool left_ = false;
    std::optional<Error> failure_;
};

}  // namespace

Status run_worker(const WorkerSetup& setup, const StateFolder& state, const StopFlags& flags,
                  const std::function<void(const std::string&)>& say) {
    std::signal(SIGPIPE, SIG_IGN);  // a runner that died while it was given a job
    Outbox outbox = TRY(Outbox::open(state.outbox()));
    std::unique_ptr<Dealer> dealer = TRY(Dealer::connect(setup.access));
    Loop loop(setup, state, std::move(dealer), std::move(outbox), flags, say);
    return loop.run();
}

}  // namespace bitsweep::agent
