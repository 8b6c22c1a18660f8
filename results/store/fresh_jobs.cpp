#include "results/store/fresh_jobs.h"

#include <bit>
#include <optional>
#include <span>
#include <string_view>
#include <tuple>
#include <utility>

#include "results/store/queries.h"

namespace bitsweep {
namespace {

auto spec_row(const FreshJob& job) {
    const bool same = job.series == job.spec_key;
    return std::make_tuple(job.row, job.shared, std::string_view(job.key), job.batch,
                           job.prompt_tokens, job.new_tokens, job.threads,
                           std::bit_cast<std::int64_t>(job.seed), job.repeat, job.baseline ? 1 : 0,
                           same ? std::nullopt : std::optional(std::string_view(job.series)),
                           std::string_view(job.setting), std::string_view(job.spec_key));
}

auto state_row(const FreshJob& job) {
    return std::make_tuple(job.row);
}

auto link_row(const FreshMember& job) {
    return std::make_tuple(std::string_view(job.experiment), job.row, job.yaml_line,
                           job.policy.priority, job.policy.timeout.ms, job.policy.retries_crash,
                           job.policy.retries_fail);
}

struct Statements {
    std::string_view specs;
    std::string_view states;
    std::string_view links;
};
constexpr Statements for_one{sql::put_fresh_spec, sql::put_fresh_state, sql::put_fresh_link};
constexpr Statements for_many{sql::put_fresh_specs, sql::put_fresh_states, sql::put_fresh_links};

template <class Job>
Status insert_jobs(Connection& connection, const Statements& sql, std::span<const Job> jobs) {
    TRY(TRY(connection.cached(sql.specs))->execute_rows(jobs, spec_row));
    return TRY(connection.cached(sql.states))->execute_rows(jobs, state_row);
}

Status insert(Connection& connection, const Statements& sql, std::span<const FreshMember> jobs) {
    TRY(insert_jobs(connection, sql, jobs));
    return TRY(connection.cached(sql.links))->execute_rows(jobs, link_row);
}

}  // namespace

Status write_fresh(Connection& connection, const FreshJob& job) {
    return insert_jobs(connection, for_one, std::span<const FreshJob>(&job, 1));
}

Result<FreshMember*> FreshMembers::next(Connection& connection) {
    if (waiting_ == most) {
        TRY(write(connection));
    }
    return &jobs_[waiting_++];
}

Status FreshMembers::write(Connection& connection) {
    const std::span<const FreshMember> jobs(jobs_.data(), std::exchange(waiting_, 0));
    if (jobs.size() == most) {
        return insert(connection, for_many, jobs);
    }
    for (std::size_t i = 0; i < jobs.size(); ++i) {
        TRY(insert(connection, for_one, jobs.subspan(i, 1)));
    }
    return {};
}

}  // namespace bitsweep
