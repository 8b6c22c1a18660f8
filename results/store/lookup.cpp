#include "results/store/lookup.h"

#include <map>
#include <string_view>
#include <unordered_map>

#include "results/store/queries.h"

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

const std::string& first_known(const std::string& one, const std::string& other) {
    return one.empty() ? other : one;
}

// Where both sides know a digest, it must be the same.
bool may_be_equal(const std::string& stored, const std::string& asked) {
    return stored.empty() || asked.empty() || stored == asked;
}

// The columns of sql::known_jobs.
struct StoredIdentity {
    std::int64_t id = 0;
    std::int64_t revision = 0;
    std::string weights;
    std::string dataset;
    bool real_weights = false;
    bool has_result = false;
};

class Lookup {
 public:
    Lookup(std::span<const Cell> cells, Digests models, Digests texts)
        : cells_(cells),
          models_(std::move(models)),
          texts_(std::move(texts)),
          found_(cells.size()),
          rank_(cells.size()),
          next_(cells.size(), none) {
        by_key_.reserve(cells.size());
        for (std::size_t i = 0; i < cells.size(); ++i) {
            const auto [first, added] = by_key_.try_emplace(cells[i].identity.spec_key, i);
            if (!added) {  // asked for twice: a chain
                next_[i] = first->second;
                first->second = i;
            }
        }
    }

    Status read(Statement& rows) {
        while (TRY(rows.step())) {
            const auto found = by_key_.find(rows.view(0));
            if (found == by_key_.end()) {
                continue;
            }
            const StoredIdentity stored{rows.integer(1),        rows.integer(2),
                                        rows.text(3),           rows.text(4),
                                        rows.text(5) == "real", rows.integer(6) != 0};
            for (std::size_t i = found->second; i != none; i = next_[i]) {
                TRY(offer(i, stored, rows));
            }
        }
        return {};
    }

    std::vector<std::optional<KnownJob>> take() { return std::move(found_); }

 private:
    static constexpr std::size_t none = static_cast<std::size_t>(-1);

    static const std::string& bound_to(const Digests& digests, const std::string& name) {
        static const std::string nothing;
        const auto found = digests.find(name);
        return found == digests.end() ? nothing : found->second;
    }

    bool is_same(const Cell& cell, const StoredIdentity& stored) const {
        const std::string& model =
            stored.real_weights ? bound_to(models_, cell.spec.model.name) : bound_to({}, "");
        const std::string& text = bound_to(texts_, cell.spec.quality.text);
        return stored.revision == cell.identity.numerics_revision &&
               may_be_equal(first_known(stored.weights, model),
                            first_known(cell.identity.weights_digest, model)) &&
               may_be_equal(first_known(stored.dataset, text),
                            first_known(cell.identity.dataset_digest, text));
    }

    // A job with a result before one without, then the newest.
    Status offer(std::size_t index, const StoredIdentity& stored, const Statement& rows) {
        const std::pair<bool, std::int64_t> rank{stored.has_result, stored.id};
        if (!is_same(cells_[index], stored) || (found_[index] && rank < rank_[index])) {
            return {};
        }
        const std::optional<OutcomeClass> outcome = outcome_from_string(rows.text(9));
        if (!outcome) {
            return make_error(
                ErrorCode::corrupt,
                "job " + rows.text(7) + ": the database names an unknown outcome, " + rows.text(9));
        }
        rank_[index] = rank;
        found_[index] = KnownJob{stored.id, {rows.text(7)}, rows.text(8), *outcome, rows.text(10)};
        return {};
    }

    std::span<const Cell> cells_;
    Digests models_;
    Digests texts_;
    std::vector<std::optional<KnownJob>> found_;
    std::vector<std::pair<bool, std::int64_t>> rank_;  // of what was found
    std::unordered_map<std::string_view, std::size_t> by_key_;
    std::vector<std::size_t> next_;
};

}  // namespace

Result<std::vector<std::optional<KnownJob>>> find_jobs(Connection& connection,
                                                       std::span<const Cell> cells) {
    Lookup lookup(cells, TRY(bound(connection, "model")), TRY(bound(connection, "text")));
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
