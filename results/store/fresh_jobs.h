// Jobs that are new to the database: they wait. A submission adds many, which are written sixteen
// to a statement, since running a statement costs SQLite as much as the row it writes (100,000
// jobs, SQLite alone: 0.80 and 0.67 s one by one, 0.38 and 0.40 s by eight, 0.36 s by 32).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "results/store/sqlite.h"
#include "schemas/job.h"

namespace bitsweep {

// A row of job_specs and of job_states.
struct FreshJob {
    std::int64_t row = 0;     // in both, larger than any there
    std::int64_t shared = 0;  // of shared_specs
    std::string key;
    int batch = 0;
    std::int64_t prompt_tokens = 0;
    std::int64_t new_tokens = 0;
    int threads = 0;
    std::uint64_t seed = 0;
    int repeat = 0;
    bool baseline = false;
    std::string series;
    std::string setting;
    std::string spec_key;
};

// And of experiment_jobs.
struct FreshMember : FreshJob {
    std::string experiment;
    int yaml_line = 0;
    JobPolicy policy;
};

// A job that is no member of an experiment.
Status write_fresh(Connection& connection, const FreshJob& job);

class FreshMembers {
 public:
    static constexpr std::size_t most = 16;

    // To be filled in before the next call of either.
    Result<FreshMember*> next(Connection& connection);
    // Before anything else of the transaction reads or writes jobs, and at its end.
    Status write(Connection& connection);

 private:
    std::array<FreshMember, most> jobs_;  // used again: their texts keep their room
    std::size_t waiting_ = 0;
};

}  // namespace bitsweep
