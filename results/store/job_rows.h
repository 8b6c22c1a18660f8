// Where each job's row is, so that a key of 64 characters need not be looked up in an index that
// does not fit any cache. 32 bytes a job: 32 MB for a million.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "results/store/sqlite.h"

namespace bitsweep {

class JobRows {
 public:
    // nullopt: there is no such job. Reads the table at the first call and after forget().
    Result<std::optional<std::int64_t>> find(Connection& connection, std::string_view key);
    // A job that was just inserted.
    void add(std::string_view key, std::int64_t row);
    // What was added may not be there any more: a transaction was undone.
    void forget();

 private:
    // Keys are told apart by 64 bits of a hash. Where two keys share them, the database is asked.
    struct Slot {
        std::uint64_t hash = 0;
        std::int64_t row = 0;  // 0: free; below: ask
    };
    Status load(Connection& connection);
    Slot& slot_of(std::uint64_t hash);
    void grow(std::size_t jobs);

    std::vector<Slot> slots_;  // a power of two, at most half of them used; empty: not loaded
    std::size_t used_ = 0;
};

}  // namespace bitsweep
