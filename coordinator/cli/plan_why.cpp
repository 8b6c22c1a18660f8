#include "coordinator/cli/plan_why.h"

#include <algorithm>

#include "schemas/codec.h"

namespace bitsweep {
namespace {

// A reason is for people: beyond this many stored jobs only the newest are compared with.
constexpr std::int64_t most_jobs = 100'000;
constexpr std::size_t most_values = 6;  // in a message

std::uint64_t hash_of(std::string_view text) {
    return std::hash<std::string_view>{}(text);
}

// Of each field with its value; the sum over all but one is then a subtraction.
std::vector<std::uint64_t> hashes(const CellFields& fields, std::uint64_t& sum) {
    std::vector<std::uint64_t> out;
    sum = 0;
    for (const auto& [name, value] : fields) {
        out.push_back(hash_of(name + "\n" + value));
        sum += out.back();
    }
    return out;
}

std::uint64_t without(std::uint64_t sum, std::uint64_t part, const std::string& name) {
    return (sum - part) ^ (hash_of(name) * 0x9E3779B97F4A7C15u);
}

std::string short_digest(const std::string& digest) {
    return digest.empty() ? "unknown" : digest.substr(0, 12);
}

std::string quoted_list(const std::vector<Cell>& cells) {
    std::set<std::string> models;
    for (const Cell& cell : cells) {
        models.insert(cell.spec.model.name);
    }
    std::string out;
    for (const std::string& model : models) {
        std::string quoted;
        for (const char c : model) {
            quoted += c == '\'' ? "''" : std::string(1, c);
        }
        out += (out.empty() ? "'" : ", '") + quoted + "'";
    }
    return out;
}

}  // namespace

Result<WhyNew> WhyNew::read(Store& store, const std::vector<Cell>& cells) {
    const Table table = TRY(store.query(
        "SELECT j.spec_key, j.canonical, j.numerics_revision, j.model,"
        " COALESCE(NULLIF(j.weights_digest, ''), r.weights_digest, ''),"
        " COALESCE(NULLIF(j.dataset_digest, ''), r.dataset_digest, '')"
        " FROM jobs j LEFT JOIN runs r ON r.id = j.result WHERE j.model COLLATE NOCASE IN (" +
        quoted_list(cells) +
        ") AND j.id NOT IN (SELECT job FROM sentinels) ORDER BY j.id DESC LIMIT " +
        std::to_string(most_jobs)));
    WhyNew out;
    for (const auto& row : table.rows) {
        out.models_.insert(row[3].text);
        out.add(fields_of(row[1].text), {row[0].text, row[4].text, row[5].text, row[2].integer});
    }
    return out;
}

void WhyNew::add(const CellFields& fields, Stored stored) {
    std::uint64_t sum = 0;
    const std::vector<std::uint64_t> parts = hashes(fields, sum);
    for (std::size_t i = 0; i < fields.size(); ++i) {
        but_one_[without(sum, parts[i], fields[i].first)].insert(fields[i].second);
    }
    by_spec_[stored.key].push_back(std::move(stored));
}

std::string WhyNew::why(const Cell& cell) const {
    if (const auto same = by_spec_.find(cell.identity.spec_key); same != by_spec_.end()) {
        const Stored& stored = same->second.front();  // the newest
        const CellIdentity& asked = cell.identity;
        if (stored.revision != asked.numerics_revision) {
            return "numerics_revision " + std::to_string(stored.revision) + " -> " +
                   std::to_string(asked.numerics_revision) + ": the numbers of " +
                   cell.spec.method + " may have changed";
        }
        if (stored.weights != asked.weights_digest) {
            return "weights_digest " + short_digest(stored.weights) + " -> " +
                   short_digest(asked.weights_digest) + ": the model's files changed";
        }
        return "dataset_digest " + short_digest(stored.dataset) + " -> " +
               short_digest(asked.dataset_digest) + ": the text changed";
    }
    const CellFields fields = fields_of(cell.spec);
    std::uint64_t sum = 0;
    const std::vector<std::uint64_t> parts = hashes(fields, sum);
    for (std::size_t i = 0; i < fields.size(); ++i) {
        const auto near = but_one_.find(without(sum, parts[i], fields[i].first));
        if (near == but_one_.end()) {
            continue;
        }
        std::string values;
        std::size_t count = 0;
        for (const std::string& value : near->second) {
            values += ++count > most_values ? "" : (values.empty() ? "" : ", ") + as_text(value);
        }
        values += count > most_values ? ", ..." : "";
        return fields[i].first + " " + as_text(fields[i].second) + " is new here (there is " +
               values + ")";
    }
    const bool model_known = std::ranges::any_of(
        models_, [&](const std::string& model) { return model == cell.spec.model.name; });
    return model_known ? "no cell of the database differs from it in one field only"
                       : "model " + cell.spec.model.name + " was never submitted";
}

}  // namespace bitsweep
