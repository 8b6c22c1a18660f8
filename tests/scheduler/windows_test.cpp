// Windows that do not count, and the sentinels between them.
#include "schemas/catalog/windows.h"

#include "coordinator/scheduler/explain.h"
#include "tests/scheduler/scheduler_fixture.h"

namespace bitsweep::scheduler {
namespace {

// Headline cells are measured again twice at most, a sentinel comes every two jobs; others once.
WindowPolicy few(Protocol protocol) {
    return protocol == Protocol::headline ? WindowPolicy{2, 2} : WindowPolicy{1, 0};
}

Options watching() {
    Options options = test_options();
    options.windows = few;
    return options;
}

class Windows : public SchedulerTest {
 protected:
    Windows() { scheduler_ = Scheduler(watching()); }

    void submit_headline(const std::vector<std::string>& cells) {
        Submission made = submission("sweep", cells);
        for (ResolvedCell& one : made.cells) {
            edit(one).spec.protocol = Protocol::headline;
        }
        persisted_.submitted(made);
        step(made);
        for (const ResolvedCell& one : made.cells) {
            claim("link sweep " + one.key.value + " waiting #0");
        }
        const std::string count = std::to_string(cells.size());
        claim("answer sweep: " + count + " cells, " + count +
              " new, 0 done, 0 running, 0 failed before, 0 impossible");
    }

    ResultArrived measured(const std::string& attempt_words, double rate,
                           const std::string& flag = {}) {
        ResultArrived arrived = result("w1-1", attempt_words);
        RunResult run = *arrived.result;
        run.measurements.push_back({"decode_tokens_per_s", "token/s", 0, rate});
        if (!flag.empty()) {
            run.measurements.push_back({flag, "1", 0, 1});
        }
        arrived.result = std::make_shared<const RunResult>(std::move(run));
        return arrived;
    }

    // The key of the sweep's only sentinel, and its attempts.
    std::string sentinel() const {
        const Experiment* sweep = state().find_experiment(ExperimentName{"sweep"});
        return state().job(sweep->sentinels.at(0)).key().value;
    }

    // The first job's card is measured first: 100 token/s. Then job "a" runs.
    void begin(const std::vector<std::string>& cells) {
        join("w1-1");
        submit_headline(cells);
        const std::string first = cells[0].substr(0, cells[0].find('='));
        s_ = sentinel();
        claim("sentinel sweep of " + first + " on w1/cpu: " + s_ + " waiting #0");
        claim_dispatch("w1-1", s_ + "#1");
        step(measured(s_ + "#1", 100));
        claim_all({"run " + s_ + "#1 done on w1/cpu", "job " + s_ + " done #1",
                   "log sentinel " + s_ + "#1: card w1/cpu: 100 token/s",
                   "w1-1 <- ack " + s_ + "#1", "job " + first + " running #1 w1-1/cpu",
                   "w1-1 <- dispatch " + first + "#1 on cpu"});
    }

    // It counts; what follows it is the caller's.
    void accept(const std::string& attempt_words, double rate, const std::string& tie) {
        step(measured(attempt_words, rate));
        const std::string key = attempt_words.substr(0, attempt_words.find('#'));
        claim("run " + attempt_words + " done on w1/cpu after " + s_ + tie);
        claim("job " + key + " done " + attempt_words.substr(attempt_words.find('#')));
        claim("w1-1 <- ack " + attempt_words);
    }

    bool over() const {
        return is_done(state(), *state().find_experiment(ExperimentName{"sweep"}));
    }

