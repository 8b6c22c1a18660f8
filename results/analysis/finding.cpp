#include "results/analysis/finding.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "results/analysis/number_text.h"
#include "results/analysis/summary.h"
#include "results/analysis/text_width.h"

namespace bitsweep {
namespace {

// A screen of them; the tables below have every row.
constexpr std::size_t most_sentences = 20;

// Of a text that may be wider than the page: a table keeps its lines.
std::string paragraph(const std::string& text, int width, const std::string& bullet) {
    if (width == 0) {
        return bullet + printable(text) + "\n";
    }
    std::string out;
    const std::string indent(bullet.size(), ' ');
    for (const std::string& line :
         wrapped(printable(text), width - static_cast<int>(bullet.size()))) {
        out += (out.empty() ? bullet : indent) + line + "\n";
    }
    return out;
}

std::string format(const Table& table, std::string_view how, int width) {
    Result<std::string> text = format_table(table, how, width);
    ASSERT(text.ok());  // both formats exist
    return std::move(text).value();
}

}  // namespace

std::string to_text(const Finding& finding, int width) {
    std::string out = printable(finding.title) + "\n";
    const std::size_t shown = std::min(finding.sentences.size(), most_sentences);
    for (std::size_t i = 0; i < shown; ++i) {
        out += paragraph(finding.sentences[i], width, "");
    }
    if (shown < finding.sentences.size()) {
        out += "... and " + std::to_string(finding.sentences.size() - shown) +
               " more; --format markdown prints all\n";
    }
    for (const NamedTable& part : finding.tables) {
        if (!part.table.rows.empty()) {
            out += "\n" + printable(part.name) + "\n" + format(part.table, "table", width);
        }
    }
    if (!finding.notes.empty()) {
        out += "\n";
    }
    for (const std::string& note : finding.notes) {
        out += paragraph(note, width, "- ");
    }
    return out;
}

std::string to_markdown(const Finding& finding) {
    std::string out = "## " + printable(finding.title) + "\n\n";
    for (const std::string& sentence : finding.sentences) {
        out += printable(sentence) + "\n\n";
    }
    for (const NamedTable& part : finding.tables) {
        if (!part.table.rows.empty()) {
            out +=
                "### " + printable(part.name) + "\n\n" + format(part.table, "markdown", 0) + "\n";
        }
    }
    for (const std::string& note : finding.notes) {
        out += "- " + printable(note) + "\n";
    }
    return out;
}

TableBuilder& TableBuilder::row() {
    table_.rows.emplace_back();
    return *this;
}

TableBuilder& TableBuilder::text(std::string value) {
    Table::Value cell;
    if (!value.empty()) {
        cell.kind = Table::Kind::text;
        cell.text = std::move(value);
    }
    table_.rows.back().push_back(std::move(cell));
    return *this;
}

TableBuilder& TableBuilder::number(double value, int digits) {
    Table::Value cell;
    if (!std::isnan(value)) {
        cell.kind = Table::Kind::real;
        cell.real = std::isfinite(value) ? std::atof(significant(value, digits).c_str()) : value;
    }
    table_.rows.back().push_back(std::move(cell));
    return *this;
}

TableBuilder& TableBuilder::count(std::int64_t value) {
    Table::Value cell;
    cell.kind = Table::Kind::integer;
    cell.integer = value;
    table_.rows.back().push_back(std::move(cell));
    return *this;
}

}  // namespace bitsweep
