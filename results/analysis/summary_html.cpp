#include <string>

#include "results/analysis/columns.h"
#include "results/analysis/summary.h"

namespace bitsweep {
namespace {

// System fonts and two palettes: one file, no network, no script.
constexpr std::string_view style = R"css(
:root { color-scheme: light dark; --ink: #1b1f24; --dim: #5c6670; --paper: #fff; --rule: #d5dae0;
  --band: #f4f6f8; --faster: #12703a; --slower: #a8281b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ec; --dim: #98a2ad; --paper: #14181c;
  --rule: #363e47; --band: #1d2329; --faster: #62c88b; --slower: #f08a7c; } }
body { margin: 2.5rem auto; max-width: 78rem; padding: 0 1.2rem; color: var(--ink);
  background: var(--paper); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; }
.question { margin: .2rem 0 1.2rem; color: var(--dim); }
.answer { font-size: 1.1rem; border-left: .25rem solid var(--rule); padding-left: .9rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 1.5rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .8rem; text-align: left; white-space: nowrap; }
thead th { border-bottom: 2px solid var(--rule); vertical-align: bottom; }
thead small { display: block; color: var(--dim); font-weight: normal; }
tbody th { background: var(--band); padding-top: .5rem; }
tbody tr { border-bottom: 1px solid var(--rule); }
.right { text-align: right; }
.faster { color: var(--faster); } .slower { color: var(--slower); }
h2 { font-size: 1rem; margin-bottom: .3rem; }
li { color: var(--dim); }
)css";

std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : text) {
        switch (c) {
            case '&':
                out += "&amp;";
                break;
            case '<':
                out += "&lt;";
                break;
            case '>':
                out += "&gt;";
                break;
            case '"':
                out += "&quot;";
                break;
            default:
                out += c;
        }
    }
    return out;
}

std::string element(const std::string& tag, const std::string& classes, const std::string& html) {
    const std::size_t name_end = tag.find(' ');
    return "<" + tag + (classes.empty() ? "" : " class=\"" + classes + "\"") + ">" + html + "</" +
           tag.substr(0, name_end) + ">\n";
}

std::string header() {
    std::string cells;
    for (const SummaryColumn& column : summary_columns()) {
        const std::string unit(column.unit);
        cells += element("th", column.right ? "right" : "",
                         std::string(column.title) +
                             (unit.empty() ? "" : "<small>" + escaped(unit) + "</small>"));
    }
    return element("thead", "", element("tr", "", cells));
}

std::string row_of(const SummaryRow& row) {
    std::string cells;
    for (const SummaryColumn& column : summary_columns()) {
        std::string classes = column.right ? "right" : "";
        if (column.title == "speed-up" && verdict_of(row) == Verdict::faster) {
            classes += " faster";
        } else if (column.title == "speed-up" && verdict_of(row) == Verdict::slower) {
            classes += " slower";
        }
        cells += element("td", classes, escaped(column.text(row)));
    }
    return element("tr", "", cells);
}

std::string table_of(const Summary& summary) {
    const std::string span = std::to_string(summary_columns().size());
    std::string body;
    std::string model;
    for (const SummaryRow& row : summary.rows) {
        if (row.model != model) {
            model = row.model;
            body += element(
                "tr", "",
                element("th colspan=\"" + span + "\" scope=\"rowgroup\"", "", escaped(model)));
        }
        body += row_of(row);
    }
    return element("div", "wide",
                   "\n" + element("table", "", "\n" + header() + element("tbody", "", body)));
}

std::string list_of(const char* title, const std::vector<std::string>& lines) {
    if (lines.empty()) {
        return "";
    }
    std::string items;
    for (const std::string& line : lines) {
        items += element("li", "", escaped(line));
    }
    return element("h2", "", title) + element("ul", "", items);
}

}  // namespace

std::string to_html(const Summary& summary) {
    const std::string title = escaped(summary.experiment);
    return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
           "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n" +
           element("title", "", title + " - bitsweep") + element("style", "", std::string(style)) +
           "</head>\n<body>\n" + element("h1", "", title) +
           element("p", "question", escaped(summary.question)) +
           element("p", "answer", escaped(summary.answer)) +
           (summary.rows.empty() ? "" : table_of(summary)) +
           list_of("How to read it", summary.notes) +
           list_of("Without a result", summary.failures) + "</body>\n</html>\n";
}

}  // namespace bitsweep
