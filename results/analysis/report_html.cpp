#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "results/analysis/answer.h"
#include "results/analysis/comparisons.h"
#include "results/analysis/html.h"
#include "results/analysis/number_text.h"
#include "results/analysis/report.h"
#include "results/analysis/report_figures.h"
#include "results/analysis/report_style.h"
#include "results/analysis/table_row.h"
#include "schemas/catalog/windows.h"

namespace bitsweep {
namespace {

std::string section(const std::string& id, const std::string& title, const std::string& inner) {
    if (inner.empty()) {
        return "";
    }
    return html::element("section id=\"" + id + "\"", "",
                         html::element("h2", "", html::escaped(title)) + inner);
}

std::string for_every_device(const Report& report,
                             std::string (*figure)(const Report&, const std::string&)) {
    std::string figures;
    for (const std::string& device : report.evidence.devices()) {
        figures += figure(report, device);
    }
    return figures;
}

std::string for_every_device(const Report& report, const Palette& palette,
                             std::string (*figure)(const Report&, const std::string&,
                                                   const Palette&)) {
    std::string figures;
    for (const std::string& device : report.evidence.devices()) {
        figures += figure(report, device, palette);
    }
    return figures;
}

// The first few in sight, the others a click away.
std::string some_in_sight(const std::vector<std::string>& all, const std::string& rest_title) {
    constexpr std::size_t in_sight = 6;
    const auto cut = all.begin() + static_cast<std::ptrdiff_t>(std::min(in_sight, all.size()));
    return html::list({all.begin(), cut}) +
           (cut == all.end()
                ? ""
                : html::folded("More " + rest_title + " (" + std::to_string(all.end() - cut) + ")",
                               html::list({cut, all.end()})));
}

// The tables and the notes of an analysis, for those who want to see them.
std::string details(const Finding& finding, const std::string& title) {
    std::string inner;
    for (const NamedTable& part : finding.tables) {
        if (!part.table.rows.empty()) {
            inner += html::table(part.table, part.name);
        }
    }
    return html::folded(title, inner + html::list(finding.notes));
}

// "identical" is a statement about what was seen: the rule of three says about how much.
std::string identity_bound(const Report& report) {
    double tokens = 0;
    for (const MeasuredCell& cell : report.evidence.cells) {
        if (cell.metric("text_identical") == 1) {
            tokens = tokens == 0 ? static_cast<double>(cell.new_tokens)
                                 : std::min(tokens, static_cast<double>(cell.new_tokens));
        }
    }
    if (tokens == 0) {
        return "";
    }
    return "text identical over " + plain_text(tokens) +
           " tokens bounds the rate of differing tokens below " +
           significant(100 * unseen_rate_bound(static_cast<std::int64_t>(tokens)), 2) +
           " % (95 %, rule of three), no more than that";
}

std::string counted(std::size_t number, const std::string& noun) {
    return std::to_string(number) + " " + noun + (number == 1 ? "" : "s");
}

std::string summary_section(const Report& report) {
    if (report.summary.rows.empty()) {
        return html::paragraph("No cell has a result yet.");
    }
    std::vector<std::string> notes = report.summary.notes;
    std::erase_if(notes, [](const std::string& note) { return note.starts_with("left out of"); });
    if (const std::size_t out = report.evidence.excluded.size(); out > 0) {
        notes.push_back(counted(out, "run") + " left out of the speeds: see Drift, below");
    }
    if (const std::string bound = identity_bound(report); !bound.empty()) {
        notes.push_back(bound);
    }
    return summary_table(report.summary) + html::list(notes);
}

std::string crossover_section(const Report& report, const Palette& palette) {
    std::string inner = for_every_device(report, palette, speedup_figure);
    if (!report.crossovers.empty()) {
        const Finding finding = crossover_finding(report.crossovers);
        inner += some_in_sight(finding.sentences, "crossings") +
                 details(finding, "Crossings, points and how they are found");
    }
    return inner;
}

std::string latency_section(const Report& report) {
    if (report.latency.splits.empty()) {
        return "";
    }
    const Finding finding = latency_finding(report.latency, "");
    return for_every_device(report, latency_figure) +
           some_in_sight(finding.sentences, "slowdowns explained") +
           details(finding, "The split of every cell, and what is not stored");
}

std::string scaling_section(const Report& report, const Palette& palette) {
    const Finding finding = scaling_finding(report.scaling);
    return html::element("div", "pair",
                         held_out_figure(report, palette) + quality_figure(report, palette)) +
           some_in_sight(finding.sentences, "findings") +
           details(finding, "Coefficients, residuals and the law");
}

std::string pareto_section(const Report& report, const Palette& palette) {
    if (report.fronts.empty()) {
        return "";
    }
    const Finding finding = pareto_finding(report.fronts, {});
    return for_every_device(report, palette, pareto_figure) +
           some_in_sight(finding.sentences, "models") +
           details(finding, "Every point and how sure its place is");
}

// Whether the machine itself became faster or slower while the experiment ran.
std::vector<std::string> machine_drifts(const Report& report) {
    constexpr double level = 0.001;
    std::vector<std::string> lines;
    for (const std::string& device : report.evidence.devices()) {
        std::vector<double> rates;
        for (const RunInOrder& run : report.order) {
            if (run.device == device) {
                rates.push_back(run.relative);
            }
        }
        if (rates.size() < least_for_drift) {
            continue;
        }
        const Drift drift = drift_of(rates);
        lines.push_back(
            drift.p_value < level
                ? "On " + device + " the rates moved by " + significant(100 * drift.change, 2) +
                      " % from the first run to the last, whatever was measured (Theil-Sen slope, "
                      "Mann-Kendall p " +
                      small_text(drift.p_value) +
                      "); pairs by repeat take "
                      "out what both sides share"
                : "On " + device +
                      " no drift over the experiment stands out of the noise "
                      "(Mann-Kendall p " +
                      significant(drift.p_value, 2) + ")");
    }
    return lines;
}

std::string left_out_section(const Report& report) {
    std::vector<std::string> excluded;
    for (const LeftOutRun& run : report.evidence.excluded) {
        excluded.push_back(run.text());
    }
    std::string inner = for_every_device(report, order_figure) + html::list(machine_drifts(report));
    inner += excluded.empty()
                 ? html::paragraph(
                       "No run was disturbed: none was throttled, shared its device "
                       "or its cores, or drifted by more than 5 %.")
                 : html::paragraph("Kept in the database, left out of every interval and fit:") +
                       some_in_sight(excluded, "runs");
    if (!report.summary.failures.empty()) {
        inner += html::element("h3", "", "Without a result") + html::list(report.summary.failures);
    }
    return inner;
}

std::string external_section(const Report& report) {
    if (report.external_rows.rows.empty()) {
        return "";
    }
    TableBuilder table({"gpu", "model", "parameters", "method", "x its 16 bits", "tool", "file"});
    for (const ExternalSpeedup& one : report.external) {
        table.row().text(one.gpu).text(one.model).text(size_text(one.parameters)).text(one.method);
        table.number(one.speedup, 3).text(one.tool).text(one.file);
    }
    return html::paragraph(
               "Measured by others with other tools, imported with `bitsweep import`. "
               "They stand beside our numbers and are never pooled with them.") +
           html::table(table.take(), "Their speed-ups over their own 16 bits") +
           html::folded("Every imported row",
                        html::table(report.external_rows, "External results"));
}

std::string stop_words(const std::string& reason) {
    return reason == "half-width" ? "at the wanted half-width"
           : reason == "fixed"    ? "at the most samples that the protocol takes"
           : reason == "budget"   ? "when its time was spent"
                                  : "by " + reason;
}

// "Sampling ended at the wanted half-width in 90 runs, when its time was spent in 36": the latter
// are less certain.
std::string stop_reasons(const Report& report) {
    std::string reasons;
    for (std::size_t i = 0; i < report.provenance.rows.size(); ++i) {
        const Row row(report.provenance, i);
        if (row.label("fact") == "stop_reason") {
            reasons += std::string(reasons.empty() ? "Sampling ended " : ", ") +
                       stop_words(row.label("value")) + " in " + row.label("runs") +
                       (reasons.empty() ? " runs" : "");
        }
    }
    return reasons;
}

std::string method_section(const Report& report) {
    std::vector<std::string> lines = {
        "Decode rate of a process: the median over its measured sequences. Rate of a cell: median "
        "over processes in the summary, geometric mean in the analyses.",
        "Intervals: 95 %. Speed-ups: logarithms of ratios paired by repeat, Student's t (summary, "
        "compare). Derived numbers: two-level bootstrap, processes then samples, seed " +
            std::to_string(report.how.seed) + ", " + std::to_string(report.how.resamples) +
            " resamples (crossings), 500 (fits), 1,000 (fronts); its spread is scaled to the "
            "unbiased variance and Student's tails.",
        "Perplexity, KL divergence and top-1 agreement: against the same model's fp32 logits on "
        "the same tokens.",
        "Formulas of each analysis stand in its folded part."};
    if (const std::string reasons = stop_reasons(report); !reasons.empty()) {
        lines.push_back(reasons + ".");
    }
    return html::list(lines);
}

std::string repeat_section(const Report& report) {
    const std::string& name = report.summary.experiment;
    const std::string commands =
        "bitsweep run EXPERIMENT.yaml --db F.db --force     # measure everything again\n"
        "bitsweep report " +
        name +
        " --db F.db -o report.html\n"
        "bitsweep analyze compare A B --experiment " +
        name +
        " --db F.db\n"
        "bitsweep analyze crossover --experiment " +
        name +
        " --db F.db\n"
        "bitsweep analyze scaling --experiment " +
        name +
        " --db F.db\n"
        "bitsweep analyze latency --experiment " +
        name +
        " --db F.db\n"
        "bitsweep analyze pareto --experiment " +
        name +
        " --db F.db\n"
        "bitsweep query --view v_results --experiment " +
        name + " --db F.db\n";
    return html::element("pre tabindex=\"0\"", "", html::escaped(commands)) +
           html::folded("The experiment file",
                        html::element("pre tabindex=\"0\"", "", html::escaped(report.yaml)));
}

std::string provenance_section(const Report& report) {
    std::map<std::string, std::set<int>> revisions;  // each method and device counts its own
    std::set<std::string> hosts;
    for (const MeasuredCell& cell : report.evidence.cells) {
        revisions[cell.method_name + "\n" + cell.kind].insert(cell.numerics);
        for (const Repeat& repeat : cell.repeats) {
            const bool named = cell.device.find(cell.device_name) != std::string::npos;
            hosts.insert(cell.device + (named ? "" : " (" + cell.device_name + ")") + " on host " +
                         repeat.host);
        }
    }
    std::string inner = html::list({hosts.begin(), hosts.end()});
    if (std::any_of(revisions.begin(), revisions.end(),
                    [](const auto& entry) { return entry.second.size() > 1; })) {
        inner += html::paragraph(
            "Some methods were measured by builds whose numbers differ (numerics revisions). They "
            "are never pooled: each is a cell of its own.");
    }
    return inner + html::folded("Everything the workers said about themselves",
                                html::table(report.provenance, "Provenance"));
}

// "42 cells of 6 models and 7 methods, 126 runs on cpu, 2 of them left out": what the table of
// cells shows, disturbed cells too.
std::string extent(const Report& report) {
    std::set<std::string> models, methods, seen;
    std::string devices;
    for (const SummaryRow& row : report.summary.rows) {
        models.insert(row.model);
        methods.insert(row.method);
        if (seen.insert(row.device).second) {
            devices += (devices.empty() ? " on " : ", ") + row.device;
        }
    }
    const std::size_t out = report.evidence.excluded.size();
    std::size_t runs = out;
    for (const MeasuredCell& cell : report.evidence.cells) {
        runs += cell.repeats.size();
    }
    return counted(report.summary.rows.size(), "cell") + " of " + counted(models.size(), "model") +
           " and " + counted(methods.size(), "method") + ", " + counted(runs, "run") + devices +
           (out == 0 ? "" : ", " + std::to_string(out) + " of them left out");
}

std::string answers(const Report& report) {
    std::string inner;
    for (const std::string& sentence : answers_of(report.summary)) {
        inner += html::paragraph(sentence);
    }
    for (const std::string& sentence : crossing_answers(report.crossovers)) {
        inner += html::paragraph(sentence);
    }
    return html::element(
        "div", "answer",
        inner.empty() ? html::paragraph("Not resolved: no cell has a result.") : inner);
}

std::string navigation(const std::vector<std::pair<std::string, std::string>>& targets) {
    std::string links;
    for (const auto& [id, title] : targets) {
        links += html::element("a href=\"#" + id + "\"", "", html::escaped(title));
    }
    return html::element("nav aria-label=\"Sections\"", "", links);
}

}  // namespace

std::string to_html(const Report& report) {
    const Palette palette(report);
    const struct {
        const char *id, *title, *menu;
        std::string inner;
    } parts[] = {
        {"crossover", "From which size it pays", "Crossover", crossover_section(report, palette)},
        {"latency", "Where a token's time goes", "Latency", latency_section(report)},
        {"pareto", "What is worth running", "Pareto", pareto_section(report, palette)},
        {"summary", "What was measured", "Cells", summary_section(report)},
        {"threshold", "The outlier threshold", "Threshold",
         for_every_device(report, palette, threshold_figure)},
        {"memory", "Memory", "Memory", for_every_device(report, memory_figure)},
        {"scaling", "Scaling", "Scaling",
         report.evidence.cells.empty() ? "" : scaling_section(report, palette)},
        {"left-out", "Drift, and what was left out", "Left out", left_out_section(report)},
        {"external", "External results", "External", external_section(report)},
        {"methods", "How the numbers were made", "Methods", method_section(report)},
        {"provenance", "Where it was measured", "Provenance", provenance_section(report)},
        {"repeat", "How to repeat it", "Repeat", repeat_section(report)},
    };
    std::vector<std::pair<std::string, std::string>> targets;
    std::string body;
    for (const auto& part : parts) {
        if (!part.inner.empty()) {
            targets.emplace_back(part.id, part.menu);
            body += section(part.id, part.title, part.inner);
        }
    }
    const std::string title = html::escaped(report.summary.experiment);
    return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
           "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n" +
           html::element("title", "", title + " - bitsweep") +
           html::element("style", "", std::string(report_style)) + "</head>\n<body>\n" +
           html::element("header", "",
                         html::element("h1", "", title) +
                             html::paragraph(report.summary.question, "question") +
                             answers(report) + html::paragraph(extent(report), "extent") +
                             navigation(targets)) +
           html::element("main", "", body) + "</body>\n</html>\n";
}

}  // namespace bitsweep
