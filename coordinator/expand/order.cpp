#include <algorithm>
#include <unordered_map>

#include "coordinator/expand/draft.h"

namespace bitsweep {
namespace {

// SplitMix64 and Fisher-Yates written out: std::shuffle differs between libraries, and the order of
// an experiment must not.
class Shuffler {
 public:
    explicit Shuffler(std::uint64_t seed) : state_(seed) {}

    void shuffle(std::vector<std::size_t>& items) {
        for (std::size_t i = items.size(); i > 1; --i) {
            std::swap(items[i - 1], items[next() % i]);
        }
    }

 private:
    std::uint64_t next() {
        std::uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        return z ^ (z >> 31);
    }

    std::uint64_t state_;
};

// Groups of equal keys in the order of first appearance.
std::vector<std::vector<std::size_t>> grouped(const std::vector<std::size_t>& items,
                                              const std::vector<std::string>& keys) {
    std::vector<std::vector<std::size_t>> groups;
    std::unordered_map<std::string, std::size_t> index;
    for (const std::size_t item : items) {
        const auto [found, added] = index.try_emplace(keys[item], groups.size());
        if (added) {
            groups.emplace_back();
        }
        groups[found->second].push_back(item);
    }
    return groups;
}

// Indices of the cells of each model, in the order of first appearance.
std::vector<std::vector<std::size_t>> by_model(const std::vector<Cell>& cells) {
    const auto same = [](const ModelRef& a, const ModelRef& b) {
        return a.weights == b.weights && a.weights_seed == b.weights_seed && a.name == b.name &&
               a.path == b.path;
    };
    std::vector<std::vector<std::size_t>> groups;
    std::unordered_map<std::string, std::size_t> index;
    std::size_t last = 0;
    for (std::size_t i = 0; i < cells.size(); ++i) {
        const ModelRef& model = cells[i].spec.model;
        // Models are mostly the slowest axis: the next cell has the same one.
        if (i == 0 || !same(model, cells[i - 1].spec.model)) {
            const std::string key = model.name + "\n" + model.path + "\n" +
                                    std::string(to_string(model.weights)) + "\n" +
                                    std::to_string(model.weights_seed);
            last = index.try_emplace(key, groups.size()).first->second;
            groups.resize(std::max(groups.size(), last + 1));
        }
        groups[last].push_back(i);
    }
    return groups;
}

// One of each group in turn, until all are taken.
std::vector<std::size_t> round_robin(const std::vector<std::vector<std::size_t>>& groups) {
    std::vector<std::size_t> out;
    std::size_t longest = 0;
    for (const auto& group : groups) {
        longest = std::max(longest, group.size());
    }
    for (std::size_t turn = 0; turn < longest; ++turn) {
        for (const auto& group : groups) {
            if (turn < group.size()) {
                out.push_back(group[turn]);
            }
        }
    }
    return out;
}

// Place i gets what stood at from[i]. In place, ring by ring: a second vector of cells would be
// another 700 MiB for a million of them. `from` is used up.
void permute(std::vector<Cell>& cells, std::vector<std::size_t>& from) {
    for (std::size_t start = 0; start < from.size(); ++start) {
        if (from[start] == start) {
            continue;
        }
        Cell first = std::move(cells[start]);
        std::size_t hole = start;
        while (from[hole] != start) {
            const std::size_t next = from[hole];
            cells[hole] = std::move(cells[next]);
            from[hole] = hole;
            hole = next;
        }
        cells[hole] = std::move(first);
        from[hole] = hole;
    }
}

}  // namespace

std::string order_in_words(const Matrix& matrix, std::uint64_t seed) {
    switch (matrix.order) {
        case OrderKind::listed:
            return "as listed";
        case OrderKind::shuffled:
            return "shuffled by seed " + std::to_string(seed) + " within each model";
        case OrderKind::interleaved:
            return "shuffled by seed " + std::to_string(seed) + " within each model, then " +
                   std::string(to_string(matrix.interleave)) + " in turn";
    }
    return "";
}

void order_cells(const Matrix& matrix, std::uint64_t seed, const std::vector<std::string>& keys,
                 std::vector<Cell>& cells) {
    if (matrix.order == OrderKind::listed) {
        return;
    }
    Shuffler shuffler(seed);
    std::vector<std::size_t> from;
    from.reserve(cells.size());
    for (std::vector<std::size_t>& model : by_model(cells)) {
        shuffler.shuffle(model);
        if (matrix.order == OrderKind::interleaved) {
            model = round_robin(grouped(model, keys));
        }
        from.insert(from.end(), model.begin(), model.end());
    }
    permute(cells, from);
}

}  // namespace bitsweep
