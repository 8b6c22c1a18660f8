#include <algorithm>
#include <cmath>
#include <set>

#include "results/analysis/number_text.h"
#include "results/analysis/summary.h"
#include "results/analysis/text_width.h"
#include "results/store/json_text.h"

namespace bitsweep {
namespace {

using Kind = Table::Kind;
using Value = Table::Value;

// Every digit of a number: what a program reads must be what was stored.
std::string exact(const Value& value) {
    switch (value.kind) {
        case Kind::integer:
            return std::to_string(value.integer);
        case Kind::real:
            return std::isnan(value.real)   ? "nan"
                   : std::isinf(value.real) ? (value.real > 0 ? "inf" : "-inf")
                                            : json_number(value.real);
        case Kind::text:
            return value.text;
        case Kind::null:
            break;
    }
    return "";
}

// For eyes: six digits, and an empty cell for nothing.
std::string readable(const Value& value) {
    return value.kind == Kind::real ? plain_text(value.real) : printable(exact(value));
}

// ---- csv (RFC 4180; a missing value is empty, an empty text is "")

std::string csv_field(const Value& value) {
    const std::string text = exact(value);
    const bool quote = value.kind == Kind::text &&
                       (text.empty() || text.find_first_of(",\"\r\n") != std::string::npos);
    if (!quote) {
        return text;
    }
    std::string out = "\"";
    for (const char c : text) {
        out += c;
        if (c == '"') {
            out += c;
        }
    }
    return out + "\"";
}

std::string to_csv(const Table& table) {
    std::string out;
    const auto add = [&](const Value& value, bool first) {
        out += (first ? "" : ",") + csv_field(value);
    };
    for (std::size_t i = 0; i < table.columns.size(); ++i) {
        add({Kind::text, 0, 0, table.columns[i]}, i == 0);
    }
    out += "\n";
    for (const auto& row : table.rows) {
        for (std::size_t i = 0; i < row.size(); ++i) {
            add(row[i], i == 0);
        }
        out += "\n";
    }
    return out;
}

// ---- json

std::string json_value(const Value& value) {
    switch (value.kind) {
        case Kind::integer:
            return std::to_string(value.integer);
        case Kind::real:
            return json_number(value.real);
        case Kind::text:
            return json_quote(value.text);
        case Kind::null:
            break;
    }
    return "null";
}

// An object cannot have one name twice: the second `x` becomes `x_2`.
std::vector<std::string> unique_names(const std::vector<std::string>& columns) {
    std::set<std::string> taken;
    std::vector<std::string> names;
    for (const std::string& column : columns) {
        std::string name = column;
        for (int i = 2; !taken.insert(name).second; ++i) {
            name = column + "_" + std::to_string(i);
        }
        names.push_back(name);
    }
    return names;
}

std::string json_object_of(const std::vector<std::string>& names, const std::vector<Value>& row) {
    std::string out = "{";
    for (std::size_t i = 0; i < row.size(); ++i) {
        out += (i == 0 ? "" : ", ") + json_quote(names[i]) + ": " + json_value(row[i]);
    }
    return out + "}";
}

std::string to_json_array(const Table& table) {
    const std::vector<std::string> names = unique_names(table.columns);
    std::string out = "[";
    for (std::size_t i = 0; i < table.rows.size(); ++i) {
        out += (i == 0 ? "\n  " : ",\n  ") + json_object_of(names, table.rows[i]);
    }
    return out + (table.rows.empty() ? "]\n" : "\n]\n");
}

std::string to_json_lines(const Table& table) {
    const std::vector<std::string> names = unique_names(table.columns);
    std::string out;
    for (const auto& row : table.rows) {
        out += json_object_of(names, row) + "\n";
    }
    return out;
}

// ---- markdown

std::string markdown_cell(const std::string& text) {
    std::string out;
    for (const char c : text) {
        out += (c == '|' || c == '\\') ? std::string("\\") + c : std::string(1, c);
    }
    return out;
}

bool is_number_column(const Table& table, std::size_t column) {
    const auto numeric = [&](const auto& row) {
        return row[column].kind == Kind::integer || row[column].kind == Kind::real;
    };
    const auto texts = [&](const auto& row) { return row[column].kind == Kind::text; };
    return std::any_of(table.rows.begin(), table.rows.end(), numeric) &&
           std::none_of(table.rows.begin(), table.rows.end(), texts);
}

std::string to_markdown(const Table& table) {
    std::string head = "|";
    std::string rule = "|";
    for (std::size_t i = 0; i < table.columns.size(); ++i) {
        head += " " + markdown_cell(printable(table.columns[i])) + " |";
        rule += is_number_column(table, i) ? "---:|" : "---|";
    }
    std::string out = head + "\n" + rule + "\n";
    for (const auto& row : table.rows) {
        out += "|";
        for (const Value& value : row) {
            out += " " + markdown_cell(readable(value)) + " |";
        }
        out += "\n";
    }
    return out;
}

// ---- table

constexpr int gap = 2;
constexpr int least_width = 16;  // a shortened column keeps this much

// Takes columns from the widest text until the row fits; numbers are never cut.
void fit(std::vector<int>& widths, const std::vector<bool>& numeric, int width) {
    while (true) {
        int total = -gap;
        std::size_t widest = widths.size();
        for (std::size_t i = 0; i < widths.size(); ++i) {
            total += widths[i] + gap;
            if (!numeric[i] && widths[i] > least_width &&
                (widest == widths.size() || widths[i] > widths[widest])) {
                widest = i;
            }
        }
        if (total <= width || widest == widths.size()) {
            return;
        }
        widths[widest] = std::max(least_width, widths[widest] - (total - width));
    }
}

std::string to_aligned(const Table& table, int width) {
    std::vector<std::vector<std::string>> cells;
    std::vector<int> widths;
    std::vector<bool> numeric;
    for (std::size_t i = 0; i < table.columns.size(); ++i) {
        widths.push_back(display_width(printable(table.columns[i])));
        numeric.push_back(is_number_column(table, i));
    }
    for (const auto& row : table.rows) {
        auto& line = cells.emplace_back();
        for (std::size_t i = 0; i < row.size(); ++i) {
            line.push_back(readable(row[i]));
            widths[i] = std::max(widths[i], display_width(line.back()));
        }
    }
    if (width > 0) {
        fit(widths, numeric, width);
    }
    std::string out;
    const auto add_line = [&](const auto& text_of) {
        std::string line;
        for (std::size_t i = 0; i < widths.size(); ++i) {
            line += (i == 0 ? "" : std::string(gap, ' ')) +
                    padded(shortened(text_of(i), widths[i]), widths[i],
                           numeric[i] ? Align::right : Align::left);
        }
        line.erase(line.find_last_not_of(' ') + 1);
        out += line + "\n";
    };
    add_line([&](std::size_t i) { return printable(table.columns[i]); });
    add_line([&](std::size_t i) { return std::string(static_cast<std::size_t>(widths[i]), '-'); });
    for (const auto& line : cells) {
        add_line([&](std::size_t i) { return line[i]; });
    }
    return out;
}

}  // namespace

Result<std::string> format_table(const Table& table, std::string_view format, int width) {
    if (format == "table") {
        return to_aligned(table, width);
    }
    if (format == "csv") {
        return to_csv(table);
    }
    if (format == "json") {
        return to_json_array(table);
    }
    if (format == "jsonl") {
        return to_json_lines(table);
    }
    if (format == "markdown") {
        return to_markdown(table);
    }
    return make_error(ErrorCode::invalid_input,
                      "unknown format `" + std::string(format) +
                          "`; formats are table, csv, json, jsonl and markdown");
}

}  // namespace bitsweep
