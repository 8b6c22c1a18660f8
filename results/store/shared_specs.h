// What the new jobs of one transaction have in common, each written once (table shared_specs).
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>

#include "results/store/sqlite.h"
#include "schemas/catalog/stored_keys.h"
#include "schemas/job.h"

namespace bitsweep {

class SharedSpecs {
 public:
    // The row that this cell shares with others, added where there is none. `forms` has just made
    // the cell's.
    Result<std::int64_t> row_of(Connection& connection, const Cell& cell, const StoredKeys& keys,
                                const StoredForms& forms);

 private:
    struct Known {
        std::string weights_digest;
        std::string dataset_digest;
        int revision = 0;
        std::int64_t row = 0;
    };
    Result<std::int64_t> add(Connection& connection, const Cell& cell, const std::string& spec,
                             const std::string& canonical);

    std::unordered_map<std::size_t, Known> by_serial_;
    std::unordered_map<std::string, std::int64_t> by_text_;  // forms may have two serials
};

}  // namespace bitsweep
