// Policies that ran: intervals against truths that are known, verdicts and transfers out of a
// database of two devices.
#include "results/analysis/policy_runs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "results/analysis/policy_transfer.h"
#include "results/analysis/summary.h"
#include "tests/analysis/synthetic.h"

namespace bitsweep::testing {
namespace {

// Divergences of neighbouring tokens that share their text's level.
std::vector<double> tokens_of(Gauss& level, Gauss& noise, double mean, int blocks) {
    std::vector<double> tokens;
    for (int block = 0; block < blocks; ++block) {
        const double here = mean * std::exp(0.3 * level.next());
        for (int i = 0; i < 128; ++i) {
            tokens.push_back(here * std::exp(0.5 * noise.next()));
        }
    }
    return tokens;
}

PolicyRun with_tokens(std::vector<double> tokens) {
    PolicyRun run;
    for (const double value : tokens) {
        run.kl += value / static_cast<double>(tokens.size());
    }
    run.kl_tokens = std::move(tokens);
    return run;
}

TEST(PolicyRuns, anIntervalOfLossesHoldsTheTruthAndSharesTheText) {
    int held = 0;
    double widest = 0;
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
        // The same levels for both: that is what a shared text means.
        Gauss a_level(2 * seed), b_level(2 * seed), a_noise(1000 + seed), b_noise(5000 + seed);
        const PolicyRun over = with_tokens(tokens_of(a_level, a_noise, 0.13, 32));
        const PolicyRun under = with_tokens(tokens_of(b_level, b_noise, 0.10, 32));
        const RunPair pair{&over, &under};
        const Interval ratio = kl_ratio({&pair, 1}, {});
        held += ratio.low <= 1.3 && 1.3 <= ratio.high ? 1 : 0;
        widest = std::max(widest, ratio.high / ratio.low);
    }
    EXPECT_GE(held, 180);
    EXPECT_LT(widest, 1.12);  // levels alone, if they were not shared, would make it 1.3
}

TEST(PolicyRuns, lossesWithoutTokensHaveARatioAndNoInterval) {
    const PolicyRun over{.kl = 0.2}, under{.kl = 0.1}, none{.kl = std::nan("")};
    const RunPair pair{&over, &under}, missing{&over, &none};
    EXPECT_NEAR(kl_ratio({&pair, 1}, {}).centre, 2, 1e-12);
    EXPECT_FALSE(kl_ratio({&pair, 1}, {}).known());
    EXPECT_TRUE(std::isnan(kl_ratio({&missing, 1}, {}).centre));
    EXPECT_TRUE(std::isnan(time_ratio({&pair, 1}, {}).centre));
}

TEST(PolicyRuns, severalRatiosAreOneGeometricMean) {
    const PolicyRun one{.kl = 0.1}, two{.kl = 0.2}, eight{.kl = 0.8};
    const std::vector<RunPair> pairs{{&two, &one}, {&eight, &one}};
    EXPECT_NEAR(kl_ratio(pairs, {}).centre, 4, 1e-12);
}

TEST(PolicyRuns, aRankCorrelationHasTheIntervalOfItsPairs) {
    std::vector<double> a, same;
    for (int i = 0; i < 30; ++i) {
        a.push_back(i);
        same.push_back(i * i);
    }
    const Interval perfect = rank_correlation_interval(a, same, {});
    EXPECT_NEAR(perfect.centre, 1, 1e-12);
    EXPECT_NEAR(perfect.low, 1, 1e-12);
    int with_zero = 0;
    double least_width = 2;
    for (std::uint64_t seed = 0; seed < 100; ++seed) {
        Gauss gauss(seed);
        std::vector<double> noise;
        for (int i = 0; i < 30; ++i) {
            noise.push_back(gauss.next());
        }
        const Interval none = rank_correlation_interval(a, noise, {});
        with_zero += none.low <= 0 && 0 <= none.high ? 1 : 0;
        least_width = std::min(least_width, none.high - none.low);
    }
    EXPECT_GE(with_zero, 88);
    EXPECT_GT(least_width, 0.3);
    EXPECT_TRUE(std::isnan(rank_correlation_interval({}, {}, {}).centre));
}

// What two devices say of the layers a0, a1 of model "tiny" and of policies that ran there.
struct TwoDevices : ::testing::Test {
    TempFolder folder;
    std::unique_ptr<Store> store = open_store(folder / "a.db");
    Gauss gauss{7};

