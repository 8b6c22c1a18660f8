// Which field made a cell new: the nearest measured cell differs in what?
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "coordinator/cli/cell_fields.h"
#include "results/store/store.h"
#include "schemas/job.h"
#include "schemas/status.h"

namespace bitsweep {

class WhyNew {
 public:
    // Reads the stored jobs of the models that the cells name.
    static Result<WhyNew> read(Store& store, const std::vector<Cell>& cells);

    // For a cell that the store does not have: "numerics_revision 1 -> 2: ...", "batch 8 is new
    // (there are 1, 2)", "model opt-66b was never submitted".
    std::string why(const Cell& cell) const;

 private:
    struct Stored {
        std::string key;
        std::string weights;
        std::string dataset;
        std::int64_t revision = 0;
    };

    void add(const CellFields& fields, Stored stored);

    std::unordered_map<std::string, std::vector<Stored>> by_spec_;
    // All fields but one -> the values that the one has there. The key is a hash of the others: a
    // collision could only misname a reason.
    std::unordered_map<std::uint64_t, std::set<std::string>> but_one_;
    std::set<std::string> models_;
};

}  // namespace bitsweep
