// A report without plots, for a paper's appendix.
#include "results/analysis/report.h"

namespace bitsweep {
namespace {

Table summary_rows(const Summary& summary) {
    TableBuilder table({"model", "method", "device", "repeats", "decode token/s", "low", "high",
                        "speed-up", "low", "high", "weights MiB", "ratio", "perplexity", "KL nat",
                        "top-1", "text"});
    for (const SummaryRow& row : summary.rows) {
        table.row().text(row.model).text(row.method).text(row.device).count(row.repeats);
        table.number(row.decode_tokens_per_s).number(row.decode_low).number(row.decode_high);
        table.number(row.speedup).number(row.speedup_low).number(row.speedup_high);
        table.number(row.weights_mib).number(row.weights_ratio).number(row.perplexity, 5);
        table.number(row.kl_mean, 2).number(row.top1).text(row.text);
    }
    return table.take();
}

}  // namespace

std::string to_markdown(const Report& report) {
    const Summary& summary = report.summary;
    std::string out = "# " + summary.experiment + "\n\n" + summary.question + "\n\n**" +
                      summary.answer + "**\n\n";
    Finding cells;
    cells.title = "What was measured";
    cells.tables.push_back({"Every cell", summary_rows(summary)});
    cells.notes = summary.notes;
    out += to_markdown(cells) + "\n";
    if (!report.crossovers.empty()) {
        out += to_markdown(crossover_finding(report.crossovers)) + "\n";
    }
    out += to_markdown(latency_finding(report.latency, "")) + "\n";
    out += to_markdown(pareto_finding(report.fronts, {})) + "\n";
    out += to_markdown(scaling_finding(report.scaling)) + "\n";
    Finding rest;
    rest.title = "What was left out, and where it was measured";
    for (const LeftOutRun& run : report.evidence.excluded) {
        rest.sentences.push_back(run.text());
    }
    rest.sentences.insert(rest.sentences.end(), summary.failures.begin(), summary.failures.end());
    rest.tables.push_back({"External results", report.external_rows});
    rest.tables.push_back({"Provenance", report.provenance});
    return out + to_markdown(rest);
}

}  // namespace bitsweep
