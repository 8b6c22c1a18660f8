// What an expression reads of one cell: its fields, and what follows from them by the tables of
// shapes, methods and cards.
#pragma once

#include "coordinator/expand/draft.h"
#include "coordinator/expand/expression.h"

namespace bitsweep {

// The draft outlives it. Facts are looked up when they are asked for.
class CellFacts {
 public:
    explicit CellFacts(const Draft& draft) : draft_(draft) {}

    ExprValue value(const Name& name) const;

    // For evaluate().
    Lookup lookup() const {
        return [this](const Name& name) { return value(name); };
    }

 private:
    ExprValue field(Field field) const;
    ExprValue of_model(Fact fact) const;
    ExprValue size(Fact fact) const;
    ExprValue of_card(Fact fact) const;

    const Draft& draft_;
};

}  // namespace bitsweep
