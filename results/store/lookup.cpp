#include "results/store/lookup.h"

#include <map>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "results/store/queries.h"
#include "schemas/digest_index.h"

namespace bitsweep {
namespace {

// A job found by its key costs about what four cost that are read in a row.
constexpr std::int64_t cost_of_a_key = 4;

using Digests = std::map<std::string, std::string, std::less<>>;  // name -> bound digest

Result<Digests> bound(Connection& connection, const char* kind) {
    Statement& rows = *TRY(connection.cached(sql::bindings_of));
    rows.bind_all(kind);
    Digests digests;
    while (TRY(rows.step())) {
        digests[rows.text(0)] = rows.text(1);
    }
    rows.reset();
    return digests;
}

std::string_view first_known(std::string_view one, std::string_view other) {
    return one.empty() ? other : one;
}

// Where both sides know a digest, it must be the same.
bool may_be_equal(std::string_view stored, std::string_view asked) {
    return stored.empty() || asked.empty() || stored == asked;
}

// What the jobs of one `shared` have in common.
struct SharedIdentity {
    std::int64_t revision = 0;
    std::string weights;
    std::string dataset;
    bool real_weights = false;
};

// More than the models x methods x thresholds of an experiment. A database of before schema 9 has
// one for each job.
constexpr std::size_t most_kept = 4'096;

struct KeyAt {
    std::span<const Cell> cells;
    std::string_view operator()(std::uint32_t place) const {
        return cells[place].identity.spec_key;
    }
};

class Lookup {
 public:
    Lookup(Connection& connection, std::span<const Cell> cells, Digests models, Digests texts)
        : connection_(connection),
          cells_(cells),
          models_(std::move(models)),
          texts_(std::move(texts)),
          found_(cells.size()),
          rank_(cells.size()),
          by_key_(cells.size()),
          next_(cells.size(), none) {
        for (std::size_t i = 0; i < cells.size(); ++i) {
            const auto place = static_cast<std::uint32_t>(i);
            if (const auto first = by_key_.add(cells[i].identity.spec_key, place, KeyAt{cells_})) {
                next_[i] = std::exchange(next_[*first], place);  // asked for twice: a chain
            }
        }
    }

    Status read(Statement& rows) {
        while (TRY(rows.step())) {
            const auto found = by_key_.find(rows.view(0), KeyAt{cells_});
            for (std::uint32_t i = found.value_or(none); i != none; i = next_[i]) {
                TRY(offer(i, rows));
            }
        }
        return {};
    }

    std::vector<std::optional<KnownJob>> take() { return std::move(found_); }

 private:
    static constexpr std::uint32_t none = 0xffff'ffff;

    static std::string_view bound_to(const Digests& digests, const std::string& name) {
        const auto found = digests.find(name);
        return found == digests.end() ? std::string_view() : found->second;
    }

    Result<const SharedIdentity*> shared_of(std::int64_t id) {
        if (const auto known = shared_.find(id); known != shared_.end()) {
            return &known->second;
        }
        if (shared_.size() >= most_kept) {
            shared_.clear();
        }
        Statement& row = *TRY(connection_.cached(sql::shared_identity));
        TRY(row.bind_all(id).step());
        SharedIdentity identity{row.integer(0), row.text(1), row.text(2), row.view(3) == "real"};
        row.reset();
        return &shared_.emplace(id, std::move(identity)).first->second;
    }

    Result<bool> is_same(const Cell& cell, const Statement& job) {
        const SharedIdentity& shared = *TRY(shared_of(job.integer(2)));
        if (shared.revision != cell.identity.numerics_revision) {
            return false;
        }
        const std::string_view model =
            shared.real_weights ? bound_to(models_, cell.spec.model.name) : std::string_view();
        const std::string_view text = bound_to(texts_, cell.spec.quality.text);
        const std::string_view weights = first_known(cell.identity.weights_digest, model);
        const std::string_view dataset = first_known(cell.identity.dataset_digest, text);
        std::string run_weights;
        std::string run_dataset;
        // Its result knows what was not known when it was submitted.
        const bool asks_the_run = (shared.weights.empty() && !weights.empty()) ||
                                  (shared.dataset.empty() && !dataset.empty());
        if (asks_the_run && !job.is_null(3)) {
            Statement& run = *TRY(connection_.cached(sql::digests_of_run));
            TRY(run.bind_all(job.integer(3)).step());
            run_weights = run.text(0);
            run_dataset = run.text(1);
            run.reset();
        }
        return may_be_equal(first_known(first_known(shared.weights, run_weights), model),
                            weights) &&
               may_be_equal(first_known(first_known(shared.dataset, run_dataset), text), dataset);
    }

    // A job with a result before one without, then the newest.
    Status offer(std::size_t index, const Statement& job) {
        const std::pair<bool, std::int64_t> rank{!job.is_null(3), job.integer(1)};
        if ((found_[index] && rank < rank_[index]) || !TRY(is_same(cells_[index], job))) {
            return {};
        }
        rank_[index] = rank;
        found_[index] = KnownJob{rank.second, {job.text(4)}, job.text(5), OutcomeClass::done, ""};
        return found_[index]->state == "failed" ? read_ending(*found_[index]) : Status{};
    }

    Status read_ending(KnownJob& job) {
        Statement& row = *TRY(connection_.cached(sql::ending_of));
        TRY(row.bind_all(job.id).step());
        const std::string word = row.text(0);
        job.last_message = row.text(1);
        row.reset();
        const std::optional<OutcomeClass> outcome = outcome_from_string(word);
        if (!outcome) {
            return make_error(
                ErrorCode::corrupt,
                "job " + job.key.value + ": the database names an unknown outcome, " + word);
        }
        job.last_outcome = *outcome;
        return {};
    }

    Connection& connection_;
    std::span<const Cell> cells_;
    Digests models_;
    Digests texts_;
    std::vector<std::optional<KnownJob>> found_;
    std::vector<std::pair<bool, std::int64_t>> rank_;  // of what was found
    DigestIndex by_key_;
    std::vector<std::uint32_t> next_;  // cell with the same key, or none
    std::unordered_map<std::int64_t, SharedIdentity> shared_;
};

}  // namespace

Result<std::vector<std::optional<KnownJob>>> find_jobs(Connection& connection,
                                                       std::span<const Cell> cells) {
    Lookup lookup(connection, cells, TRY(bound(connection, "model")),
                  TRY(bound(connection, "text")));
    // Rows are never deleted, so the last id is their number.
    const std::int64_t jobs = TRY(connection.integer("SELECT MAX(id) FROM job_specs"));
    if (jobs < cost_of_a_key * static_cast<std::int64_t>(cells.size())) {
        Statement rows = TRY(connection.prepare(sql::known_jobs));
        TRY(lookup.read(rows));
        return lookup.take();
    }
    Statement& rows = *TRY(connection.cached(sql::known_jobs_of_key));
    for (const Cell& cell : cells) {
        const Status read = lookup.read(rows.bind_all(cell.identity.spec_key));
        rows.reset();
        TRY(read);
    }
    return lookup.take();
}

}  // namespace bitsweep
