// The named views of a database: their list, and the SELECT of one.
#pragma once

#include <string>

#include "results/store/store.h"
#include "schemas/status.h"

namespace bitsweep {

// Columns `view` and `what it shows`.
extern const char* const views_sql;

// "speedup" is short for "v_speedup"; empty `experiment`: rows of all. not_found names the nearest.
Result<std::string> select_view(Store& store, const std::string& name,
                                const std::string& experiment);

}  // namespace bitsweep
