#include <algorithm>
#include <functional>
#include <vector>

#include "results/analysis/columns.h"
#include "results/analysis/summary.h"
#include "results/analysis/text_width.h"

namespace bitsweep {
namespace {

constexpr int gap = 2;  // blanks between columns
constexpr int narrowest = 40;

struct Colours {
    bool on = false;
    std::string wrap(const char* code, const std::string& text) const {
        return on ? "\x1b[" + std::string(code) + "m" + text + "\x1b[0m" : text;
    }
    std::string bold(const std::string& text) const { return wrap("1", text); }
    std::string of(Verdict verdict, const std::string& text) const {
        return verdict == Verdict::faster   ? wrap("32", text)
               : verdict == Verdict::slower ? wrap("31", text)
                                            : text;
    }
};

using Columns = std::vector<const SummaryColumn*>;

std::string cell(const SummaryColumn& column, const SummaryRow& row) {
    return printable(column.text(row));
}

int width_of(const SummaryColumn& column, const Summary& summary) {
    int width = std::max(display_width(column.title), display_width(column.unit));
    for (const SummaryRow& row : summary.rows) {
        width = std::max(width, display_width(cell(column, row)));
    }
    return width;
}

int width_of(const Columns& columns, const Summary& summary) {
    int width = gap;  // rows are indented under their model
    for (const SummaryColumn* column : columns) {
        width += width_of(*column, summary) + gap;
    }
    return width - gap;
}

std::string line_of(const Columns& columns, const Summary& summary,
                    const std::function<std::string(const SummaryColumn&, std::string)>& dress,
                    const std::function<std::string(const SummaryColumn&)>& text) {
    std::string line(gap, ' ');
    for (const SummaryColumn* column : columns) {
        line += dress(*column, padded(text(*column), width_of(*column, summary),
                                      column->right ? Align::right : Align::left));
        line += std::string(gap, ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    return line + "\n";
}

std::string table_of(const Columns& columns, const Summary& summary, const Colours& colours) {
    const auto plain = [](const SummaryColumn&, std::string text) { return text; };
    std::string out = line_of(columns, summary, plain,
                              [](const SummaryColumn& c) { return std::string(c.title); });
    out += line_of(columns, summary, plain,
                   [](const SummaryColumn& c) { return std::string(c.unit); });
    std::string model;
    for (const SummaryRow& row : summary.rows) {
        if (row.model != model) {
            model = row.model;
            out += colours.bold(printable(model)) + "\n";
        }
        const auto dress = [&](const SummaryColumn& column, std::string text) {
            return column.title == "speed-up" ? colours.of(verdict_of(row), text) : text;
        };
        out += line_of(columns, summary, dress,
                       [&](const SummaryColumn& column) { return cell(column, row); });
    }
    return out;
}

// One table where it fits; else speed and quality one below the other: nothing is cut off.
std::string tables_of(const Summary& summary, int width, const Colours& colours) {
    Columns all, speed, quality;
    for (const SummaryColumn& column : summary_columns()) {
        if (stands_above(column, summary) || is_empty(column, summary)) {
            continue;
        }
        all.push_back(&column);
        if (column.block != Block::quality) {
            speed.push_back(&column);
        }
        if (column.block != Block::speed) {
            quality.push_back(&column);
        }
    }
    const bool any_quality = std::any_of(quality.begin(), quality.end(), [](const auto* column) {
        return column->block == Block::quality;
    });
    if (width_of(all, summary) <= width || !any_quality) {
        return table_of(all, summary, colours);
    }
    return table_of(speed, summary, colours) + "\n" + table_of(quality, summary, colours);
}

std::string common_facts(const Summary& summary) {
    std::string facts;
    for (const SummaryColumn& column : summary_columns()) {
        if (stands_above(column, summary)) {
            const std::string value = cell(column, summary.rows.front());
            facts += (facts.empty() ? "" : ", ") + std::string(column.title) + " " + value +
                     (column.unit.empty() ? "" : " ") + std::string(column.unit);
        }
    }
    return facts.empty() ? "" : facts + "\n";
}

std::string paragraph(const std::string& text, int width, const std::string& first,
                      const std::string& rest) {
    std::string out;
    for (const std::string& line :
         wrapped(printable(text), width - static_cast<int>(first.size()))) {
        out += (out.empty() ? first : rest) + line + "\n";
    }
    return out;
}

}  // namespace

std::string to_text(const Summary& summary, int width, bool color) {
    const Colours colours{color};
    width = std::max(width, narrowest);
    std::string out = colours.bold(printable(summary.experiment)) + "\n";
    out += paragraph(summary.question, width, "", "");
    if (!summary.rows.empty()) {
        out += "\n" + common_facts(summary) + tables_of(summary, width, colours);
    }
    if (!summary.notes.empty()) {
        out += "\n";
    }
    for (const std::string& note : summary.notes) {
        out += paragraph(note, width, "- ", "  ");
    }
    if (!summary.failures.empty()) {
        out += "\n" + colours.wrap("31", "without a result:") + "\n";
    }
    for (const std::string& failure : summary.failures) {
        out += paragraph(failure, width, "- ", "  ");
    }
    return out + "\n" + paragraph(summary.answer, width, "", "");
}

}  // namespace bitsweep
