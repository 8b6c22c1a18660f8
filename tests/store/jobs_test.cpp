#include <cmath>
#include <limits>

#include "results/store/job_rows.h"
#include "schemas/codec.h"
#include "tests/store/fixture.h"

namespace bitsweep::testing {
namespace {

TEST(Jobs, aStoredJobComesBackAsItWas) {
    TempFolder folder;
    auto store = open_store(folder / "a.db");
    StoredJob job = make_job("llmint8-bnb", 2, 6.0);
    job.cell.spec.model.path = "somewhere/tiny";
    job.cell.spec.prompt = "quotes \" and \n lines and \xC3\xBC";
    job.cell.spec.seed = 9'007'199'254'740'991;
    job.cell.spec.head_bits = 8;
    job.cell.identity.weights_digest = "aa";
    job.cell.identity.dataset_digest = "bb";
    job.cell.identity.numerics_revision = 3;
    job.cell.policy = {5, {1234}, 1, 2};
    rekey(job);
    put_jobs(*store, "e", {job});

    const auto jobs = store->jobs({"e"});
    ASSERT_TRUE(jobs.ok()) << jobs.error().message;
    ASSERT_EQ(jobs->size(), 1u);
    const StoredJob& back = jobs->front();
    EXPECT_EQ(back.key, job.key);
    EXPECT_EQ(to_json(back.cell.spec), to_json(job.cell.spec));
    EXPECT_EQ(back.cell.spec.model.path, "somewhere/tiny");
    EXPECT_EQ(cell_key(back.cell.identity), job.key);
    EXPECT_EQ(back.cell.yaml_line, 7);
    EXPECT_EQ(back.cell.policy.priority, 5);
    EXPECT_EQ(back.cell.policy.timeout.ms, 1234);
    EXPECT_EQ(back.cell.policy.retries_crash, 1);
    EXPECT_EQ(back.cell.policy.retries_fail, 2);
    EXPECT_EQ(back.state, "waiting");
    EXPECT_EQ(back.last_outcome, OutcomeClass::done);
}

TEST(Jobs, setJobUpdatesWhatTheSchedulerKeeps) {
    TempFolder folder;
    auto store = open_store(folder / "a.db");
    StoredJob job = make_job("fp16");
    put_jobs(*store, "e", {job});
    job.state = "running";
    job.attempt = {4'000'000'000};
    job.crashes = 2;
    job.failures = 1;
    job.worker.value = "w";
    job.session.value = "s";
    job.device = "cuda:0";
    job.last_outcome = OutcomeClass::out_of_gpu_memory;
    job.last_message = "needs 9 GiB";
    ASSERT_TRUE(store->transact([&](StoreWriter& w) { return w.set_job(job); }).ok());
    const StoredJob back = store->jobs({}).value().at(0);
    EXPECT_EQ(back.state, "running");
    EXPECT_EQ(back.attempt.value, 4'000'000'000u);
    EXPECT_EQ(back.crashes, 2);
    EXPECT_EQ(back.failures, 1);
    EXPECT_EQ(back.worker.value, "w");
    EXPECT_EQ(back.session.value, "s");
    EXPECT_EQ(back.device, "cuda:0");
    EXPECT_EQ(back.last_outcome, OutcomeClass::out_of_gpu_memory);
    EXPECT_EQ(back.last_message, "needs 9 GiB");
}

// New jobs are gathered before they are written: whatever comes between them has to find them.
TEST(Jobs, newJobsAmongOtherWritesOfATransactionAllArriveInOrder) {
    for (const int count : {1, 15, 16, 17, 40}) {
        TempFolder folder;
        auto store = open_store(folder / "a.db");
        std::vector<StoredJob> jobs;
        for (int i = 0; i < count; ++i) {
            jobs.push_back(make_job("int8", i));
        }
        const auto changed = [&](int at) -> StoredJob& { return jobs[at % count]; };
        const Status done = store->transact([&](StoreWriter& writer) -> Status {
            TRY(writer.put_experiment(make_experiment("first")));
            TRY(writer.put_experiment(make_experiment("second")));
            for (int i = 0; i < count; ++i) {
                if (i == 9) {
                    jobs[i].state = "failed";  // new, and not as new ones are
                    jobs[i].last_message = "too large";
                }
                TRY(writer.put_job({"first"}, jobs[i]));
                if (i == 4 % count) {
                    TRY(writer.put_job({"second"}, jobs[i]));
                    jobs[i].state = "running";
                    TRY(writer.set_job(jobs[i]));
                }
                if (i == 20 % count) {
                    TRY(writer.put_run(make_run(jobs[i], 5)));
                }
            }
            return {};
        });
        ASSERT_TRUE(done.ok()) << done.error().message;
        const auto back = store->jobs({"first"}).value();
        ASSERT_EQ(back.size(), static_cast<std::size_t>(count));
        for (int i = 0; i < count; ++i) {
            EXPECT_EQ(back[i].key, jobs[i].key) << i << " of " << count;
            EXPECT_EQ(back[i].state, jobs[i].state) << i << " of " << count;
            EXPECT_EQ(back[i].last_message, jobs[i].last_message);
        }
        ASSERT_EQ(store->jobs({"second"}).value().size(), 1u);
        EXPECT_EQ(store->jobs({"second"}).value()[0].key, changed(4).key);
        EXPECT_EQ(number(*store, "SELECT count(*) FROM job_states"), count);
        EXPECT_EQ(text(*store, "SELECT key FROM jobs j JOIN runs r ON r.job = j.id"),
                  changed(20).key.value);
    }
}

TEST(Jobs, setJobOfAnUnknownKeyIsNotFound) {
    TempFolder folder;
    auto store = open_store(folder / "a.db");
    const Status done =
        store->transact([&](StoreWriter& w) { return w.set_job(make_job("fp16")); });
    ASSERT_FALSE(done.ok());
    EXPECT_EQ(done.error().code, ErrorCode::not_found);
}

TEST(Jobs, aStateThatDoesNotExistIsRefusedByTheDatabase) {
    TempFolder folder;
    auto store = open_store(folder / "a.db");
    StoredJob job = make_job("fp16");
    put_jobs(*store, "e", {job});
    job.state = "asleep";
    const Status done = store->transact([&](StoreWriter& w) { return w.set_job(job); });
    ASSERT_FALSE(done.ok());
    EXPECT_EQ(done.error().code, ErrorCode::internal);
}

TEST(Jobs, theSameCellOfTwoExperimentsIsOneJobWithThePolicyOfTheNewestRequest) {
    TempFolder folder;
    auto store = open_store(folder / "a.db");
    StoredJob job = make_job("fp16");
    put_jobs(*store, "first", {job});
    job.state = "done";  // only a new job takes the state that is given
    job.cell.policy.priority = 9;
    job.cell.yaml_line = 70;
    put_jobs(*store, "second", {job, make_job("int8")});
    EXPECT_EQ(number(*store, "SELECT count(*) FROM jobs"), 2);
    const auto first = store->jobs({"first"}).value();
    const auto second = store->jobs({"second"}).value();
    ASSERT_EQ(first.size(), 1u);
    ASSERT_EQ(second.size(), 2u);
    EXPECT_EQ(first[0].cell.policy.priority, 9);
    EXPECT_EQ(second[0].cell.policy.priority, 9);
    EXPECT_EQ(second[0].cell.yaml_line, 70);
    EXPECT_EQ(second[0].state, "waiting");
    const auto all = store->jobs({}).value();
    ASSERT_EQ(all.size(), 2u);
    EXPECT_EQ(all[0].cell.policy.priority, 9) << "what a restart reads";
    EXPECT_EQ(all[1].cell.policy.priority, 0) << "another job";
}

TEST(Jobs, aJobOfAnUnknownExperimentIsRefusedAndChangesNothing) {
    TempFolder folder;
    auto store = open_store(folder / "a.db");
    const Status done =
        store->transact([&](StoreWriter& w) { return w.put_job({"nowhere"}, make_job("fp16")); });
    ASSERT_FALSE(done.ok());
    EXPECT_EQ(done.error().code, ErrorCode::not_found);
    EXPECT_EQ(done.error().message, "a job of experiment nowhere, which is not in the database");
    EXPECT_EQ(number(*store, "SELECT count(*) FROM jobs"), 0);
}

TEST(Experiments, comeBackWithTagsAndTemplatesAndTheNewestVersionWins) {
    TempFolder folder;
    auto store = open_store(folder / "a.db");
    StoredExperiment experiment = make_experiment("e");
    experiment.tags = {{"paper", "seed"}, {"quote", "it's \"so\""}};
    Cell cell = make_job("int8").cell;
    cell.spec.gpu = "*";
    cell.card_condition = "13.5 < (vram_gib * 0.9)";
    experiment.templates = {cell, make_job("fp16").cell};
    ASSERT_TRUE(store->transact([&](StoreWriter& w) { return w.put_experiment(experiment); }).ok());
    auto back = store->experiments().value();
    ASSERT_EQ(back.size(), 1u);
    EXPECT_EQ(back[0].yaml, experiment.yaml);
    EXPECT_EQ(back[0].submitted.unix_ms, 42);
    EXPECT_EQ(back[0].tags, experiment.tags);
    ASSERT_EQ(back[0].templates.size(), 2u);
    EXPECT_EQ(back[0].templates[0].spec.gpu, "*");
    EXPECT_EQ(back[0].templates[0].yaml_line, 7);
    EXPECT_EQ(back[0].templates[0].card_condition, "13.5 < (vram_gib * 0.9)");
    EXPECT_FALSE(back[0].templates[1].card_condition);

    experiment.tags = {{"paper", "other"}};
    experiment.templates.clear();
    experiment.submitted.unix_ms = 43;
    ASSERT_TRUE(store->transact([&](StoreWriter& w) { return w.put_experiment(experiment); }).ok());
    back = store->experiments().value();
    ASSERT_EQ(back.size(), 1u);
    EXPECT_EQ(back[0].tags, experiment.tags);
    EXPECT_TRUE(back[0].templates.empty());
    EXPECT_EQ(back[0].submitted.unix_ms, 43);
}

TEST(Runs, aSecondDeliveryOfAnAttemptChangesNothing) {
    TempFolder folder;
    auto store = open_store(folder / "a.db");
    const StoredJob job = make_job("fp16");
    put_jobs(*store, "e", {job});
    put_run(*store, make_run(job, 100));
    put_run(*store, make_run(job, 999));
    EXPECT_EQ(number(*store, "SELECT count(*) FROM runs"), 1);
    EXPECT_EQ(number(*store, "SELECT decode_tokens_per_s FROM v_results"), 100);
}

TEST(Runs, theNewestSuccessfulAttemptIsShownAndTheOthersAreKept) {
    TempFolder folder;
    auto store = open_store(folder / "a.db");
    const StoredJob job = make_job("fp16");
    put_jobs(*store, "e", {job});
    FinishedRun third = make_run(job, 300);
    third.result.attempt = {3};
    put_run(*store, third);
    FinishedRun late = make_run(job, 200);
    late.result.attempt = {2};
    put_run(*store, late);
    FinishedRun failed = make_run(job, 400);
    failed.result.attempt = {4};
    failed.result.outcome = {OutcomeClass::crash, "signal 11", "exit status: SIGSEGV"};
    put_run(*store, failed);
    EXPECT_EQ(number(*store, "SELECT count(*) FROM runs"), 3);
    EXPECT_EQ(number(*store, "SELECT decode_tokens_per_s FROM v_results"), 300);
}

TEST(Runs, aResultOfAnUnknownJobIsNotFound) {
    TempFolder folder;
    auto store = open_store(folder / "a.db");
    const Status done =
        store->transact([&](StoreWriter& w) { return w.put_run(make_run(make_job("fp16"), 1)); });
    ASSERT_FALSE(done.ok());
    EXPECT_EQ(done.error().code, ErrorCode::not_found);
}

TEST(Runs, everythingOfAResultIsStored) {
    TempFolder folder;
    auto store = open_store(folder / "a.db");
    const StoredJob job = make_job("fp16");
    put_jobs(*store, "e", {job});
    FinishedRun run = make_run(job, 100);
    run.result.measurements.push_back({"perplexity", "1", 0, std::nan("")});
    run.result.measurements.push_back({"perplexity", "1", 0, 5.0});  // said twice: the first counts
    run.result.samples = {
        {"token_latency", "ns", {1.5, 1e300, 0.1, std::numeric_limits<double>::infinity()}}};
    run.result.generated = {{1, 2}, {3, -4}, "two\nlines \"quoted\""};
    run.result.provenance = {{"engine", "0.1"}, {"note", "tab\there \x01 \xC3\xBC"}};
    put_run(*store, run);
    EXPECT_EQ(number(*store, "SELECT count(*) FROM measurements WHERE value IS NULL"), 1);
    EXPECT_EQ(text(*store, "SELECT \"values\" FROM samples"), "[1.5,1e+300,0.1,null]");
    EXPECT_EQ(number(*store, "SELECT count FROM samples"), 4);
    EXPECT_EQ(text(*store, "SELECT new_ids FROM runs"), "[3,-4]");
    EXPECT_EQ(text(*store, "SELECT generated_text FROM runs"), "two\nlines \"quoted\"");
    EXPECT_EQ(text(*store, "SELECT provenance ->> 'note' FROM runs"), "tab\there \x01 \xC3\xBC");
    EXPECT_EQ(text(*store, "SELECT worker || device || device_name FROM runs"),
              "worker-1cputest cpu");
}

TEST(Runs, aRunOfAHundredThousandSamplesIsStoredWhole) {
    TempFolder folder;
    auto store = open_store(folder / "a.db");
    const StoredJob job = make_job("fp16");
    put_jobs(*store, "e", {job});
    FinishedRun run = make_run(job, 100);
    run.result.samples = {{"token_latency", "ns", {}}};
    for (int i = 0; i < 100'000; ++i) {
        run.result.samples[0].values.push_back(i);
    }
    put_run(*store, run);
    EXPECT_EQ(number(*store, "SELECT sum(value) FROM v_samples"), 100'000.0 * 99'999 / 2);
}

TEST(Events, areKeptInOrderAndMustBeJson) {
    TempFolder folder;
    auto store = open_store(folder / "a.db");
    const auto put = [&](std::string_view json) {
        return store->transact([&](StoreWriter& w) { return w.put_event({5}, "submitted", json); });
    };
    EXPECT_TRUE(put("{\"a\":1}").ok());
    EXPECT_TRUE(put("{\"a\":2}").ok());
    EXPECT_FALSE(put("{\"a\":").ok());
    EXPECT_EQ(text(*store, "SELECT group_concat(json ->> 'a') FROM events"), "1,2");
}

// ---- where jobs are

TEST(JobRows, everyKeyIsFoundAndAStrangeOneIsNot) {
    TempFolder folder;
    auto store = open_store(folder / "a.db");
    std::vector<StoredJob> jobs;
    for (int repeat = 0; repeat < 3'000; ++repeat) {
        jobs.push_back(make_job("fp16", repeat));
    }
    put_jobs(*store, "e", jobs);
    Connection connection = Connection::open(folder / "a.db", SQLITE_OPEN_READONLY).value();
    JobRows rows;
    EXPECT_FALSE(rows.find(connection, "nothing").value());
    for (std::size_t i = 0; i < jobs.size(); ++i) {
        EXPECT_EQ(rows.find(connection, jobs[i].key.value).value(),
                  static_cast<std::int64_t>(i) + 1);
    }
    for (int i = 0; i < 5'000; ++i) {
        rows.add("new" + std::to_string(i), 10'000 + i);
    }
    EXPECT_EQ(rows.find(connection, "new4321").value(), 14'321);
    EXPECT_EQ(rows.find(connection, jobs[7].key.value).value(), 8);
    rows.forget();
    EXPECT_FALSE(rows.find(connection, "new4321").value());
    EXPECT_EQ(rows.find(connection, jobs[7].key.value).value(), 8);
}

TEST(JobRows, whereTwoKeysShareAHashTheDatabaseIsAsked) {
    TempFolder folder;
    auto store = open_store(folder / "a.db");
    const StoredJob job = make_job("fp16");
    put_jobs(*store, "e", {job});
    Connection connection = Connection::open(folder / "a.db", SQLITE_OPEN_READONLY).value();
    JobRows rows;
    ASSERT_EQ(rows.find(connection, job.key.value).value(), 1);
    rows.add(job.key.value, 77);  // as a second key with its hash would be
    EXPECT_EQ(rows.find(connection, job.key.value).value(), 1);
}

TEST(JobRows, aJobOfATransactionThatWasUndoneIsNotThere) {
    TempFolder folder;
    auto store = open_store(folder / "a.db");
    put_jobs(*store, "e", {make_job("fp16")});
    const StoredJob job = make_job("int8");
    EXPECT_FALSE(store
                     ->transact([&](StoreWriter& writer) -> Status {
                         TRY(writer.put_job({"e"}, job));
                         return make_error(ErrorCode::io, "the disk is full");
                     })
                     .ok());
    const Status set = store->transact([&](StoreWriter& writer) { return writer.set_job(job); });
    ASSERT_FALSE(set.ok());
    EXPECT_EQ(set.error().code, ErrorCode::not_found);
    put_jobs(*store, "e", {job});
    EXPECT_EQ(number(*store, "SELECT count(*) FROM jobs"), 2);
}

TEST(Runs, aResultIsShownWhetherOrNotTheStateOfItsJobFollows) {
    TempFolder folder;
    auto store = open_store(folder / "a.db");
    std::vector<StoredJob> jobs = {make_job("fp16"), make_job("int8"), make_job("nf4")};
    put_jobs(*store, "e", jobs);
    ASSERT_TRUE(store
                    ->transact([&](StoreWriter& writer) -> Status {
                        TRY(writer.put_run(make_run(jobs[0], 10)));
                        TRY(writer.put_run(make_run(jobs[1], 20)));
                        jobs[2].state = "running";
                        TRY(writer.set_job(jobs[2]));
                        jobs[0].state = "done";
                        TRY(writer.set_job(jobs[0]));
                        return writer.put_run(make_run(jobs[2], 30));
                    })
                    .ok());
    EXPECT_EQ(text(*store, "SELECT group_concat(decode_tokens_per_s) FROM v_results"),
              "10.0,20.0,30.0");
    EXPECT_EQ(text(*store, "SELECT group_concat(state) FROM jobs"), "done,waiting,running");
}

// ---- members and former members

TEST(Members, aFormerMemberLeavesTheViewsAndKeepsItsResults) {
    TempFolder folder;
    auto store = open_store(folder / "a.db");
    const StoredJob kept = make_job("fp16");
    const StoredJob left = make_job("int8");
    put_jobs(*store, "e", {kept, left});
    put_jobs(*store, "other", {left});
    put_run(*store, make_run(kept, 1));
    put_run(*store, make_run(left, 1));
    const auto put = [&](Membership membership) {
        return store->transact([&](StoreWriter& w) { return w.put_job({"e"}, left, membership); });
    };
    ASSERT_TRUE(put(Membership::former).ok());
    EXPECT_EQ(text(*store, "SELECT group_concat(method) FROM v_cells WHERE experiment = 'e'"),
              "fp16");
    EXPECT_EQ(text(*store, "SELECT group_concat(method) FROM v_summary WHERE experiment = 'e'"),
              "fp16");
    EXPECT_EQ(text(*store, "SELECT group_concat(method) FROM v_former WHERE experiment = 'e'"),
              "int8");
    EXPECT_EQ(number(*store, "SELECT count(*) FROM v_cells WHERE experiment = 'other'"), 1);
    EXPECT_EQ(number(*store, "SELECT count(*) FROM runs"), 2);

    ASSERT_TRUE(put(Membership::asked).ok());
    EXPECT_EQ(number(*store, "SELECT count(*) FROM v_cells WHERE experiment = 'e'"), 2);
    EXPECT_EQ(number(*store, "SELECT count(*) FROM v_former"), 0);
}

// ---- find

struct Find : ::testing::Test {
    TempFolder folder;
    std::unique_ptr<Store> store = open_store(folder / "a.db");

    // The key of the job found for `job`'s identity, "" when there is none.
    std::string found(const StoredJob& job) {
        // Alone by its key, among many in one pass over the jobs: both ways say the same.
        const std::vector<Cell> many(50, job.cell);
        const auto one = store->find({&job.cell, 1});
        const auto all = store->find(many);
        EXPECT_TRUE(one.ok() && all.ok());
        const auto key = [](const std::optional<KnownJob>& known) {
            return known ? known->key.value : "";
        };
        EXPECT_EQ(one->size(), 1u);
        EXPECT_EQ(all->size(), many.size());
        for (const std::optional<KnownJob>& known : *all) {
            EXPECT_EQ(key(known), key(one->front()));
        }
        return key(one->front());
    }
    static StoredJob with_weights(const std::string& digest) {
        StoredJob job = make_job("fp16");
        job.cell.identity.weights_digest = digest;
        rekey(job);
        return job;
    }
};

TEST_F(Find, aJobWithoutDigestsIsTheSameWhateverIsAsked) {
    const StoredJob stored = make_job("fp16");
    put_jobs(*store, "e", {stored});
    EXPECT_EQ(found(stored), stored.key.value);
    EXPECT_EQ(found(with_weights("d1")), stored.key.value);
    EXPECT_EQ(found(make_job("int8")), "");
}

TEST_F(Find, digestsThatDifferAreAnotherCell) {
    const StoredJob stored = with_weights("d1");
    put_jobs(*store, "e", {stored});
    EXPECT_EQ(found(with_weights("d1")), stored.key.value);
    EXPECT_EQ(found(with_weights("d2")), "");
    EXPECT_EQ(found(with_weights("")), stored.key.value);
}

TEST_F(Find, anotherRevisionOfTheNumbersIsAnotherCell) {
    StoredJob stored = make_job("fp16");
    put_jobs(*store, "e", {stored});
    stored.cell.identity.numerics_revision = 2;
    EXPECT_EQ(found(stored), "");
}

TEST_F(Find, theFirstRunBindsTheDigestsThatTheSubmitterDidNotKnow) {
    const StoredJob stored = make_job("fp16");
    put_jobs(*store, "e", {stored});
    FinishedRun run = make_run(stored, 1);
    run.result.weights_digest = "d1";
    run.result.dataset_digest = "t1";
    put_run(*store, run);
    EXPECT_EQ(text(*store, "SELECT digest FROM bindings WHERE kind='model' AND name='tiny'"), "d1");
    EXPECT_EQ(
        text(*store, "SELECT digest FROM bindings WHERE kind='text' AND name='heldout-fiction'"),
        "t1");
    EXPECT_EQ(found(with_weights("d1")), stored.key.value);
    EXPECT_EQ(found(with_weights("d2")), "");
    EXPECT_EQ(found(make_job("fp16")), stored.key.value);
}

TEST_F(Find, aBindingAnswersForAJobOfTheSameModelThatNeverRan) {
    const StoredJob ran = make_job("int8");
    const StoredJob waits = make_job("fp16");
    put_jobs(*store, "e", {ran, waits});
    FinishedRun run = make_run(ran, 1);
    run.result.weights_digest = "d1";
    put_run(*store, run);
    EXPECT_EQ(found(with_weights("d1")), waits.key.value);
    EXPECT_EQ(found(with_weights("d2")), "");
}

TEST_F(Find, aFailedRunBindsNothing) {
    const StoredJob stored = make_job("fp16");
    put_jobs(*store, "e", {stored});
    FinishedRun run = make_run(stored, 1);
    run.result.weights_digest = "d1";
    run.result.outcome.outcome = OutcomeClass::refused;
    put_run(*store, run);
    EXPECT_EQ(number(*store, "SELECT count(*) FROM bindings"), 0);
}

TEST_F(Find, randomWeightsNeitherBindANameNorReadABinding) {
    StoredJob random = make_job("fp16");
    random.cell.spec.model.weights = WeightsSource::random;
    rekey(random);
    const StoredJob real = make_job("int8");
    put_jobs(*store, "e", {random, real});
    FinishedRun run = make_run(random, 1);
    run.result.weights_digest = "random:0";
    put_run(*store, run);
    EXPECT_EQ(number(*store, "SELECT count(*) FROM bindings"), 0);
    FinishedRun bound = make_run(real, 1);
    bound.result.weights_digest = "d1";
    put_run(*store, bound);
    EXPECT_EQ(found(random), random.key.value);
}

TEST_F(Find, ofTwoJobsTheOneWithAResultIsTaken) {
    const StoredJob waits = with_weights("");
    const StoredJob ran = with_weights("d1");
    put_jobs(*store, "e", {ran, waits});
    put_run(*store, make_run(ran, 1));
    EXPECT_EQ(found(with_weights("d1")), ran.key.value);
}

TEST_F(Find, manyCellsAreAnsweredInTheirOrderWithTheirStates) {
    std::vector<StoredJob> jobs;
    for (int bits = 2; bits <= 8; ++bits) {
        jobs.push_back(make_job("int" + std::to_string(bits) + "-g64"));
    }
    jobs[2].state = "failed";
    jobs[2].last_outcome = OutcomeClass::timeout;
    jobs[2].last_message = "too slow";
    put_jobs(*store, "e", jobs);
    const std::vector<Cell> asked = {jobs[4].cell, make_job("fp16").cell, jobs[2].cell};
    const auto found = store->find(asked);
    ASSERT_TRUE(found.ok());
    ASSERT_EQ(found->size(), 3u);
    EXPECT_EQ((*found)[0]->key.value, jobs[4].key.value);
    EXPECT_FALSE((*found)[1]);
    EXPECT_EQ((*found)[2]->key.value, jobs[2].key.value);
    EXPECT_EQ((*found)[2]->state, "failed");
    EXPECT_EQ((*found)[2]->last_outcome, OutcomeClass::timeout);
    EXPECT_EQ((*found)[2]->last_message, "too slow");
    EXPECT_TRUE(store->find({})->empty());
}

}  // namespace
}  // namespace bitsweep::testing
