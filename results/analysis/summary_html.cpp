#include <string>

#include "results/analysis/columns.h"
#include "results/analysis/html.h"
#include "results/analysis/report_style.h"
#include "results/analysis/summary.h"

namespace bitsweep {
namespace {

std::string list_of(const char* title, const std::vector<std::string>& lines) {
    return lines.empty() ? "" : html::element("h2", "", title) + html::list(lines);
}

}  // namespace

std::string summary_table(const Summary& summary) {
    std::string head, body, model;
    std::vector<const SummaryColumn*> columns;
    std::string constant;
    for (const SummaryColumn& column : summary_columns()) {
        if (stands_above(column, summary)) {
            constant += (constant.empty() ? ": " : ", ") + std::string(column.title) + " " +
                        column.text(summary.rows.front()) + (column.unit.empty() ? "" : " ") +
                        std::string(column.unit);
        } else if (!is_empty(column, summary)) {
            columns.push_back(&column);
        }
    }
    for (const SummaryColumn* shown : columns) {
        const SummaryColumn& column = *shown;
        const std::string unit(column.unit);
        head += html::element(
            "th scope=\"col\"", column.right ? "right" : "",
            std::string(column.title) +
                (unit.empty() ? "" : html::element("small", "", html::escaped(unit))));
    }
    const std::string span = std::to_string(columns.size());
    for (const SummaryRow& row : summary.rows) {
        if (row.model != model) {
            model = row.model;
            body += html::element("tr", "",
                                  html::element("th colspan=\"" + span + "\" scope=\"rowgroup\"",
                                                "", html::escaped(model)));
        }
        std::string cells;
        for (const SummaryColumn* shown : columns) {
            const SummaryColumn& column = *shown;
            const Verdict verdict = column.title == "speed-up" ? verdict_of(row) : Verdict::none;
            const std::string classes =
                std::string(column.right ? "right" : "") + (verdict == Verdict::faster   ? " faster"
                                                            : verdict == Verdict::slower ? " slower"
                                                                                         : "");
            cells += html::element("td", classes, html::escaped(column.text(row)));
        }
        body += html::element("tr", "", cells);
    }
    return html::element(
        "div tabindex=\"0\" role=\"region\" aria-label=\"Summary of every cell\"", "wide",
        html::element("table", "",
                      html::element("caption", "", html::escaped("Every cell" + constant)) +
                          html::element("thead", "", html::element("tr", "", head)) +
                          html::element("tbody", "", body)));
}

std::string to_html(const Summary& summary) {
    const std::string title = html::escaped(summary.experiment);
    return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
           "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n" +
           html::element("title", "", title + " - bitsweep") +
           html::element("style", "", std::string(report_style)) + "</head>\n<body>\n" +
           html::element("h1", "", title) + html::paragraph(summary.question, "question") +
           html::paragraph(summary.answer, "answer") +
           (summary.rows.empty() ? "" : summary_table(summary)) +
           list_of("How to read it", summary.notes) +
           list_of("Without a result", summary.failures) + "</body>\n</html>\n";
}

}  // namespace bitsweep
