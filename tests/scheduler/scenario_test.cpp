// Golden transcripts: tests/scenario/*.txt. A line "> ..." is something that happens; the indented
// lines under it are every command it caused. After an intended change:
//
//   BITSWEEP_REWRITE_SCENARIOS=1 build/tests/scheduler_test --gtest_filter='*Scenario*'
//
// and read the difference: commit it only when you understand what caused it.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "coordinator/scheduler/explain.h"
#include "coordinator/scheduler/invariants.h"
#include "coordinator/scheduler/placement.h"
#include "tests/scheduler/builders.h"

namespace bitsweep::scheduler {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> words_of(const std::string& line) {
    std::istringstream in(line);
    std::vector<std::string> words;
    for (std::string word; in >> word;) {
        words.push_back(word);
    }
    return words;
}

std::vector<std::string> list(const std::string& text) {
    std::vector<std::string> items;
    std::istringstream in(text);
    for (std::string item; std::getline(in, item, ',');) {
        items.push_back(item);
    }
    return items;
}

// "name=value" words of one line; the value of a name that is missing is `fallback`.
std::string option(const std::vector<std::string>& words, const std::string& name,
                   const std::string& fallback) {
    for (const std::string& word : words) {
        if (word.rfind(name + "=", 0) == 0) {
            return word.substr(name.size() + 1);
        }
    }
    return fallback;
}

bool has(const std::vector<std::string>& words, const std::string& word) {
    return std::find(words.begin(), words.end(), word) != words.end();
}

std::string rest_of(const std::vector<std::string>& words, std::size_t from) {
    std::string text;
    for (std::size_t i = from; i < words.size(); ++i) {
        text += (text.empty() ? "" : " ") + words[i];
    }
    return text;
}

OutcomeClass outcome_of(const std::string& word) {
    for (int i = 0; i <= static_cast<int>(OutcomeClass::cancelled); ++i) {
        if (to_string(static_cast<OutcomeClass>(i)) == word) {
            return static_cast<OutcomeClass>(i);
        }
    }
    ADD_FAILURE() << "no outcome class " << word;
    return OutcomeClass::failure;
}

class Scenario {
 public:
    // The commands, one line each, that `line` (without "> ") causes.
    std::vector<std::string> play(const std::string& line) {
        const std::vector<std::string> words = words_of(line);
        const std::string& verb = words.at(0);
        if (verb == "at") {
            now_ = {std::stoll(words.at(1))};
            return step(Tick{});
        }
        if (verb == "restart") {
            scheduler_ = Scheduler(scheduler_.options());
            scheduler_.restore(persisted_.snapshot(), now_);
            return {};
        }
        if (verb == "status") {
            return status();
        }
        if (verb == "explain") {
            return explained(words.at(1));
        }
        return step(event_of(words));
    }

    const State& state() const { return scheduler_.state(); }

 private:
    std::vector<std::string> step(const Event& event) {
        std::vector<std::string> lines;
        for (const Command& command : scheduler_.step(now_, event)) {
            persisted_.take(command);
            lines.push_back(in_words(command));
        }
        return lines;
    }

    std::vector<std::string> explained(const std::string& prefix) const {
        const Result<Explanation> told = explain(state(), prefix, now_, {});
        return told ? told->lines : std::vector<std::string>{"error: " + told.error().message};
    }

    std::vector<std::string> status() const {
        std::vector<std::string> lines;
        for (const Job& job : state().jobs()) {
            std::string words = in_words(job.record());
            if (std::holds_alternative<Waiting>(job.state()) ||
                std::holds_alternative<Backoff>(job.state())) {
                words += " -- " + waiting_reason(state(), job, now_);
            }
            lines.push_back(words);
        }
        return lines;
    }

    std::vector<RunningJob> running_of(const std::vector<std::string>& words) const {
        std::vector<RunningJob> running;
        for (const std::string& item : list(option(words, "running", ""))) {
            running.push_back(attempt(item));
        }
        return running;
    }

    Event submission_of(const std::vector<std::string>& words) {
        Submission made = submission(words.at(1), {});
        made.force = has(words, "force");
        made.retry_failed = has(words, "retry_failed");
        made.max_fails = std::stoll(option(words, "max_fails", "0"));
        JobPolicy policy;
        policy.priority = std::stoi(option(words, "priority", "0"));
        policy.retries_crash = std::stoi(option(words, "retries_crash", "3"));
        policy.retries_fail = std::stoi(option(words, "retries_fail", "0"));
        for (const std::string& word : list(option(words, "cells", ""))) {
            made.cells.push_back(
                resolved(word.substr(0, word.find(':')) + "=" + word.substr(word.find(':') + 1)));
            edit(made.cells.back()).policy = policy;
        }
        for (const std::string& word : list(option(words, "templates", ""))) {
            made.templates.push_back(cell(word + "/*"));
            made.templates.back().policy = policy;
        }
        persisted_.submitted(made);
        return made;
    }