    std::string s_;
};

TEST_F(Windows, a_window_that_does_not_count_is_kept_and_its_cell_is_measured_again) {
    join("w1-1");
    submit_new("sweep", {"a=m/fp16"});
    claim_dispatch("w1-1", "a#1");
    step(measured("a#1", 100, "window_throttled"));
    claim_all({"run a#1 done on w1/cpu", "job a backoff #1 until 1005000 again 1 flagged",
               "log retry a#1: the window does not count: throttled", "w1-1 <- ack a#1"});
    EXPECT_EQ(reason("a"),
              "measured again in 5 s: the window of attempt 1 does not count (throttled)");
    EXPECT_FALSE(over());
    pass(5'000);
    claim_dispatch("w1-1", "a#2", "cpu", " again 1 flagged");
    step(measured("a#2", 100));
    claim_all({"run a#2 done on w1/cpu", "job a done #2 again 1", "w1-1 <- ack a#2"});
    EXPECT_TRUE(over());
}

TEST_F(Windows, a_cell_is_measured_again_as_often_as_its_protocol_allows_and_then_stands_flagged) {
    join("w1-1");
    submit_new("sweep", {"a=m/fp16"});
    claim_dispatch("w1-1", "a#1");
    step(measured("a#1", 100, "window_foreign_process"));
    claim_all({"run a#1 done on w1/cpu", "job a backoff #1 until 1005000 again 1 flagged",
               "log retry a#1: the window does not count: another process used the device",
               "w1-1 <- ack a#1"});
    restart();  // which does not forget how often
    join("w1-2");
    claim_dispatch("w1-2", "a#2", "cpu", " again 1 flagged");
    step(measured("a#2", 100, "window_throttled"));
    claim_all({"run a#2 done on w1/cpu", "job a done #2 again 1 flagged", "w1-1 <- ack a#2"});
    EXPECT_TRUE(over());
    const auto told = explain(state(), "a", now_, {});
    ASSERT_TRUE(told.ok());
    EXPECT_EQ(told->lines.at(0), "done with attempt 2; its window does not count: throttled");
    EXPECT_EQ(told->lines.at(2),
              "measured again because a window did not count: 1 of 1 times that protocol standard "
              "allows; what is shown is flagged and stands in no headline");
}

TEST_F(Windows, a_flagged_result_stands_when_measuring_it_again_fails) {
    join("w1-1");
    submit_new("sweep", {"a=m/fp16"});
    claim_dispatch("w1-1", "a#1");
    step(measured("a#1", 100, "window_throttled"));
    claim_all({"run a#1 done on w1/cpu", "job a backoff #1 until 1005000 again 1 flagged",
               "log retry a#1: the window does not count: throttled", "w1-1 <- ack a#1"});
    pass(5'000);
    claim_dispatch("w1-1", "a#2", "cpu", " again 1 flagged");
    step(result("w1-1", "a#2", OutcomeClass::failure, "no such tensor"));
    claim_all({"run a#2 failure on w1/cpu", "job a done #2 failures 1 again 1 flagged",
               "log kept a#2: measuring it again failed (failure: no such tensor); what is there "
               "stands",
               "w1-1 <- ack a#2"});
    EXPECT_TRUE(over());
}

TEST_F(Windows, nobody_measures_again_what_nobody_wants) {
    join("w1-1");
    Submission made = submission("sweep", {"a=m/fp16"});
    made.max_fails = 1;
    step(made);
    claim_dispatch("w1-1", "a#1");
    claim_all({"link sweep a waiting #0",
               "answer sweep: 1 cells, 1 new, 0 done, 0 running, 0 failed before, 0 impossible"});
    step(submission("sweep", {"b=n/fp16"}));  // the file no longer has it
    claim_all({"link sweep b waiting #0", "former sweep a",
               "log withdrawn sweep: 1 job that its file no longer has, 0 of them cancelled",
               "answer sweep: 1 cells, 1 new, 0 done, 0 running, 0 failed before, 0 impossible, 1 "
               "former"});
    step(measured("a#1", 100, "window_throttled"));
    claim_all({"run a#1 done on w1/cpu", "job a done #1 flagged", "w1-1 <- ack a#1",
               "job b running #1 w1-1/cpu", "w1-1 <- dispatch b#1 on cpu"});
}

TEST_F(Windows, a_forced_measurement_that_does_not_count_is_not_shown_beside_one_that_does) {
    join("w1-1");
    submit_new("sweep", {"a=m/fp16"});
    claim_dispatch("w1-1", "a#1");
    step(measured("a#1", 100));
    claim_all({"run a#1 done on w1/cpu", "job a done #1", "w1-1 <- ack a#1"});
    Submission again = submission("sweep", {"a=m/fp16"});
    again.force = true;
    step(again);
    claim_all({"job a waiting #1",
               "answer sweep: 1 cells, 1 new, 0 done, 0 running, 0 failed "
               "before, 0 impossible",
               "job a running #2 w1-1/cpu", "w1-1 <- dispatch a#2 on cpu"});
    step(measured("a#2", 100, "window_throttled"));
    claim_all({"run a#2 done on w1/cpu unseen", "job a backoff #2 until 1005000 again 1",
               "log retry a#2: the window does not count: throttled", "w1-1 <- ack a#2"});
}

TEST_F(Windows, a_sentinel_comes_first_then_after_so_many_jobs_and_last) {
    begin({"a=m/fp16", "b=m/int8", "c=m/nf4"});
    accept("a#1", 50, "#1");
    claim_dispatch("w1-1", "b#1");
    accept("b#1", 60, "#1");
    EXPECT_FALSE(over());
    claim("job " + s_ + " waiting #1");
    claim_dispatch("w1-1", s_ + "#2");
    step(measured(s_ + "#2", 101));
    claim_all({"run " + s_ + "#2 done on w1/cpu after " + s_ + "#1", "job " + s_ + " done #2",
               "log sentinel " + s_ +
                   "#2: card w1/cpu: 101 token/s, +1.0 % since the last one, 2 jobs between",
               "w1-1 <- ack " + s_ + "#2", "job c running #1 w1-1/cpu",
               "w1-1 <- dispatch c#1 on cpu"});
    accept("c#1", 70, "#2");
    EXPECT_FALSE(over()) << "the last window has no end yet";
    claim("job " + s_ + " waiting #2");
    claim_dispatch("w1-1", s_ + "#3");
    step(measured(s_ + "#3", 100));
    claim_all({"run " + s_ + "#3 done on w1/cpu after " + s_ + "#2", "job " + s_ + " done #3",
               "log sentinel " + s_ +
                   "#3: card w1/cpu: 100 token/s, -1.0 % since the last one, 1 job between",
               "w1-1 <- ack " + s_ + "#3"});
    EXPECT_TRUE(over());
}

TEST_F(Windows, what_lies_between_two_sentinels_that_differ_does_not_count_and_is_measured_again) {
    begin({"a=m/fp16"});
    accept("a#1", 50, "#1");
    claim("job " + s_ + " waiting #1");
    claim_dispatch("w1-1", s_ + "#2");
    step(measured(s_ + "#2", 80));
    claim_all({"run " + s_ + "#2 done on w1/cpu after " + s_ + "#1", "job " + s_ + " done #2",
               "log sentinel " + s_ +
                   "#2: card w1/cpu: 80 token/s, -20.0 % since the last one, 1 job between, none "
                   "of which counts",
               "verdict a#1 window_sentinel_drift",
               "job a backoff #1 until 1005000 again 1 flagged",
               "log retry a#1: the window does not count: the sentinels around it differ by "
               "-20.0 %",
               "w1-1 <- ack " + s_ + "#2"});
    EXPECT_FALSE(over());
    pass(5'000);
    claim_dispatch("w1-1", "a#2", "cpu", " again 1 flagged");
}

TEST_F(Windows, a_restart_knows_the_window_that_was_open) {
    begin({"a=m/fp16", "b=m/int8"});
    accept("a#1", 50, "#1");
    claim_dispatch("w1-1", "b#1");
    restart();
    join("w1-2", {"cpu"}, {"m", "n"}, {attempt("b#1")});
    claim("job b running #1 w1-2/cpu");
    step(measured("b#1", 60));
    claim_all({"run b#1 done on w1/cpu after " + s_ + "#1", "job b done #1", "w1-1 <- ack b#1",
               "job " + s_ + " waiting #1", "job " + s_ + " running #2 w1-2/cpu",
               "w1-2 <- dispatch " + s_ + "#2 on cpu"});
    step(measured(s_ + "#2", 120));
    claim_all({"run " + s_ + "#2 done on w1/cpu after " + s_ + "#1", "job " + s_ + " done #2",
               "log sentinel " + s_ +
                   "#2: card w1/cpu: 120 token/s, +20.0 % since the last one, 2 jobs between, "
                   "none of which counts",
               "verdict a#1 window_sentinel_drift", "verdict b#1 window_sentinel_drift",
               "job a backoff #1 until 1005000 again 1 flagged",
               "job b backoff #1 until 1005000 again 1 flagged",
               "log retry a#1: the window does not count: the sentinels around it differ by "
               "+20.0 %",
               "log retry b#1: the window does not count: the sentinels around it differ by "
               "+20.0 %",
               "w1-1 <- ack " + s_ + "#2"});
}

TEST_F(Windows, a_card_that_goes_away_leaves_its_window_open_and_the_experiment_ends_all_the_same) {
    begin({"a=m/fp16"});
    accept("a#1", 50, "#1");
    claim("job " + s_ + " waiting #1");
    claim_dispatch("w1-1", s_ + "#2");
    step(Goodbye{SessionId{"w1-1"}});
    claim_all({"job " + s_ + " backoff #2 until 1001000", "log retry " + s_ + "#2: worker w1 left",
               "log left: worker w1 left", "job " + s_ + " cancelled #2: its card is not attached",
               "log sentinel " + s_ + "#2: not measured: its card is not attached"});
    EXPECT_TRUE(over());
}

TEST_F(Windows, jobs_wait_for_the_sentinel_of_their_card_and_say_so) {
    join("w1-1");
    submit_headline({"a=m/fp16"});
    s_ = sentinel();
    claim("sentinel sweep of a on w1/cpu: " + s_ + " waiting #0");
    claim_dispatch("w1-1", s_ + "#1");
    EXPECT_EQ(reason("a"), "cpu of worker w1 is measured by its sentinel first");
}

TEST_F(Windows, a_sentinel_that_fails_holds_nobody_up) {
    join("w1-1");
    submit_headline({"a=m/fp16"});
    s_ = sentinel();
    claim("sentinel sweep of a on w1/cpu: " + s_ + " waiting #0");
    claim_dispatch("w1-1", s_ + "#1");
    step(result("w1-1", s_ + "#1", OutcomeClass::failure, "no such tensor"));
    claim_all({"run " + s_ + "#1 failure on w1/cpu",
               "job " + s_ + " failed #1 failure: no such tensor failures 1",
               "log sentinel " + s_ + "#1: card w1/cpu was not measured: failure: no such tensor",
               "w1-1 <- ack " + s_ + "#1", "job a running #1 w1-1/cpu",
               "w1-1 <- dispatch a#1 on cpu"});
    finish("w1-1", "a#1");
    EXPECT_TRUE(over());
}

TEST_F(Windows, whoever_cancels_the_experiment_cancels_its_sentinels) {
    join("w1-1");
    submit_headline({"a=m/fp16"});
    s_ = sentinel();
    claim("sentinel sweep of a on w1/cpu: " + s_ + " waiting #0");
    claim_dispatch("w1-1", s_ + "#1");
    step(Control{ControlAction::cancel, "sweep", {}, "typo"});
    claim_all({"log stopped sweep: typo", "w1-1 <- cancel " + s_ + "#1: typo",
               "job " + s_ + " cancelled #1: typo", "job a cancelled #0: typo",
               "obeyed: cancelled sweep: 1 job ended, 0 of them told to stop while running"});
    EXPECT_TRUE(over());
}

// Seed 1095 of the simulator: a worker came back under its name, its first job was the failure too
// many, and the sentinel that it had also run was ended under the loop that went over both.
TEST_F(Windows, an_experiment_that_fails_too_often_lets_a_running_sentinel_end_by_itself) {
    join("w1-1", {"cpu", "cpu:1=cpu"});
    Submission made = submission("sweep", {"a=m/fp16", "b=m/int8"});
    made.max_fails = 1;
    for (ResolvedCell& one : made.cells) {
        edit(one).spec.protocol = Protocol::headline;
        edit(one).policy.retries_crash = 0;
    }
    step(made);
    const Experiment* sweep = state().find_experiment(ExperimentName{"sweep"});
    const std::string first = state().job(sweep->sentinels.at(0)).key().value;
    const std::string second = state().job(sweep->sentinels.at(1)).key().value;
    claim_all({"link sweep a waiting #0", "link sweep b waiting #0",
               "answer sweep: 2 cells, 2 new, 0 done, 0 running, 0 failed before, 0 impossible",
               "sentinel sweep of a on w1/cpu: " + first + " waiting #0",
               "job " + first + " running #1 w1-1/cpu", "w1-1 <- dispatch " + first + "#1 on cpu",
               "sentinel sweep of a on w1/cpu:1: " + second + " waiting #0",
               "job " + second + " running #1 w1-1/cpu:1",
               "w1-1 <- dispatch " + second + "#1 on cpu:1"});
    step(measured(first + "#1", 100));
    claim_all({"run " + first + "#1 done on w1/cpu", "job " + first + " done #1",
               "log sentinel " + first + "#1: card w1/cpu: 100 token/s",
               "w1-1 <- ack " + first + "#1", "job a running #1 w1-1/cpu",
               "w1-1 <- dispatch a#1 on cpu"});
    join("w1-2", {"cpu", "cpu:1=cpu"});
    claim_all({"run a#1 lost_worker on w1/cpu",
               "job a failed #1 lost_worker: worker w1 was started again crashes 1",
               "log failed a#1: lost_worker: worker w1 was started again",
               "log stopped sweep: 1 jobs failed, max_fails is 1",
               "job b cancelled #0: 1 jobs failed, max_fails is 1",
               "run " + second + "#1 lost_worker on w1/cpu:1",
               "job " + second + " failed #1 lost_worker: worker w1 was started again crashes 1",
               "log sentinel " + second +
                   "#1: card w1/cpu:1 was not measured: lost_worker: worker w1 was started again"});
    EXPECT_TRUE(over());
}

}  // namespace
}  // namespace bitsweep::scheduler
