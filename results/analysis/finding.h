// What an analysis has found: sentences first, then the tables they rest on, then how to read them.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "results/store/store.h"

namespace bitsweep {

struct NamedTable {
    std::string name;  // "coefficients"
    Table table;
};

struct Finding {
    std::string title;
    std::vector<std::string> sentences;
    std::vector<NamedTable> tables;  // the first is what --format csv and json print
    std::vector<std::string> notes;
};

// For a terminal or a pipe; `width` 0: nothing is wrapped or shortened.
std::string to_text(const Finding& finding, int width);
std::string to_markdown(const Finding& finding);

// Builds a table row by row. Numbers are rounded to `digits` significant digits: more would claim
// more than the intervals beside them; NaN becomes NULL.
class TableBuilder {
 public:
    explicit TableBuilder(std::vector<std::string> columns) { table_.columns = std::move(columns); }
    TableBuilder& row();
    TableBuilder& text(std::string value);  // "" becomes NULL
    TableBuilder& number(double value, int digits = 4);
    TableBuilder& count(std::int64_t value);
    Table take() { return std::move(table_); }

 private:
    Table table_;
};

}  // namespace bitsweep
