// `bitsweep verify`: measures a random sample of an experiment's cells again and says which differ.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>

#include "coordinator/cli/client.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/interrupt.h"
#include "coordinator/cli/options.h"
#include "coordinator/cli/progress.h"
#include "coordinator/cli/tables.h"
#include "results/analysis/random.h"
#include "results/analysis/table_row.h"
#include "results/store/store.h"
#include "schemas/catalog/windows.h"

namespace bitsweep {

namespace {

namespace po = boost::program_options;

constexpr Duration submit_limit{120'000};
constexpr int most_sampled = 10'000;

struct VerifyPlan {
    ExperimentName experiment;
    int sample = 10;
    std::uint64_t seed = 1;
    double tolerance = 0.05;  // of a decode rate
};

Result<VerifyPlan> read_plan(const Parsed& parsed) {
    VerifyPlan plan;
    plan.experiment.value = parsed.get<std::string>("experiment");
    plan.sample = parsed.get<int>("sample", plan.sample);
    plan.seed = parsed.get<std::uint64_t>("seed", plan.seed);
    plan.tolerance = parsed.get<double>("tolerance", 5) / 100;
    if (plan.experiment.value.empty()) {
        return make_error(ErrorCode::invalid_input,
                          "which experiment? usage: bitsweep verify EXPERIMENT [--sample N]");
    }
    if (plan.sample < 1 || plan.sample > most_sampled) {
        return make_error(ErrorCode::invalid_input, "--sample " + std::to_string(plan.sample) +
                                                        ": 1 to " + std::to_string(most_sampled));
    }
    if (!(plan.tolerance > 0 && plan.tolerance < 1)) {
        return make_error(ErrorCode::invalid_input,
                          "--tolerance: a percentage above 0 and below 100");
    }
    return plan;
}

// Done cells, shuffled by the seed, the first so many.
Result<std::vector<StoredJob>> sampled(Store& store, const VerifyPlan& plan) {
    std::vector<StoredJob> jobs = TRY(store.jobs(plan.experiment));
    std::erase_if(jobs, [](const StoredJob& job) { return job.state != "done"; });
    if (jobs.empty()) {
        return make_error(ErrorCode::not_found, "`" + plan.experiment.value +
                                                    "` has no cell with a result in this database");
    }
    Random random(plan.seed);
    for (std::size_t i = jobs.size(); i > 1; --i) {
        std::swap(jobs[i - 1], jobs[random.index(i)]);
    }
    jobs.resize(std::min(jobs.size(), static_cast<std::size_t>(plan.sample)));
    return jobs;
}

// What a run of a cell says.
struct Answer {
    double rate = std::nan("");  // decode_tokens_per_s; NaN: not measured
    std::string new_ids;
    std::int64_t run = 0;
    bool disturbed = false;  // its window does not count
};

using Answers = std::map<std::string, Answer>;  // by the cell's key

// Of the run that `run_of_job` selects: the one that is shown, or the newest, which is not shown
// where its window was disturbed.
constexpr const char* shown_run = "j.result";
constexpr const char* newest_run =
    "(SELECT max(n.id) FROM runs n WHERE n.job = j.id AND n.outcome = 'done')";

Result<Answers> answers_of(Store& store, const std::vector<StoredJob>& jobs,
                           const std::string& run_of_job) {
    Answers answers;
    for (const StoredJob& job : jobs) {
        const std::string& key = job.key.value;
        const Table table =
            TRY(store.query("SELECT r.id, r.new_ids, m.value, " + is_flagged_sql("r.id") +
                            " FROM jobs j JOIN runs r ON r.id = " + run_of_job +
                            " LEFT JOIN measurements m ON m.run = r.id AND m.sample = 0"
                            " AND m.metric = 'decode_tokens_per_s' WHERE j.key = " +
                            sql_text(key)));
        if (!table.rows.empty()) {
            const auto& row = table.rows.front();
            answers[key] = {row[2].kind == Table::Kind::null ? std::nan("") : row[2].real,
                            row[1].text, row[0].integer, row[3].integer != 0};
        }
    }
    return answers;
}

std::string percent(double ratio) {
    char text[32];
    std::snprintf(text, sizeof text, "%+.2f %%", 100 * (ratio - 1));
    return text;
}

// "llmint8-bnb T=6"
std::string method_text(const JobSpec& spec) {
    char threshold[32] = "";
    if (spec.threshold) {
        std::snprintf(threshold, sizeof threshold, " T=%g", *spec.threshold);
    }
    return spec.method + threshold;
}

Table::Value number(double value) {
    return {.kind = std::isfinite(value) ? Table::Kind::real : Table::Kind::null, .real = value};
}

struct Counts {
    int again = 0, differing = 0, disturbed = 0;
};

// A row for each cell, of what was shown `before`, the `newest` run then, and the one `after`. What
// was not measured again does not agree; a disturbed window says nothing.
Table compare(const std::vector<StoredJob>& jobs, const Answers& before, const Answers& newest,
              const Answers& after, double tolerance, Counts& counts) {
    Table table;
    table.columns = {"model", "method", "gpu",    "repeat", "before token/s",
                     "again", "change", "tokens", "verdict"};
    for (const StoredJob& job : jobs) {
        const JobSpec& spec = job.cell.spec;
        const Answer& first = before.at(job.key.value);
        const auto found = after.find(job.key.value);
        const bool ran = found != after.end() && found->second.run != newest.at(job.key.value).run;
        const double ratio = ran ? found->second.rate / first.rate : std::nan("");
        const bool same_ids = ran && found->second.new_ids == first.new_ids;
        const bool disturbed = first.disturbed || (ran && found->second.disturbed);
        const bool near = !std::isfinite(ratio) || std::fabs(ratio - 1) <= tolerance;
        const std::string verdict = !ran        ? "not measured again"
                                    : !same_ids ? "other tokens"
                                    : disturbed ? "disturbed"
                                    : near      ? "agrees"
                                    : ratio < 1 ? "slower"
                                                : "faster";
        counts.again += ran ? 1 : 0;
        counts.disturbed += verdict == "disturbed" ? 1 : 0;
        counts.differing += verdict == "agrees" || verdict == "disturbed" ? 0 : 1;
        table.rows.push_back({cell(spec.model.name), cell(method_text(spec)), cell(spec.gpu),
                              cell(std::int64_t{spec.repeat}), number(first.rate),
                              number(ran ? found->second.rate : std::nan("")),
                              cell(std::isfinite(ratio) ? percent(ratio) : std::string()),
                              cell(std::string(!ran       ? ""
                                               : same_ids ? "same"
                                                          : "differ")),
                              cell(verdict)});
    }
    return table;
}

// Why nothing of it can be measured now; "" where something can.
std::string why_it_waits(const StatusReply& reply, const Tally& tally) {
    if (reply.workers.empty()) {
        return "no worker is attached";
    }
    std::string reasons;
    for (const std::string& reason : reply.experiments.front().reasons) {
        reasons += (reasons.empty() ? "" : "; ") + reason;
    }
    return tally.running + tally.waiting > 0 ? "" : reasons;
}

// A wait for a worker that fits may never end: it is said, once for each reason.
Result<ExperimentStatus> wait_in_words(Client& client, const ExperimentName& experiment) {
    WaitRules rules;
    rules.look = [told = std::string()](const StatusReply& reply,
                                        const Tally& tally) mutable -> Status {
        const std::string why = why_it_waits(reply, tally);
        if (!why.empty() && why != told) {
            std::fprintf(stderr, "waits for a worker: %s\n", why.c_str());
        }
        told = why;
        return {};
    };
    const Result<ExperimentStatus> end = wait_for_end(client, experiment, rules);
    if (!end && end.error().code == ErrorCode::interrupted) {
        return make_error(ErrorCode::interrupted,
                          "interrupted; results are kept, and the cells that were not measured "
                          "again yet wait for it as " +
                              experiment.value + " (`bitsweep cancel " + experiment.value +
                              "` ends that)");
    }
    return end;
}

Result<int> verify(const Parsed& parsed) {
    const VerifyPlan plan = TRY(read_plan(parsed));
    const auto store = TRY(Store::open(parsed.shared.db, OpenMode::read_only));
    Submit submit;
    submit.experiment.value = "verify-" + plan.experiment.value;
    submit.yaml = "# " + std::to_string(plan.sample) + " random cells of " + plan.experiment.value +
                  " again, seed " + std::to_string(plan.seed) +
                  "\nexperiment: " + submit.experiment.value + "\n";
    const std::vector<StoredJob> jobs = TRY(sampled(*store, plan));
    for (const StoredJob& job : jobs) {
        submit.cells.push_back(job.cell);
    }
    submit.force = true;
    const Answers before = TRY(answers_of(*store, jobs, shown_run));
    const Answers newest = TRY(answers_of(*store, jobs, newest_run));
    interrupts();
    Client client = TRY(Client::attach(parsed.shared));
    TRY(client.submit(submit, submit_limit));
    const ExperimentStatus end = TRY(wait_in_words(client, submit.experiment));
    std::fprintf(stderr, "%s\n", progress_words(end).c_str());
    const Answers after = TRY(answers_of(*store, jobs, newest_run));
    Counts counts;
    print_table(compare(jobs, before, newest, after, plan.tolerance, counts), parsed.shared);
    std::fprintf(
        stderr,
        "%d of %zu cells measured again, %d do not agree within %.3g %%, %d in a disturbed "
        "window, which says nothing\n",
        counts.again, jobs.size(), counts.differing, 100 * plan.tolerance, counts.disturbed);
    return int{counts.differing > 0 ? exit_some_failed : exit_done};
}

}  // namespace

int command_verify(const Arguments& arguments) {
    OptionSet options("verify EXPERIMENT [--sample N] [--seed S] [--tolerance PERCENT]",
                      "Measures a random sample of cells again, through the coordinator of this\n"
                      "database, and compares decode rates and chosen tokens with what is stored.\n"
                      "Both attempts are kept; exit code 1 when a cell does not agree.");
    // clang-format off
    options.add()
        ("sample", po::value<int>()->value_name("N"), "so many cells (default 10)")
        ("seed", po::value<std::uint64_t>()->value_name("S"), "which ones (default 1)")
        ("tolerance", po::value<double>()->value_name("PERCENT"),
            "a decode rate may differ by so much (default 5)");
    // clang-format on
    options.positional("experiment", 1);
    const Parsed parsed = options.parse(arguments);
    if (parsed.stop) {
        return *parsed.stop;
    }
    const Result<int> code = verify(parsed);
    return code ? *code : report(code.error());
}

}  // namespace bitsweep
