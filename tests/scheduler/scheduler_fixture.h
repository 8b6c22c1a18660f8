// Every command that a step emits must be claimed by the test; every test ends with the invariants.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "coordinator/scheduler/invariants.h"
#include "coordinator/scheduler/placement.h"
#include "tests/scheduler/builders.h"

namespace bitsweep::scheduler {

class SchedulerTest : public ::testing::Test {
 protected:
    void step(const Event& event) {
        for (const Command& command : scheduler_.step(now_, event)) {
            persisted_.take(command);
            unclaimed_.push_back(in_words(command));
        }
    }

    void pass(std::int64_t ms) {
        now_ = now_ + Duration{ms};
        step(Tick{});
    }

    // Time passes while these workers speak every second, listing what the scheduler thinks.
    void pass_with_heartbeats(std::int64_t ms, const std::vector<std::string>& sessions) {
        for (std::int64_t passed = 0; passed < ms; passed += 1'000) {
            now_ = now_ + Duration{1'000};
            for (const std::string& session : sessions) {
                step(Heartbeat{SessionId{session}, running_on(session)});
                (void)claim_if_there(session + " <- welcome");  // four times a lease
            }
            step(Tick{});
        }
    }

    std::vector<RunningJob> running_on(const std::string& session) const {
        std::vector<RunningJob> running;
        for (const JobIndex index : state().running()) {
            const Job& job = state().job(index);
            if (std::get<Running>(job.state()).session.value == session) {
                running.push_back({job.key(), job.attempt()});
            }
        }
        return running;
    }

    // The next unclaimed command with these words; order among different ones does not matter.
    void claim(const std::string& words) {
        const auto found = std::find(unclaimed_.begin(), unclaimed_.end(), words);
        if (found == unclaimed_.end()) {
            ADD_FAILURE() << "not emitted: " << words << "\nunclaimed: " << all_unclaimed();
            return;
        }
        unclaimed_.erase(found);
    }
    bool claim_if_there(const std::string& words) { return std::erase(unclaimed_, words) > 0; }
    void claim_all(const std::vector<std::string>& lines) {
        for (const std::string& line : lines) {
            claim(line);
        }
        expect_silence();
    }
    void expect_silence() {
        EXPECT_TRUE(unclaimed_.empty()) << "unclaimed: " << all_unclaimed();
        unclaimed_.clear();
    }

    void join(const std::string& session, std::vector<std::string> devices = {"cpu"},
              std::vector<std::string> models = {"m", "n"}, std::vector<RunningJob> running = {}) {
        const Hello greeting = hello(session, devices, models, running);
        step(greeting);
        claim("log joined: worker " + greeting.worker.value + " on host");
        claim(session + " <- welcome");
    }

    // Submits cells that are all new; claims the answer and the links.
    void submit_new(const std::string& experiment, const std::vector<std::string>& cells,
                    int impossible = 0) {
        step(submission(experiment, cells));
        for (const std::string& words : cells) {
            claim("link " + experiment + " " + words.substr(0, words.find('=')) + " waiting #0");
        }
        const std::string count = std::to_string(cells.size());
        claim("answer " + experiment + ": " + count + " cells, " + count +
              " new, 0 done, 0 running, 0 failed before, " + std::to_string(impossible) +
              " impossible");
    }

    // A dispatch and its store command.
    void claim_dispatch(const std::string& session, const std::string& attempt_words,
                        const std::string& device = "cpu", const std::string& rest = "") {
        const std::string key = attempt_words.substr(0, attempt_words.find('#'));
        const std::string number = attempt_words.substr(attempt_words.find('#'));
        claim("job " + key + " running " + number + " " + session + "/" + device + rest);
        claim(session + " <- dispatch " + attempt_words + " on " + device);
    }

    void finish(const std::string& session, const std::string& attempt_words,
                const std::string& device = "cpu") {
        step(result(session, attempt_words));
        const std::string key = attempt_words.substr(0, attempt_words.find('#'));
        const std::string number = attempt_words.substr(attempt_words.find('#'));
        const std::string worker = session.substr(0, session.find('-'));
        claim("run " + attempt_words + " done on " + worker + "/" + device);
        claim("job " + key + " done " + number);
        claim(session + " <- ack " + attempt_words);
    }

    // The coordinator dies and starts again from what was stored.
    void restart() {
        scheduler_ = Scheduler(scheduler_.options());
        scheduler_.restore(persisted_.snapshot(), now_);
    }

    const State& state() const { return scheduler_.state(); }
    const Job& job(const std::string& key) const {
        return state().job(state().find(JobKey{key}).value());
    }
    std::string reason(const std::string& key) const {
        return waiting_reason(state(), job(key), now_);
    }

    void TearDown() override {
        expect_silence();
        for (const std::string& sentence : broken_invariants(state())) {
            ADD_FAILURE() << sentence;
        }
    }

    Scheduler scheduler_{test_options()};
    Persisted persisted_;
    TimePoint now_{1'000'000};

 private:
    std::string all_unclaimed() const {
        std::string text;
        for (const std::string& line : unclaimed_) {
            text += "\n  " + line;
        }
        return text;
    }

    std::vector<std::string> unclaimed_;
};

}  // namespace bitsweep::scheduler
