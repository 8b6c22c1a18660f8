#include <algorithm>
#include <cmath>
#include <iterator>
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
constexpr int least_width = 16;  // a narrowed column keeps this much
constexpr int indent = 4;        // of what stands below its row

// A column of the aligned table. Narrowed, its words go on in further lines; one word is cut.
struct Column {
    std::string name;
    int natural = 0, width = 0;
    bool numeric = false;
    bool words = false;  // some value has several
    bool below = false;  // stands under its row: there is no room beside the others
};

// Takes columns from the widest text until the row fits; numbers are never cut. False: it does not.
bool narrow(std::vector<Column>& columns, int width) {
    while (true) {
        int total = -gap;
        Column* widest = nullptr;
        for (Column& column : columns) {
            if (column.below) {
                continue;
            }
            total += column.width + gap;
            if (!column.numeric && column.width > least_width &&
                (widest == nullptr || column.width > widest->width)) {
                widest = &column;
            }
        }
        if (total <= width || widest == nullptr) {
            return total <= width;
        }
        widest->width = std::max(least_width, widest->width - (total - width));
    }
}

// Sentences leave a row that has no room for them, the longest first.
void fit(std::vector<Column>& columns, int width) {
    while (!narrow(columns, width)) {
        Column* longest = nullptr;
        for (Column& column : columns) {
            if (!column.below && column.words && column.natural > least_width &&
                (longest == nullptr || column.natural > longest->natural)) {
                longest = &column;
            }
        }
        if (longest == nullptr) {
            return;
        }
        longest->below = true;
        for (Column& column : columns) {
            column.width = column.natural;
        }
    }
}

std::vector<std::string> lines_of(const std::string& text, int width) {
    if (display_width(text) <= width) {
        return {text};
    }
    return text.find(' ') == std::string::npos ? std::vector{shortened(text, width)}
                                               : broken(text, width);
}

std::vector<Column> columns_of(const Table& table, int width) {
    std::vector<Column> columns;
    for (std::size_t i = 0; i < table.columns.size(); ++i) {
        Column column{printable(table.columns[i])};
        column.natural = display_width(column.name);
        column.numeric = is_number_column(table, i);
        for (const auto& row : table.rows) {
            const std::string text = readable(row[i]);
            column.natural = std::max(column.natural, display_width(text));
            column.words = column.words || text.find(' ') != std::string::npos;
        }
        column.width = column.natural;
        columns.push_back(std::move(column));
    }
    if (width > 0) {
        fit(columns, width);
    }
    return columns;
}

// The lines of one row: what stands beside each other, then what stands below.
std::string row_text(const std::vector<Column>& columns, const std::vector<std::string>& texts,
                     int width) {
    std::vector<std::vector<std::string>> parts;
    std::size_t height = 1;
    for (std::size_t i = 0; i < columns.size(); ++i) {
        parts.push_back(lines_of(texts[i], columns[i].width));
        height = std::max(height, columns[i].below ? 1 : parts.back().size());
    }
    std::string out;
    for (std::size_t k = 0; k < height; ++k) {
        std::string line;
        for (std::size_t i = 0; i < columns.size(); ++i) {
            if (!columns[i].below) {
                line += padded(k < parts[i].size() ? parts[i][k] : "", columns[i].width,
                               columns[i].numeric ? Align::right : Align::left) +
                        std::string(gap, ' ');
            }
        }
        line.erase(line.find_last_not_of(' ') + 1);
        out += line + "\n";
    }
    for (std::size_t i = 0; i < columns.size(); ++i) {
        if (columns[i].below && !texts[i].empty()) {
            for (const std::string& line :
                 broken(columns[i].name + ": " + texts[i], width - indent)) {
                out += std::string(indent, ' ') + line + "\n";
            }
        }
    }
    return out;
}

std::string to_aligned(const Table& table, int width) {
    const std::vector<Column> columns = columns_of(table, width);
    std::vector<std::string> names, rules;
    for (const Column& column : columns) {
        names.push_back(column.below ? "" : column.name);
        rules.push_back(column.below ? ""
                                     : std::string(static_cast<std::size_t>(column.width), '-'));
    }
    std::string out = row_text(columns, names, width) + row_text(columns, rules, width);
    for (const auto& row : table.rows) {
        std::vector<std::string> texts;
        std::ranges::transform(row, std::back_inserter(texts), readable);
        out += row_text(columns, texts, width);
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
