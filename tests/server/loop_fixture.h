// The loop between a fake router and a fake store; time is a number.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "coordinator/scheduler/invariants.h"
#include "coordinator/server/loop.h"
#include "tests/sim/fake_store.h"

namespace bitsweep {

class FakeRouter : public Router {
 public:
    std::string endpoint() const override { return "fake"; }
    std::vector<Incoming> receive(Duration wait, std::size_t most) override {
        last_wait = wait;
        std::vector<Incoming> taken;
        while (!inbox.empty() && taken.size() < most) {
            taken.push_back(std::move(inbox.front()));
            inbox.pop_front();
        }
        return taken;
    }
    Status send(const Peer& to, const Message& message) override {
        if (gone.count(to.routing_id) > 0) {
            return make_error(ErrorCode::unavailable, "no route");
        }
        if (on_send) {
            on_send(message);
        }
        sent.emplace_back(to.routing_id, message);
        return {};
    }
    Status send_all(const Peer& to, std::span<const Message> messages) override {
        together.emplace_back(to.routing_id, messages.size());
        return Router::send_all(to, messages);
    }

    std::deque<Incoming> inbox;
    std::vector<std::pair<std::string, Message>> sent;
    std::vector<std::pair<std::string, std::size_t>> together;  // to whom, how many at once
    std::set<std::string> gone;
    std::function<void(const Message&)> on_send;
    Duration last_wait;
};

class LoopTest : public ::testing::Test {
 protected:
    LoopTest() { start(RoleCheck::by_role); }

    void start(RoleCheck roles) {
        LoopOptions options;
        options.roles = roles;
        options.on_event = [this](const scheduler::LogEvent& event) {
            events_.push_back(event.kind);
        };
        loop_ = std::make_unique<Loop>(
            router_, store_, [this] { return now_; }, options);
        const Status recovered = loop_->recover();
        ASSERT_TRUE(recovered.ok());
    }

    static Peer worker_peer(const std::string& name = "w1") { return {name, name, Role::work, ""}; }
    static Peer client_peer() { return {"client", "client", Role::submit, ""}; }

    void say(const Peer& from, Message message) {
        router_.inbox.push_back({from, std::move(message)});
    }
    void turn() { loop_->turn(); }
    void turn_after(std::int64_t ms) {
        now_ = now_ + Duration{ms};
        turn();
    }

    static Hello hello(const std::string& name = "w1") {
        Hello hello;
        hello.worker = WorkerName{name};
        hello.session = SessionId{name + "-1"};
        hello.host = "host";
        hello.models = {"m"};
        DeviceInfo cpu;
        cpu.id = "cpu";
        cpu.kind = "cpu";
        cpu.name = "some CPU";
        hello.devices = {cpu};
        return hello;
    }

    static Cell cell(std::uint64_t seed, const std::string& gpu = "cpu") {
        Cell cell;
        cell.spec.model.name = "m";
        cell.spec.method = "fp16";
        cell.spec.gpu = gpu;
        cell.spec.seed = seed;
        return cell;
    }

    static Submit submission(int cells, const std::string& name = "sweep") {
        Submit submit;
        submit.experiment = ExperimentName{name};
        submit.yaml = "experiment: " + name;
        for (int i = 0; i < cells; ++i) {
            submit.cells.push_back(cell(static_cast<std::uint64_t>(i)));
        }
        return submit;
    }

    static ResultDelivery result_of(const Dispatch& dispatch, const std::string& session = "w1-1",
                                    OutcomeClass outcome = OutcomeClass::done) {
        RunResult run;
        run.key = dispatch.key;
        run.attempt = dispatch.attempt;
        run.outcome = {outcome, outcome == OutcomeClass::done ? "" : "some words", ""};
        run.measurements.push_back({"decode_tokens_per_s", "token/s", 0, 12.5});
        return {SessionId{session}, std::move(run)};
    }

    // Takes the first sent message of this type to this peer out of what was sent.
    template <class Wanted>
    std::optional<Wanted> take(const std::string& to) {
        for (auto it = router_.sent.begin(); it != router_.sent.end(); ++it) {
            if (it->first == to && std::holds_alternative<Wanted>(it->second)) {
                Wanted wanted = std::get<Wanted>(std::move(it->second));
                router_.sent.erase(it);
                return wanted;
            }
        }
        return std::nullopt;
    }

    StatusReply status(const std::string& experiment = "") {
        say(client_peer(), StatusRequest{ExperimentName{experiment}});
        turn();
        return take<StatusReply>("client").value_or(StatusReply{});
    }

    void TearDown() override {
        for (const std::string& sentence :
             scheduler::broken_invariants(loop_->scheduler().state())) {
            ADD_FAILURE() << sentence;
        }
        for (const std::string& sentence : store_.breaches()) {
            ADD_FAILURE() << sentence;
        }
    }

    TimePoint now_{1'000'000};
    FakeRouter router_;
    sim::FakeStore store_;
    std::vector<std::string> events_;
    std::unique_ptr<Loop> loop_;
};

}  // namespace bitsweep