    void put(StoredJob job, const std::string& device, double rate,
             std::vector<Measurement> measured, std::vector<double> tokens) {
        job.cell.spec.gpu = device;
        rekey(job);
        FinishedRun run = make_run(job, 0);
        const auto rates = gauss.samples(rate, 0.003, 0.005, 10);
        run.result.measurements = {{"decode_tokens_per_s", "token/s", 0, median(rates)},
                                   {"token_latency_p50", "ns", 0, 1e9 / median(rates)}};
        std::vector<double> latencies;
        for (const double one : gauss.samples(1e9 / median(rates), 0, 0.005, 300)) {
            latencies.push_back(one);
        }
        run.result.samples = {{"decode_rate", "token/s", rates},
                              {"token_latency", "ns", latencies}};
        if (!tokens.empty()) {
            run.result.samples.push_back({"kl", "nat", tokens});
        }
        run.result.measurements.insert(run.result.measurements.end(), measured.begin(),
                                       measured.end());
        run.device_kind = run.device_name = device;
        put_jobs(*store, "e", {job});
        put_run(*store, run);
    }

    // Layer by layer: the times of a method's layers, us, and their losses.
    void put_layers(const std::string& device, const std::string& method,
                    const std::vector<double>& times, const std::vector<double>& losses) {
        std::vector<Measurement> rows;
        for (std::size_t i = 0; i < times.size(); ++i) {
            const std::string layer = "a" + std::to_string(i);
            rows.push_back({"layer_kl:" + layer, "nat", 0, losses[i]});
            rows.push_back({"layer_latency:" + layer, "ns", 0, 1e3 * times[i]});
            rows.push_back({"layer_bytes:" + layer, "B", 0, 100});
        }
        StoredJob job = make_job(method);
        job.cell.spec.quality = {QualityMode::layers, "heldout-fiction", 4096, 256};
        put(job, device, 1000, rows, {});
    }