    Event event_of(const std::vector<std::string>& words) {
        const std::string& verb = words.at(0);
        const std::string subject = words.size() > 1 ? words[1] : "";
        if (verb == "join") {
            Hello made = hello(subject, list(option(words, "devices", "cpu")),
                               list(option(words, "models", "m,n")), running_of(words));
            made.remaining = {std::stoll(option(words, "remaining", "0"))};
            made.clear = has(words, "clear");
            return made;
        }
        if (verb == "heartbeat") {
            Heartbeat made{SessionId{subject}, running_of(words), {}};
            for (const std::string& word : list(option(words, "devices", ""))) {
                made.devices.push_back(device_state(word));
            }
            return made;
        }
        if (verb == "started") {
            const RunningJob which = attempt(words.at(2));
            return Started{SessionId{subject}, which.key, which.attempt, "cpu"};
        }
        if (verb == "result") {
            return result(subject, words.at(2), outcome_of(words.at(3)),
                          option(words, "message", ""), option(words, "weights", ""));
        }
        if (verb == "goodbye") {
            return Goodbye{SessionId{subject}};
        }
        if (verb == "submit") {
            return submission_of(words);
        }
        if (verb == "resolved") {
            CellsResolved made{ExperimentName{subject}, {}, has(words, "force"), false};
            for (std::size_t i = 2; i < words.size(); ++i) {
                if (words[i] != "force") {
                    made.cells.push_back(resolved(words[i]));
                }
            }
            return made;
        }
        if (const auto action = control_action_from_string(verb)) {
            const bool clear = action == ControlAction::clear;
            return Control{*action, subject, clear ? option(words, "device", "") : "",
                           clear ? "" : rest_of(words, 2)};
        }
        if (verb == "unsent") {
            const RunningJob which = attempt(words.at(2));
            return DispatchUnsent{SessionId{subject}, which.key, which.attempt};
        }
        if (verb == "store-failed") {
            return StoreFailed{};
        }
        if (verb == "store-mended") {
            return StoreMended{};
        }
        ADD_FAILURE() << "no such verb: " << verb;
        return Tick{};
    }

    Scheduler scheduler_{test_options()};
    Persisted persisted_;
    TimePoint now_{0};
};

std::string read(const fs::path& file) {
    std::ifstream in(file);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
}

// The transcript with the commands that the scheduler emits now.
std::string replay(const std::string& transcript) {
    Scenario scenario;
    std::istringstream in(transcript);
    std::string out;
    for (std::string line; std::getline(in, line);) {
        if (line.rfind("    ", 0) == 0) {
            continue;
        }
        out += line + "\n";
        if (line.rfind("> ", 0) == 0) {
            for (const std::string& command : scenario.play(line.substr(2))) {
                out += "    " + command + "\n";
            }
            for (const std::string& sentence : broken_invariants(scenario.state())) {
                ADD_FAILURE() << "after " << line << ": " << sentence;
            }
        }
    }
    return out;
}

std::vector<std::string> scenario_names() {
    std::vector<std::string> names;
    for (const auto& entry :
         fs::directory_iterator(fs::path(BITSWEEP_SOURCE_DIR) / "tests/scenario")) {
        if (entry.path().extension() == ".txt") {
            names.push_back(entry.path().stem().string());
        }
    }
    std::sort(names.begin(), names.end());
    return names;
}

class ScenarioTest : public ::testing::TestWithParam<std::string> {};

TEST_P(ScenarioTest, plays_as_written) {
    const fs::path file = fs::path(BITSWEEP_SOURCE_DIR) / "tests/scenario" / (GetParam() + ".txt");
    const std::string written = read(file);
    ASSERT_NE(written.find("\n> "), std::string::npos) << file << " has no event";
    const std::string played = replay(written);
    if (std::getenv("BITSWEEP_REWRITE_SCENARIOS") != nullptr) {
        std::ofstream(file) << played;
        return;
    }
    EXPECT_EQ(played, written) << "rewrite with BITSWEEP_REWRITE_SCENARIOS=1 and read the diff";
}

INSTANTIATE_TEST_SUITE_P(Scenario, ScenarioTest, ::testing::ValuesIn(scenario_names()),
                         [](const auto& instance) { return instance.param; });

}  // namespace
}  // namespace bitsweep::scheduler
