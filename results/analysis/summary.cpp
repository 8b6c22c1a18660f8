#include "results/analysis/summary.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <string_view>
#include <tuple>

#include "results/analysis/answer.h"
#include "results/analysis/evidence.h"
#include "results/analysis/interval.h"
#include "results/analysis/labels.h"
#include "results/analysis/question.h"
#include "results/analysis/table_row.h"
#include "schemas/catalog/methods.h"
#include "schemas/catalog/shapes.h"

namespace bitsweep {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// One row of the summary in the making.
struct Group {
    SummaryRow row;
    std::vector<double> decode, ratios;
    std::vector<double> rates;  // of every repeat, whether its window counts or not
    std::size_t model = 0;      // models stay in the order in which they ran
    int weight_bits = 0;
    double threshold = 0;
};

// Run order is shuffled; people read the baseline first, then from many bits to few.
bool comes_before(const Group& a, const Group& b) {
    const auto key = [](const Group& g) {
        return std::tuple(g.model, !g.row.is_baseline, -g.weight_bits);
    };
    if (key(a) != key(b)) {
        return key(a) < key(b);
    }
    const auto name = [](const Group& g) {
        return std::string_view(g.row.method).substr(0, g.row.method.find(' '));
    };
    return name(a) != name(b) ? name(a) < name(b) : a.threshold < b.threshold;
}

SummaryRow start_row(const Row& cell, const Labels& labels) {
    SummaryRow row;
    row.model = labels.model(cell);
    row.method = labels.method(cell);
    row.device = labels.device(cell);
    row.series = cell.label("series");
    row.device_name = cell.label("device_name");
    row.head_bits = static_cast<int>(cell.number("head"));
    row.weights_mib = row.weights_ratio = row.perplexity = row.kl_mean = row.top1 = nan;
    row.stored_types = cell.label("stored_types");
    if (const auto method = parse_method(cell.label("method"))) {
        row.rounds_activations = method->rounds_activations;
    }
    return row;
}

// The first repeat that measured it gives the value: bytes and quality do not vary over repeats.
void keep_first(double& kept, double value) {
    if (std::isnan(kept)) {
        kept = value;
    }
}

void add_cell(Group& group, const Row& cell) {
    SummaryRow& row = group.row;
    if (const double rate = cell.number("decode_tokens_per_s"); std::isfinite(rate)) {
        group.rates.push_back(rate);
    }
    constexpr double bytes_per_mib = 1048576;
    keep_first(row.weights_mib, cell.number("weights_bytes") / bytes_per_mib);
    keep_first(row.weights_ratio, cell.number("weights_ratio"));
    keep_first(row.perplexity, cell.number("perplexity"));
    keep_first(row.kl_mean, cell.number("kl_mean"));
    keep_first(row.top1, cell.number("top1_agreement"));
    const double identical = cell.number("text_identical");
    if (row.text.empty() && !std::isnan(identical)) {
        row.text = identical == 1 ? "identical"
                                  : "diverges at token " + cell.label("text_first_divergence");
    }
}

double rate_of(const Repeat& repeat) {
    const auto found = repeat.metrics.find("decode_tokens_per_s");
    return found == repeat.metrics.end() ? nan : found->second;
}

// Speed, from the runs that count.
void add_speed(Group& group, const MeasuredCell& cell, const Evidence& evidence) {
    const MeasuredCell* base = evidence.baseline_of(cell);
    group.row.repeats = static_cast<int>(cell.repeats.size());
    group.row.baseline = base == nullptr ? "" : base->method_name;
    group.row.is_baseline = base == &cell;
    for (const Repeat& mine : cell.repeats) {
        const double rate = rate_of(mine);
        if (!std::isfinite(rate)) {
            continue;
        }
        group.decode.push_back(rate);
        for (const Repeat& other : base == nullptr ? std::vector<Repeat>{} : base->repeats) {
            if (other.repeat == mine.repeat && std::isfinite(rate_of(other))) {
                group.ratios.push_back(rate / rate_of(other));
            }
        }
    }
}

SummaryRow finish(Group& group) {
    SummaryRow& row = group.row;
    const Interval decode = log_t_interval(group.decode);
    row.decode_tokens_per_s = median(group.decode);
    row.disturbed_tokens_per_s = group.decode.empty() ? median(group.rates) : nan;
    row.decode_low = decode.low;
    row.decode_high = decode.high;
    const Interval speedup = log_t_interval(group.ratios);
    row.speedup = speedup.centre;
    row.speedup_low = speedup.low;
    row.speedup_high = speedup.high;
    row.pairs = static_cast<int>(group.ratios.size());
    return std::move(row);
}

std::string key_of(const Row& row) {
    return row.label("series") + "\n" + row.label("device") + "\n" + row.label("device_name") +
           "\n" + row.label("numerics_revision");
}

std::string key_of(const MeasuredCell& cell) {
    return cell.series + "\n" + cell.kind + "\n" + cell.device_name + "\n" +
           std::to_string(cell.numerics);
}

Result<std::vector<SummaryRow>> read_rows(Store& store, const std::string& name,
                                          const Evidence& evidence) {
    const Table cells = TRY(store.query(
        "SELECT v.model, v.method, v.threshold, v.head, v.kv, v.device, v.device_name, v.batch,"
        " v.prompt_tokens, v.new_tokens, v.protocol, v.weights, v.threads, v.seed, v.series,"
        " v.decode_tokens_per_s, v.weights_bytes, v.weights_ratio, v.perplexity, v.kl_mean, "
        "v.top1_agreement,"
        " v.text_identical, v.text_first_divergence, j.numerics_revision, " +
        std::string(policy_name_column) +
        ", j.spec ->> '$.prompt' AS prompt, r.provenance ->> 'weights_type' AS stored_types"
        " FROM v_results v JOIN jobs j ON j.id = v.job JOIN runs r ON r.id = v.run"
        " WHERE v.experiment = " +
        sql_text(name) + " ORDER BY v.position"));
    const Labels labels(cells);
    std::vector<Group> groups;
    std::map<std::string, std::size_t> index, models;
    for (std::size_t i = 0; i < cells.rows.size(); ++i) {
        const Row cell(cells, i);
        const auto [place, is_new] = index.try_emplace(key_of(cell), groups.size());
        if (is_new) {
            Group group{start_row(cell, labels), {}, {}, {}};
            group.model = models.try_emplace(group.row.model, models.size()).first->second;
            if (const auto method = parse_method(cell.label("method"))) {
                group.weight_bits = method->weight_bits;
            }
            const double threshold = cell.number("threshold");
            group.threshold = std::isnan(threshold) ? 0 : threshold;
            groups.push_back(std::move(group));
        }
        add_cell(groups[place->second], cell);
    }
    for (const MeasuredCell& cell : evidence.cells) {
        // A result may have arrived between the two queries: the next summary has it.
        if (const auto place = index.find(key_of(cell)); place != index.end()) {
            add_speed(groups[place->second], cell, evidence);
        }
    }
    std::stable_sort(groups.begin(), groups.end(), comes_before);
    std::vector<SummaryRow> rows;
    for (Group& group : groups) {
        rows.push_back(finish(group));
    }
    return rows;
}

Result<std::vector<std::string>> read_failures(Store& store, const std::string& name) {
    const Table jobs =
        TRY(store.query("SELECT j.model, j.method, j.threshold, j.repeat, j.state, j.last_outcome,"
                        " j.last_message FROM experiment_jobs l JOIN jobs j ON j.id = l.job"
                        " WHERE j.result IS NULL AND l.asked = 1 AND l.experiment = " +
                        sql_text(name) + " ORDER BY l.id"));
    std::vector<std::string> failures;
    int open = 0;
    for (std::size_t i = 0; i < jobs.rows.size(); ++i) {
        const Row job(jobs, i);
        if (job.label("state") == "waiting" || job.label("state") == "running") {
            ++open;
            continue;
        }
        const std::string outcome =
            job.label("state") == "cancelled" ? "cancelled" : job.label("last_outcome");
        const std::string message = job.label("last_message");
        failures.push_back(job.label("model") + " " + method_label(job) + " repeat " +
                           job.label("repeat") + ": " + outcome +
                           (message.empty() ? "" : ": " + message));
    }
    if (open > 0) {
        failures.push_back(std::to_string(open) +
                           (open == 1 ? " cell has no result yet" : " cells have no result yet"));
    }
    return failures;
}

bool stored_at_four_bits(const SummaryRow& row) {
    return row.stored_types.starts_with("Q4") || row.stored_types.find(",Q4") != std::string::npos;
}

// How to read the table: only what applies to its rows, each once.
std::vector<std::string> notes_of(const std::vector<SummaryRow>& rows) {
    std::vector<std::string> notes;
    const auto any = [&](auto predicate) {
        return std::any_of(rows.begin(), rows.end(), predicate);
    };
    if (any([](const SummaryRow& r) { return !std::isnan(r.decode_low); })) {
        notes.push_back(
            "decode: median over repeats; brackets: 95 % interval over repeats (Student's t on the "
            "logarithms); the speed-up is the geometric mean of ratios paired by repeat");
    }
    if (any([](const SummaryRow& r) { return std::isfinite(r.disturbed_tokens_per_s); })) {
        notes.push_back(
            "(decode): disturbed, no window of the cell counts; it is not compared with any other");
    }
    if (any([](const SummaryRow& r) { return r.rounds_activations; })) {
        notes.push_back("*: activations are rounded to 8 bits as well, not only weights");
    }
    if (any([](const SummaryRow& r) { return r.text.starts_with("diverges"); })) {
        notes.push_back("text: greedy, against the same model at fp32; tokens count from 0");
    }
    std::set<std::int64_t> vocabularies;
    for (const SummaryRow& row : rows) {
        const ModelShape* shape = find_shape(row.model.substr(0, row.model.find(' ')));
        if (shape != nullptr && std::isfinite(row.perplexity)) {
            vocabularies.insert(shape->vocabulary);
        }
    }
    if (vocabularies.size() > 1) {
        notes.push_back(
            "perplexity counts each model's own tokens; models of different tokenizers compare in "
            "bits per byte: v_quality, or `analyze pareto --loss bits-per-byte`");
    }
    std::set<std::string> models;
    for (const SummaryRow& row : rows) {
        if (stored_at_four_bits(row) &&
            models.insert(row.model.substr(0, row.model.find(' '))).second) {
            notes.push_back(row.model.substr(0, row.model.find(' ')) + " is stored as " +
                            row.stored_types +
                            ": its weights were rounded to about 4 bits before any method saw "
                            "them, which flatters the 4-bit methods");
        }
    }
    return notes;
}

Result<StoredExperiment> find_experiment(Store& store, const std::string& name) {
    std::string known;
    for (StoredExperiment& experiment : TRY(store.experiments())) {
        if (experiment.name.value == name) {
            return std::move(experiment);
        }
        known += (known.empty() ? "" : ", ") + experiment.name.value;
    }
    return make_error(ErrorCode::not_found,
                      "no experiment `" + name + "` in this database" +
                          (known.empty() ? "; it has none" : "; it has " + known));
}

}  // namespace

Result<Summary> summarize(Store& store, const ExperimentName& experiment) {
    return summarize(store, experiment, TRY(read_evidence(store, {experiment.value, "", ""})));
}

Result<Summary> summarize(Store& store, const ExperimentName& experiment,
                          const Evidence& evidence) {
    const StoredExperiment stored = TRY(find_experiment(store, experiment.value));
    Summary summary;
    summary.experiment = experiment.value;
    const auto tag = stored.tags.find("question");
    summary.question = tag != stored.tags.end() ? tag->second : question_of(stored.yaml);
    summary.rows = TRY(read_rows(store, experiment.value, evidence));
    summary.failures = TRY(read_failures(store, experiment.value));
    summary.notes = notes_of(summary.rows);
    for (const std::string& runs : evidence.left_out()) {
        summary.notes.push_back("left out of the speeds: " + runs);
    }
    summary.answer = answer_of(summary);
    return summary;
}

}  // namespace bitsweep
