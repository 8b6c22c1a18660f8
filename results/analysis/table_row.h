// A row of a result set by column name, and text inside SQL.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "results/analysis/number_text.h"
#include "results/store/store.h"

namespace bitsweep {

// 'text', quotes doubled: the read API takes one statement and no parameters.
std::string sql_text(std::string_view text);

// A JSON array of numbers, as samples are stored: NaN for what is no number, nothing for a text
// that is no array.
std::vector<double> numbers_of(const std::string& json);

// A column that is not there is a bug of the query's text.
class Row {
 public:
    Row(const Table& table, std::size_t index) : table_(table), cells_(table.rows[index]) {}
    // NaN for NULL and for text.
    double number(std::string_view column) const {
        const Table::Value& value = at(column);
        return value.kind == Table::Kind::integer ? static_cast<double>(value.integer)
               : value.kind == Table::Kind::real  ? value.real
                                                  : std::numeric_limits<double>::quiet_NaN();
    }
    std::int64_t integer(std::string_view column) const { return at(column).integer; }
    // The value as a label shows it; "" for NULL.
    std::string label(std::string_view column) const {
        const Table::Value& value = at(column);
        switch (value.kind) {
            case Table::Kind::null:
                return "";
            case Table::Kind::text:
                return value.text;
            case Table::Kind::integer:
                return std::to_string(value.integer);
            case Table::Kind::real:
                return plain_text(value.real);
        }
        return "";
    }

 private:
    const Table::Value& at(std::string_view column) const {
        const auto found = std::find(table_.columns.begin(), table_.columns.end(), column);
        ASSERT(found != table_.columns.end());
        return cells_[static_cast<std::size_t>(found - table_.columns.begin())];
    }
    const Table& table_;
    const std::vector<Table::Value>& cells_;
};

}  // namespace bitsweep
