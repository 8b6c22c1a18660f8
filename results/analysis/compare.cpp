#include "results/analysis/compare.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "results/analysis/comparisons.h"
#include "results/analysis/number_text.h"
#include "results/analysis/student.h"
#include "schemas/catalog/edit_distance.h"

namespace bitsweep {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// A comparison before it is known how many others there are.
struct Raw {
    Comparison row;
    double centre = nan;  // logarithm
    double error = nan;   // standard error of it
    double freedom = 0;
};

Raw paired(const MeasuredCell& a, const MeasuredCell& b) {
    const ProcessSampler ratio = a.speedup_over(b);
    return {{a.model, a.method + " / " + b.method, a.device, ratio.processes()},
            ratio.centre(),
            ratio.standard_error(),
            static_cast<double>(ratio.processes() - 1)};
}

// Welch, Biometrika 34 (1947), with Satterthwaite's degrees of freedom.
Raw unpaired(const MeasuredCell& a, const MeasuredCell& b) {
    const ProcessSampler left = a.decode_rate(), right = b.decode_rate();
    const double va = left.standard_error() * left.standard_error();
    const double vb = right.standard_error() * right.standard_error();
    const double freedom = (va + vb) * (va + vb) /
                           (va * va / (left.processes() - 1) + vb * vb / (right.processes() - 1));
    return {{a.model, a.method, a.device + " / " + b.device,
             std::min(left.processes(), right.processes())},
            left.centre() - right.centre(),
            std::sqrt(va + vb),
            std::isfinite(freedom) ? freedom : std::max(1, left.processes() - 1)};
}

std::vector<Raw> pair_methods(const Evidence& evidence, const std::string& a,
                              const std::string& b) {
    std::vector<Raw> raw;
    for (const MeasuredCell& cell : evidence.cells) {
        const MeasuredCell* other = cell.method == a ? evidence.partner_of(cell, b) : nullptr;
        if (other != nullptr) {
            raw.push_back(paired(cell, *other));
        }
    }
    return raw;
}

// Two devices share a series only where the asked kind is no part of it, so the parts are compared.
std::vector<Raw> pair_devices(const Evidence& evidence, const std::string& a,
                              const std::string& b) {
    std::vector<Raw> raw;
    for (const MeasuredCell& left : evidence.cells) {
        for (const MeasuredCell& right : evidence.cells) {
            if (left.device == a && right.device == b && left.place == right.place &&
                left.method == right.method && left.head_bits == right.head_bits &&
                left.numerics == right.numerics) {
                raw.push_back(unpaired(left, right));
            }
        }
    }
    return raw;
}

bool contains(const std::vector<std::string>& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

SpeedVerdict verdict_of(const Comparison& row, const CompareQuestion& question) {
    if (std::isnan(row.p)) {
        return SpeedVerdict::unresolved;
    }
    if (row.p >= question.level || std::fabs(std::log(row.speedup)) < std::log1p(question.margin)) {
        return SpeedVerdict::same;
    }
    return row.speedup > 1 ? SpeedVerdict::faster : SpeedVerdict::slower;
}

// A spread of exactly 0 (rounded clocks) leaves no doubt about a difference.
double p_of(const Raw& raw) {
    if (std::isnan(raw.error) || std::isnan(raw.centre)) {
        return nan;
    }
    return student_two_sided(raw.centre == 0 ? 0 : raw.centre / raw.error, raw.freedom);
}

std::string difference(double ratio) {
    return (ratio >= 1 ? "+" : "") + significant(100 * (ratio - 1), 2) + " %";
}

}  // namespace

std::string_view to_string(SpeedVerdict verdict) {
    switch (verdict) {
        case SpeedVerdict::same:
            return "SAME";
        case SpeedVerdict::faster:
            return "FASTER";
        case SpeedVerdict::slower:
            return "SLOWER";
        case SpeedVerdict::unresolved:
            return "UNRESOLVED";
    }
    ASSERT(false);
}

namespace {

// "all 3 runs of it are left out: throttled (`query --view v_windows`)"; "" where none is.
std::string why_left_out(const Evidence& evidence, const std::string& asked) {
    const std::vector<LeftOutRun> runs = evidence.left_out_of(asked);
    std::set<std::string> reasons;
    for (const LeftOutRun& run : runs) {
        reasons.insert(run.why.substr(0, run.why.find(" (")));
    }
    std::string listed;
    for (const std::string& reason : reasons) {
        listed += (listed.empty() ? "" : ", ") + reason;
    }
    const std::string many = std::to_string(runs.size());
    return runs.empty() ? ""
                        : (runs.size() == 1 ? "its only run is" : "all its " + many + " runs are") +
                              (" left out: " + listed + " (`query --view v_windows`)");
}

}  // namespace

Result<std::string> resolve_method(const Evidence& evidence, const std::string& asked) {
    if (contains(evidence.methods(), asked)) {
        return asked;
    }
    std::vector<std::string> labels;
    std::string listed;
    for (const std::string& method : evidence.methods()) {
        if (method.substr(0, method.find(' ')) == asked) {
            labels.push_back(method);
            listed += (listed.empty() ? "`" : ", `") + method + "`";
        }
    }
    if (labels.size() == 1) {
        return labels.front();
    }
    if (labels.size() > 1) {
        return make_error(
            ErrorCode::invalid_input,
            "`" + asked + "` was measured with several thresholds or heads; give one of " + listed);
    }
    if (const std::string why = why_left_out(evidence, asked); !why.empty()) {
        return make_error(ErrorCode::invalid_input, "`" + asked + "` was measured, but " + why);
    }
    std::vector<std::string> known = evidence.methods();
    for (const std::string& device : evidence.devices()) {
        known.push_back(device);
    }
    if (known.empty()) {
        return make_error(ErrorCode::not_found, "nothing was measured yet");
    }
    const auto near =
        std::min_element(known.begin(), known.end(), [&](const auto& x, const auto& y) {
            return edit_distance(asked, x) < edit_distance(asked, y);
        });
    return make_error(ErrorCode::invalid_input,
                      "`" + asked +
                          "` is neither a measured method nor a device; the nearest is `" + *near +
                          "`");
}

Result<std::vector<Comparison>> compare(const Evidence& evidence, const CompareQuestion& question) {
    std::string a = question.a, b = question.b;
    const bool devices =
        contains(evidence.devices(), a) && contains(evidence.devices(), b) && a != b;
    if (!devices) {
        a = TRY(resolve_method(evidence, a));
        b = TRY(resolve_method(evidence, b));
    }
    if (a == b) {
        return make_error(ErrorCode::invalid_input,
                          "`" + a + "` compared with itself; give two methods or two devices");
    }
    std::vector<Raw> raw = devices ? pair_devices(evidence, a, b) : pair_methods(evidence, a, b);
    if (raw.empty()) {
        return make_error(ErrorCode::not_found, "no model was measured with both `" + a +
                                                    "` and `" + b + "` at equal settings on one " +
                                                    (devices ? "method" : "device"));
    }
    std::vector<double> p_values;
    for (const Raw& one : raw) {
        p_values.push_back(p_of(one));
    }
    const std::vector<HolmStep> steps = holm(p_values, question.level);
    std::vector<Comparison> rows;
    for (std::size_t i = 0; i < raw.size(); ++i) {
        Comparison& row = raw[i].row;
        row.speedup = std::exp(raw[i].centre);
        row.p = steps[i].p;
        row.confidence = steps[i].confidence;
        const double half = std::isnan(row.p)
                                ? nan
                                : student_quantile(row.confidence, raw[i].freedom) * raw[i].error;
        row.low = std::exp(raw[i].centre - half);
        row.high = std::exp(raw[i].centre + half);
        row.verdict = verdict_of(row, question);
        rows.push_back(std::move(row));
    }
    return rows;
}

// SAME is a strong word for an interval that a large difference fits into.
std::string sentence_of(const Comparison& row, const CompareQuestion& question) {
    constexpr double wide = 1.05;
    const std::string head = "On " + row.model + ", " + row.device + ": " + question.a + " is ";
    if (row.verdict == SpeedVerdict::unresolved) {
        return head + "not resolved against " + question.b + ": one process each (" +
               ratio_text(row.speedup) + "x); measure with `repeat: 3` or more.";
    }
    const std::string numbers = ratio_text(row.speedup) + "x (" + ratio_text(row.low) + " to " +
                                ratio_text(row.high) + ", " + std::to_string(row.pairs) + " pairs)";
    if (row.verdict == SpeedVerdict::same && (row.low < 1 / wide || row.high > wide)) {
        return head + "not told apart from " + question.b + " (SAME): " + numbers +
               ", an interval that a difference of " + difference(row.low) + " or " +
               difference(row.high) + " fits into; more repeats would tell.";
    }
    return head + std::string(to_string(row.verdict)) +
           (row.verdict == SpeedVerdict::same ? " as " : " than ") + question.b + ": " + numbers +
           ".";
}

Finding compare_finding(const std::vector<Comparison>& rows, const CompareQuestion& question) {
    Finding finding;
    finding.title = question.a + " against " + question.b + ", decode rate";
    TableBuilder table({"model", "method", "device", "verdict", "speed-up", "low", "high",
                        "confidence", "p (Holm)", "pairs", "excluded"});
    for (const Comparison& row : rows) {
        finding.sentences.push_back(sentence_of(row, question));
        table.row().text(row.model).text(row.method).text(row.device);
        table.text(std::string(to_string(row.verdict))).number(row.speedup);
        table.number(row.low).number(row.high).number(row.confidence).number(row.p, 3);
        table.count(row.pairs);
        table.text(row.verdict == SpeedVerdict::unresolved
                       ? ""
                       : "below " + difference(row.low) + ", above " + difference(row.high));
    }
    finding.tables.push_back({"verdicts", table.take()});
    finding.notes = {"speed-up: geometric mean of " + question.a + "'s decode rate over " +
                         question.b +
                         "'s; intervals: Student's t on the logarithms over processes, paired by "
                         "repeat (Welch's "
                         "t between devices)",
                     std::to_string(rows.size()) +
                         " comparisons: Holm's correction keeps the chance of any "
                         "false FASTER or SLOWER below " +
                         plain_text(100 * question.level) +
                         " %; `confidence` is that of the interval at its step",
                     "SAME: not distinguishable, or a difference below the margin of " +
                         plain_text(100 * question.margin) +
                         " %; `excluded` says which differences the data "
                         "rule out"};
    return finding;
}

}  // namespace bitsweep
