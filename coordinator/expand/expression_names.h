// The visible table of what expressions can read besides the fields: facts of models and cards, and
// sizes that follow from several fields.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "coordinator/expand/expression.h"

namespace bitsweep {

struct FactRow {
    std::string_view name;
    Fact fact;
    ExprType type;
    std::span<const Field> fields;  // what it depends on
    std::string_view summary;
};

std::span<const FactRow> fact_table();

// How an expression sees a field; nullopt: it cannot (`eval` is several values).
std::optional<ExprType> expression_type(Field field);

}  // namespace bitsweep
