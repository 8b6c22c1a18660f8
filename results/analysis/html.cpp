#include "results/analysis/html.h"

#include <algorithm>

#include "results/analysis/number_text.h"

namespace bitsweep::html {
namespace {

std::string shown(const Table::Value& value) {
    switch (value.kind) {
        case Table::Kind::null:
            return "";
        case Table::Kind::integer:
            return std::to_string(value.integer);
        case Table::Kind::real:
            return plain_text(value.real);
        case Table::Kind::text:
            return value.text;
    }
    return "";
}

bool is_numeric(const Table& table, std::size_t column) {
    return std::all_of(table.rows.begin(), table.rows.end(),
                       [&](const auto& row) { return row[column].kind != Table::Kind::text; });
}

}  // namespace

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

std::string element(const std::string& tag, const std::string& classes, const std::string& inner) {
    const std::size_t name_end = tag.find(' ');
    return "<" + tag + (classes.empty() ? "" : " class=\"" + classes + "\"") + ">" + inner + "</" +
           tag.substr(0, name_end) + ">\n";
}

std::string paragraph(std::string_view text, const std::string& classes) {
    return element("p", classes, escaped(text));
}

std::string list(const std::vector<std::string>& lines) {
    std::string items;
    for (const std::string& line : lines) {
        items += element("li", "", escaped(line));
    }
    return lines.empty() ? "" : element("ul", "", items);
}

std::string table(const Table& table, std::string_view caption) {
    std::string head, body;
    std::vector<bool> numeric;
    for (std::size_t i = 0; i < table.columns.size(); ++i) {
        numeric.push_back(is_numeric(table, i));
        head += element("th scope=\"col\"", numeric[i] ? "right" : "", escaped(table.columns[i]));
    }
    for (const auto& row : table.rows) {
        std::string cells;
        for (std::size_t i = 0; i < row.size(); ++i) {
            cells += element("td", numeric[i] ? "right" : "", escaped(shown(row[i])));
        }
        body += element("tr", "", cells);
    }
    return element(
        "div tabindex=\"0\" role=\"region\" aria-label=\"" + escaped(caption) + "\"", "wide",
        element("table", "",
                element("caption", "", escaped(caption)) +
                    element("thead", "", element("tr", "", head)) + element("tbody", "", body)));
}

std::string folded(std::string_view summary, const std::string& inner) {
    return element("details", "", element("summary", "", escaped(summary)) + inner);
}

}  // namespace bitsweep::html
