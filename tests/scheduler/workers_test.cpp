// Workers that come, go, fall silent and come back.
#include "tests/scheduler/scheduler_fixture.h"

namespace bitsweep::scheduler {
namespace {

class Workers : public SchedulerTest {
 protected:
    void run_a() {
        join("w1-1");
        submit_new("sweep", {"a=m/fp16"});
        claim_dispatch("w1-1", "a#1");
    }
};

TEST_F(Workers, heartbeats_that_list_the_job_keep_its_lease) {
    run_a();
    pass_with_heartbeats(300'000, {"w1-1"});
    expect_silence();
    EXPECT_TRUE(std::holds_alternative<Running>(job("a").state()));
}

TEST_F(Workers, a_job_whose_dispatch_was_lost_is_taken_back_though_its_worker_speaks) {
    run_a();
    for (int second = 0; second < 10; ++second) {
        now_ = now_ + Duration{1'000};
        step(Heartbeat{SessionId{"w1-1"}, {}});
        if (second % 3 == 2) {
            claim("w1-1 <- welcome");
        }
        step(Tick{});
    }
    claim_all({"job a backoff #1 until 1011000 crashes 1",
               "log retry a#1: worker w1 never got the job", "run a#1 lost_worker on w1/cpu"});
}

TEST_F(Workers, a_late_heartbeat_of_a_worker_that_left_is_told_to_say_hello) {
    join("w1-1");
    step(Goodbye{SessionId{"w1-1"}});
    claim("log left: worker w1 left");
    step(Heartbeat{SessionId{"w1-1"}, {attempt("a#1")}});
    claim_all({"w1-1 <- refusal not_found: unknown session: say hello"});
}

TEST_F(Workers, a_goodbye_gives_the_job_back_without_a_charge) {
    run_a();
    step(Goodbye{SessionId{"w1-1"}});
    claim_all({"job a backoff #1 until 1001000", "log retry a#1: worker w1 left",
               "log left: worker w1 left"});
}

TEST_F(Workers, a_worker_that_speaks_again_is_told_to_drop_what_was_taken_back) {
    run_a();
    pass(10'000);
    claim_all({"log lost: worker w1 is silent", "job a backoff #1 until 1011000 crashes 1",
               "log retry a#1: worker w1 lost", "run a#1 lost_worker on w1/cpu"});
    step(Heartbeat{SessionId{"w1-1"}, {attempt("a#1")}});
    claim_all({"log back: worker w1 speaks again", "w1-1 <- welcome",
               "w1-1 <- cancel a#1: this attempt was taken back"});
    pass(1'000);
    claim_dispatch("w1-1", "a#2", "cpu", " crashes 1");
}

TEST_F(Workers, a_newer_process_of_the_same_name_replaces_the_older_one_at_once) {
    run_a();
    join("w1-2");
    claim_all({"job a backoff #1 until 1001000 crashes 1",
               "log retry a#1: worker w1 was started again", "run a#1 lost_worker on w1/cpu"});
    step(Heartbeat{SessionId{"w1-1"}, {attempt("a#1")}});
    step(hello("w1-1"));
    claim_all({"w1-1 <- refusal already_exists: a newer process took this worker's name",
               "w1-1 <- refusal already_exists: a newer process took the name w1; give each "
               "worker a name of its own (--name)"});
}

TEST_F(Workers, a_newer_process_that_lists_the_attempt_keeps_it) {
    run_a();
    join("w1-2", {"cpu"}, {"m"}, {attempt("a#1")});
    claim_all({"job a running #1 w1-2/cpu"});
    finish("w1-2", "a#1");
}

TEST_F(Workers, heartbeats_are_answered_four_times_a_lease_and_each_one_that_ends_a_silence) {
    join("w1-1");
    std::vector<std::int64_t> answered;
    for (std::int64_t ms = 250; ms <= 10'000; ms += 250) {
        now_ = now_ + Duration{250};
        step(Heartbeat{SessionId{"w1-1"}, {}});
        if (claim_if_there("w1-1 <- welcome")) {
            answered.push_back(ms);
        }
    }
    EXPECT_EQ(answered, (std::vector<std::int64_t>{2'500, 5'000, 7'500, 10'000}));
    expect_silence();
    pass(10'000);
    claim_all({"log lost: worker w1 is silent"});
    step(Heartbeat{SessionId{"w1-1"}, {}});
    claim_all({"log back: worker w1 speaks again", "w1-1 <- welcome"});
}

TEST_F(Workers, the_silence_of_one_is_noticed_when_it_is_due_whatever_others_say) {
    const TimePoint start = now_;
    join("w1-1");
    join("w2-1");
    now_ = start + Duration{9'000};
    step(Heartbeat{SessionId{"w2-1"}, {}});
    claim("w2-1 <- welcome");
    EXPECT_EQ(scheduler_.next_deadline(), start + Duration{10'000});
    pass(1'000);
    claim_all({"log lost: worker w1 is silent"});
    EXPECT_EQ(scheduler_.next_deadline(), start + Duration{19'000}) << "w2's, said at 9 s";
    now_ = start + Duration{12'000};
    step(Heartbeat{SessionId{"w1-1"}, {}});
    claim_all({"log back: worker w1 speaks again", "w1-1 <- welcome"});
    pass(7'000);
    claim_all({"log lost: worker w2 is silent"});
    EXPECT_EQ(scheduler_.next_deadline(), start + Duration{22'000}) << "w1's, said at 12 s";
    pass(3'000);
    claim_all({"log lost: worker w1 is silent"});
    EXPECT_EQ(scheduler_.next_deadline(), start + Duration{609'000}) << "w2 is forgotten then";
}

TEST_F(Workers, saying_hello_twice_changes_nothing) {
    run_a();
    step(hello("w1-1", {"cpu"}, {"m", "n"}, {attempt("a#1")}));
    claim_all({"w1-1 <- welcome"});
    finish("w1-1", "a#1");
}

TEST_F(Workers, a_dispatch_that_was_lost_with_its_connection_is_repeated_with_the_next_hello) {
    run_a();
    step(hello("w1-1"));
    claim_all({"w1-1 <- dispatch a#1 on cpu", "w1-1 <- welcome"});
    finish("w1-1", "a#1");
}

TEST_F(Workers, after_a_restart_a_worker_that_never_got_the_job_is_told_again) {
    run_a();
    restart();
    join("w1-1");
    claim("w1-1 <- dispatch a#1 on cpu");
    finish("w1-1", "a#1");
}

TEST_F(Workers, after_a_restart_the_running_attempt_is_adopted) {
    run_a();
    restart();
    step(Heartbeat{SessionId{"w1-1"}, {attempt("a#1")}});
    claim_all({"w1-1 <- refusal not_found: unknown session: say hello"});
    join("w1-1", {"cpu"}, {"m"}, {attempt("a#1")});
    expect_silence();
    finish("w1-1", "a#1");
}

TEST_F(Workers, after_a_restart_attempts_that_nobody_waits_for_are_cancelled) {
    run_a();
    restart();
    join("w1-1", {"cpu"}, {"m"}, {attempt("a#1"), attempt("a#7"), attempt("z#1")});
    claim_all({"w1-1 <- cancel a#7: this attempt was taken back",
               "w1-1 <- cancel z#1: this attempt was taken back"});
}

TEST_F(Workers, after_a_restart_a_worker_that_does_not_come_back_loses_the_job_after_one_lease) {
    run_a();
    restart();
    pass(9'999);
    expect_silence();
    pass(1);
    claim_all({"job a backoff #1 until 1011000 crashes 1",
               "log retry a#1: worker w1 did not come back", "run a#1 lost_worker on w1/cpu"});
}

TEST_F(Workers, nothing_that_was_stored_as_done_runs_again_after_a_restart) {
    run_a();
    finish("w1-1", "a#1");
    restart();
    join("w1-1", {"cpu"}, {"m"}, {});
    step(submission("sweep", {"a=m/fp16"}));
    claim_all({"answer sweep: 1 cells, 0 new, 1 done, 0 running, 0 failed before, 0 impossible"});
}

TEST_F(Workers, a_worker_that_never_answers_is_given_up_long_after_the_jobs_limit) {
    run_a();
    pass_with_heartbeats(660'000, {"w1-1"});
    claim_all({"w1-1 <- cancel a#1: no answer long after the limit",
               "job a failed #1 timeout: worker w1 gave no answer long after the limit failures 1",
               "log failed a#1: timeout: worker w1 gave no answer long after the limit",
               "run a#1 timeout on w1/cpu"});
}

TEST_F(Workers, a_silent_worker_is_forgotten_in_the_end) {
    join("w1-1");
    pass(10'000);
    claim("log lost: worker w1 is silent");
    pass(600'000);
    EXPECT_TRUE(state().workers().empty());
}

TEST_F(Workers, a_hello_that_contradicts_itself_is_refused_and_attaches_nobody) {
    Hello nameless = hello("w1-1");
    nameless.worker = {};
    step(nameless);
    claim("w1-1 <- refusal invalid_input: hello without worker name or session");
    step(hello("w1-1", {}));
    claim("w1-1 <- refusal invalid_input: worker w1 has no device");
    step(hello("w1-1", {"cpu", "cpu"}));
    claim(
        "w1-1 <- refusal invalid_input: worker w1 has a device without id or kind, or two of "
        "one id");
    EXPECT_TRUE(state().workers().empty());
}

TEST_F(Workers, a_known_session_cannot_take_another_name) {
    join("w1-1");
    Hello renamed = hello("w1-1");
    renamed.worker = WorkerName{"w9"};
    step(renamed);
    claim("w1-1 <- refusal invalid_input: this session belongs to worker w1");
}

TEST_F(Workers, the_same_events_give_the_same_commands) {
    const std::vector<Event> events = {hello("w1-1"), submission("sweep", {"a=m/fp16", "b=n/int8"}),
                                       result("w1-1", "a#1"), hello("w2-1", {"cpu", "cuda:0=T4"}),
                                       Goodbye{SessionId{"w1-1"}}};
    std::vector<std::string> first;
    std::vector<std::string> second;
    for (std::vector<std::string>* lines : {&first, &second}) {
        Scheduler scheduler{test_options()};
        for (const Event& event : events) {
            for (const Command& command : scheduler.step(now_, event)) {
                lines->push_back(in_words(command));
            }
        }
    }
    EXPECT_EQ(first, second);
    EXPECT_GT(first.size(), 10u);
}

}  // namespace
}  // namespace bitsweep::scheduler
