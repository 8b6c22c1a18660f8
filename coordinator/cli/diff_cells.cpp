#include "coordinator/cli/diff_cells.h"

#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>

namespace bitsweep {
namespace {

struct Side {
    const Cell* cell = nullptr;
    CellFields fields;
    bool paired = false;
};

std::vector<Side> only_in(const std::vector<Cell>& cells, const std::vector<Cell>& others) {
    std::unordered_set<std::string> keys;
    for (const Cell& cell : others) {
        keys.insert(cell.identity.spec_key);
    }
    std::vector<Side> out;
    for (const Cell& cell : cells) {
        if (!keys.contains(cell.identity.spec_key)) {
            out.push_back({&cell, fields_of(cell.spec), false});
        }
    }
    return out;
}

// The fields but those of `left_out`, as one text.
std::string projection(const CellFields& fields, const std::set<std::string>& left_out) {
    std::string out;
    for (const auto& [name, value] : fields) {
        if (!left_out.contains(name)) {
            out += name + "=" + value + "\n";
        }
    }
    return out;
}

// Pairs, in order, what is equal once `left_out` is taken away.
void pair_by(const std::set<std::string>& left_out, std::vector<Side>& removed,
             std::vector<Side>& added, std::vector<ChangedCell>& out) {
    std::unordered_map<std::string, std::vector<Side*>> waiting;
    for (Side& side : added) {
        if (!side.paired) {
            waiting[projection(side.fields, left_out)].push_back(&side);
        }
    }
    std::unordered_map<std::string, std::size_t> taken;
    for (Side& side : removed) {
        if (side.paired) {
            continue;
        }
        const std::string key = projection(side.fields, left_out);
        const auto found = waiting.find(key);
        if (found == waiting.end() || taken[key] == found->second.size()) {
            continue;
        }
        Side& other = *found->second[taken[key]++];
        side.paired = other.paired = true;
        out.push_back({side.cell, other.cell, changes(side.fields, other.fields)});
    }
}

// Fields that have a value on one side which the other side never has.
std::set<std::string> differing(const std::vector<Side>& removed, const std::vector<Side>& added) {
    std::map<std::string, std::pair<std::set<std::string>, std::set<std::string>>> values;
    for (const Side& side : removed) {
        for (const auto& [name, value] : side.fields) {
            values[name].first.insert(value);
        }
    }
    for (const Side& side : added) {
        for (const auto& [name, value] : side.fields) {
            values[name].second.insert(value);
        }
    }
    std::set<std::string> out;
    for (const auto& [name, sets] : values) {
        if (sets.first != sets.second) {
            out.insert(name);
        }
    }
    return out;
}

// Subsets of the fields, those of one first: who pairs cells in this order pairs each with one that
// few changes make of it. Of many fields only those of up to two, and all of them: each subset
// looks at every cell, and seven fields already have 127.
std::vector<std::set<std::string>> few_first(const std::set<std::string>& fields) {
    constexpr std::size_t most_fields = 7;
    const std::size_t deepest = fields.size() <= most_fields ? fields.size() : 2;
    std::vector<std::set<std::string>> out = {{}};
    for (std::size_t first = 0, count = 1; count <= deepest; ++count) {
        const std::size_t end = out.size();
        for (; first < end; ++first) {
            // Each set once: only by fields behind its last.
            auto field =
                out[first].empty() ? fields.begin() : fields.upper_bound(*out[first].rbegin());
            for (; field != fields.end(); ++field) {
                std::set<std::string> larger = out[first];
                larger.insert(*field);
                out.push_back(std::move(larger));
            }
        }
    }
    out.erase(out.begin());
    if (deepest < fields.size()) {
        out.push_back(fields);
    }
    return out;
}

}  // namespace

CellDifference difference(const std::vector<Cell>& before, const std::vector<Cell>& after) {
    std::vector<Side> removed = only_in(before, after);
    std::vector<Side> added = only_in(after, before);
    CellDifference out;
    out.same = before.size() - removed.size();
    if (!removed.empty() && !added.empty()) {
        for (const std::set<std::string>& fields : few_first(differing(removed, added))) {
            pair_by(fields, removed, added, out.changed);
        }
    }
    for (const Side& side : removed) {
        if (!side.paired) {
            out.removed.push_back(side.cell);
        }
    }
    for (const Side& side : added) {
        if (!side.paired) {
            out.added.push_back(side.cell);
        }
    }
    return out;
}

}  // namespace bitsweep