    void put_policy(const LayerPolicy& policy, const std::string& device, double rate, double kl) {
        for (int repeat = 0; repeat < 3; ++repeat) {
            StoredJob job = make_job("mixed", repeat);
            job.cell.spec.policy = to_json(policy);
            std::vector<double> tokens;
            std::vector<Measurement> measured;
            if (repeat == 0) {  // quality: once
                Gauss level(11), noise(12);
                tokens = tokens_of(level, noise, kl, 32);
                measured = {{"kl_mean", "nat", 0, with_tokens(tokens).kl}};
            }
            put(job, device, rate, measured, tokens);
        }
    }
};

LayerPolicy policy_of(const std::string& name, const std::string& gpu, const std::string& budget,
                      const std::string& first, const std::string& second) {
    LayerPolicy policy{.name = name, .model = "tiny", .gpu = gpu, .budget = budget};
    policy.layers = {{"a0", first}, {"a1", second}};
    return policy;
}

void expect_near(const Interval& interval, double truth) {
    EXPECT_LE(interval.low, truth * 1.005);
    EXPECT_GE(interval.high, truth / 1.005);
    EXPECT_LT(interval.high / interval.low, 1.05);
}

TEST_F(TwoDevices, aPolicyOfAnotherDeviceStandsAgainstTheOwnOneOfItsBudget) {
    const std::string budget = "time of int8";
    const auto cpu = policy_of("found like int8", "cpu", budget, "int8", "fp16");
    const auto card = policy_of("found like int8", "H100", budget, "fp16", "int8");
    put_policy(cpu, "cpu", 1000, 0.010);
    put_policy(card, "cpu", 800, 0.020);
    put_policy(cpu, "H100", 9000, 0.010);
    put_policy(card, "H100", 9000, 0.020);
    const auto runs = read_policy_runs(*store, "tiny");
    ASSERT_TRUE(runs.ok()) << runs.error().message;
    ASSERT_EQ(runs->size(), 4u);
    const auto rows = find_transfers(*runs, {});
    ASSERT_EQ(rows.size(), 4u) << "each pair for all budgets, then for the one";
    for (const Transfer& row : rows) {
        EXPECT_NE(row.found_for, row.measured_on);
        EXPECT_EQ(row.budgets, std::vector<std::string>{budget});
        EXPECT_EQ(row.same_layers, 0);
        expect_near(row.time, row.measured_on == "cpu" ? 1000.0 / 800 : 1.0);
        expect_near(row.kl, row.measured_on == "cpu" ? 2.0 : 0.5);
    }
}

TEST_F(TwoDevices, aDeviceWithoutItsOwnPolicyHasNoTransfer) {
    put_policy(policy_of("found", "cpu", "time of int8", "int8", "fp16"), "H100", 100, 0.1);
    put_policy(policy_of("found", "cpu", "time of int8", "int8", "fp16"), "cpu", 100, 0.1);
    put_policy(policy_of("found", "H100", "time of int4-g64", "int8", "fp16"), "H100", 100, 0.1);
    EXPECT_TRUE(find_transfers(read_policy_runs(*store, "tiny").value(), {}).empty());
}

TEST_F(TwoDevices, foundPoliciesAreJudgedAgainstTheUniformMethodOfTheirTime) {
    const struct {
        const char* method;
        double rate, kl;
        PolicyVerdict verdict;
    } cases[] = {{"int8", 1000, 0.009, PolicyVerdict::as_good},
                 {"int6-g64", 1000, 0.010, PolicyVerdict::as_good},
                 {"int5-g64", 900, 0.001, PolicyVerdict::slower},
                 {"int4-g64", 1200, 0.012, PolicyVerdict::loses_more}};
    for (const auto& c : cases) {
        put_policy(policy_of("uniform " + std::string(c.method), "cpu", "", c.method, c.method),
                   "cpu", 1000, 0.010);
        put_policy(policy_of("found like " + std::string(c.method), "cpu",
                             "time of " + std::string(c.method), "int8", "fp16"),
                   "cpu", c.rate, c.kl);
    }
    const auto rows = against_uniform(read_policy_runs(*store, "tiny").value(), {});
    ASSERT_EQ(rows.size(), std::size(cases));
    for (std::size_t i = 0; i < rows.size(); ++i) {
        EXPECT_EQ(rows[i].method, cases[i].method);
        EXPECT_EQ(rows[i].verdict, cases[i].verdict) << cases[i].method;
        expect_near(rows[i].time, 1000 / cases[i].rate);
        expect_near(rows[i].kl, cases[i].kl / 0.010);
    }
}

TEST_F(TwoDevices, theTableSharesTimesAmongBlocksAndTheFindingSaysWhatRan) {
    put_layers("cpu", "int8", {10, 12, 14}, {0.1, 0.2, 0.3});
    put_layers("cpu", "int4-g64", {6, 5, 90}, {1, 2, 3});  // one was disturbed
    const PolicyQuestion question{.like = "int4-g64"};
    const auto table = read_policy_table(*store, question);
    ASSERT_TRUE(table.ok()) << table.error().message;
    ASSERT_EQ(table->methods, (std::vector<std::string>{"int4-g64", "int8"}));
    for (const PolicyLayer& layer : table->layers) {
        EXPECT_EQ(layer.options[0].cost, 6e3);
        EXPECT_EQ(layer.options[1].cost, 12e3);
    }
    EXPECT_EQ(uniform_choice(*table, 1).cost, 36e3);
    for (int i = 1; i <= 5; ++i) {
        LayerPolicy policy{.name = "random " + std::to_string(i), .model = "tiny", .gpu = "cpu"};
        for (int layer = 0; layer < 3; ++layer) {
            policy.layers["a" + std::to_string(layer)] =
                (i >> layer & 1) != 0 ? "int8" : "int4-g64";
        }
        put_policy(policy, "cpu", 1000, 7.0 - i);  // predicted: 5.1, 4.2, 3.3, 3.3, 2.4
    }
    const auto finding =
        policy_finding(*store, *table, search_policy(*table, question).value(), question);
    ASSERT_TRUE(finding.ok()) << finding.error().message;
    const std::string text = to_text(*finding, 0);
    EXPECT_NE(text.find("of 5 random policies that ran here have rank correlation 0.9"),
              std::string::npos)
        << text;
}

TEST_F(TwoDevices, layersWithoutTimesAreSaidToLackThemAndHaveAPolicyByMemory) {
    std::vector<Measurement> measured;
    for (const char* layer : {"a0", "a1"}) {
        measured.push_back({std::string("layer_kl:") + layer, "nat", 0, 0.1});
        measured.push_back({std::string("layer_bytes:") + layer, "B", 0, 1000});
    }
    put(make_job("int8"), "cpu", 1000, measured, {});
    const auto by_time = read_policy_table(*store, {.like = "int8"});
    ASSERT_FALSE(by_time.ok());
    for (const char* words : {"but no times", "`new_tokens: 64`", "`--by memory`"}) {
        EXPECT_NE(by_time.error().message.find(words), std::string::npos)
            << by_time.error().message;
    }
    EXPECT_TRUE(read_policy_table(*store, {.cost = PolicyCost::memory, .like = "int8"}).ok());
}

TEST_F(TwoDevices, aSummaryTellsPoliciesApartByNameAndDevice) {
    put_policy(policy_of("found like int8", "cpu", "time of int8", "int8", "fp16"), "cpu", 10, 0.1);
    put_policy(policy_of("found like int8", "H100", "time of int8", "fp16", "int8"), "cpu", 10,
               0.1);
    put_policy(policy_of("", "", "", "fp16", "fp16"), "cpu", 10, 0.1);
    const auto summary = summarize(*store, {"e"});
    ASSERT_TRUE(summary.ok()) << summary.error().message;
    std::vector<std::string> methods;
    for (const SummaryRow& row : summary->rows) {
        methods.push_back(row.method);
    }
    std::ranges::sort(methods);
    EXPECT_EQ(methods, (std::vector<std::string>{"mixed", "mixed (found like int8 of H100)",
                                                 "mixed (found like int8 of cpu)"}));
}

TEST_F(TwoDevices, aCheckHasAPolicyWithinEveryMethodsTimeUniformAndRandomOnes) {
    put_layers("cpu", "int8", {10, 10}, {0.1, 0.2});
    put_layers("cpu", "int4-g64", {5, 5}, {1, 2});
    const PolicyQuestion question{.like = "int8"};
    const auto table = read_policy_table(*store, question);
    ASSERT_TRUE(table.ok()) << table.error().message;
    const auto check = policy_check(*store, *table, question, 3, "some/folder");
    ASSERT_TRUE(check.ok()) << check.error().message;
    std::vector<std::string> names;
    for (const PolicyCheck::File& file : check->files) {
        names.push_back(file.name);
        EXPECT_EQ(is_found(file.policy), file.name.starts_with("found-")) << file.name;
        EXPECT_EQ(is_random(file.policy), file.name.starts_with("random-")) << file.name;
        EXPECT_NE(check->yaml.find("    - " + file.name + "\n"), std::string::npos);
        EXPECT_EQ(file.policy.gpu, "cpu");
    }
    EXPECT_EQ(names, (std::vector<std::string>{"found-int4-g64.json", "found-int8.json",
                                               "uniform-int4-g64.json", "uniform-int8.json",
                                               "random-1.json", "random-2.json", "random-3.json"}));
    EXPECT_EQ(check->files[0].policy.budget, "time of int4-g64");
    EXPECT_EQ(uniform_method(check->files[3].policy), "int8");
    EXPECT_NE(check->yaml.find("eval: {text: heldout-fiction, tokens: 4096, window: 256}"),
              std::string::npos)
        << check->yaml;
}

}  // namespace
}  // namespace bitsweep::testing
