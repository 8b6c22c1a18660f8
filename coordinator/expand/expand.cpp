#include "coordinator/expand/expand.h"

#include <algorithm>
#include <array>
#include <map>
#include <unordered_map>
#include <utility>

#include "coordinator/expand/cell_facts.h"
#include "coordinator/expand/draft.h"
#include "coordinator/expand/text.h"
#include "schemas/catalog/canonical_forms.h"
#include "schemas/catalog/methods.h"
#include "schemas/digest_index.h"

namespace bitsweep {
namespace {

using expand_text::error_at;

Draft base_draft(const Matrix& matrix) {
    Draft draft;
    for (const FieldValue& value : built_in_values()) {
        draft[value.field] = &value.value;
    }
    for (const FieldValue& value : matrix.defaults) {
        draft[value.field] = &value.value;
    }
    return draft;
}

Error too_many(const Matrix& matrix, const std::string& count) {
    return error_at(matrix.file, matrix.matrix_at,
                    "this matrix makes " + count + " cells; the limit is " +
                        std::to_string(max_cells) +
                        ": shorten an axis, or make two experiments of it");
}

// An axis of one value is a setting of the whole experiment: added cells have it too.
void take_single_values(const Matrix& matrix, Draft& draft) {
    for (const AxisGroup& group : matrix.groups) {
        for (const Axis& axis : group.axes) {
            if (axis.is_plain() && axis.values.size() == 1) {
                draft[axis.field] = &axis.values[0];
            }
        }
    }
}

// The draft that an inclusion adds its cells on top of.
Draft draft_of(const Matrix& matrix, const Draft& base, const Include& include) {
    Draft draft = base;
    take_single_values(matrix, draft);
    for (const FieldValue& said : include.values) {
        draft[said.field] = &said.value;
    }
    return draft;
}

// Whether a value that the inclusion says stands in no place of its axis: then it fits no cell and
// adds its own. Others may still turn out to add one, when all that they fit is excluded.
bool surely_adds(const Matrix& matrix, const Include& include) {
    const auto is_foreign = [&](const Axis& axis) {
        const auto said = std::ranges::find(include.values, axis.field, &FieldValue::field);
        return said != include.values.end() && !may_take(axis, said->value.key);
    };
    return matrix.groups.empty() || std::ranges::any_of(matrix.groups, [&](const AxisGroup& group) {
               return std::ranges::any_of(group.axes, is_foreign);
           });
}

// How many combinations there are, before anything is allocated for cells.
Result<std::size_t> check_count(const Matrix& matrix, const Draft& base) {
    constexpr auto limit = static_cast<double>(max_cells);
    double count = 0;
    if (!matrix.groups.empty() || matrix.includes.empty()) {
        count = TRY(count_combinations(matrix, all_groups(matrix), base, limit));
    }
    for (const Include& include : matrix.includes) {
        if (count <= limit && surely_adds(matrix, include)) {
            count += TRY(count_combinations(matrix, groups_left_by(matrix, include),
                                            draft_of(matrix, base, include), limit));
        }
    }
    if (count <= limit) {
        return static_cast<std::size_t>(count);
    }
    return too_many(matrix, expand_text::number_text(count));
}

// Collects cells, merges equal ones, counts axes.
class Collector {
 public:
    // `count`: at least of the product; inclusions may add to it.
    Collector(const Matrix& matrix, const FateObserver& observer, std::size_t count)
        : matrix_(matrix), derived_(matrix), observer_(observer), keys_(count) {
        cells_.reserve(count);
        for (const AxisGroup& group : matrix.groups) {
            for (const Axis& axis : group.axes) {
                axis_fields_.push_back(axis.field);
            }
        }
    }

    // Through `where` and the merging of equal cells.
    Status add(const Draft& draft) {
        std::string left;
        if (const Where* where = TRY(condition_failed_by(matrix_, draft, notes_, left))) {
            notes_.count("removed by `where` in " + expand_text::line_of(where->at));
            tell({CellFate::Kind::filtered, draft, where->at, where->expression.text,
                  values_in_words(where->expression, CellFacts(draft).lookup())});
            return {};
        }
        const JobSpec& spec = *TRY(specs_.of(draft));
        TRY(check_one_path(spec.model, *draft[Field::model]));
        std::string key = forms_.key(spec);
        const auto key_at = [this](std::uint32_t place) -> std::string_view {
            return cells_[place].identity.spec_key;
        };
        if (keys_.add(key, static_cast<std::uint32_t>(cells_.size()), key_at)) {
            notes_.count("merged: equal to another cell once unread fields are dropped");
            tell({CellFate::Kind::merged, draft, draft.from, "", ""});
            return {};
        }
        if (static_cast<std::int64_t>(cells_.size()) >= max_cells) {
            return too_many(matrix_, "more than " + std::to_string(max_cells));
        }
        const MethodRow& row = *draft[Field::method]->method;
        Cell& cell = cells_.emplace_back();
        cell.spec = spec;
        cell.identity.spec_key = std::move(key);
        cell.identity.numerics_revision = spec.gpu == "cpu" ? row.numerics_cpu : row.numerics_cuda;
        cell.policy = matrix_.policy;
        cell.yaml_line = draft.from.line;
        cell.card_condition = left.empty() ? std::nullopt : std::optional(left);
        if (matrix_.order == OrderKind::interleaved) {
            const Value* value = draft[matrix_.interleave];
            interleave_keys_.push_back(matrix_.interleave == Field::repeat
                                           ? std::to_string(draft.repeat)
                                       : value != nullptr ? value->key
                                                          : "");
        }
        count_axes(draft);
        tell({CellFate::Kind::kept, draft, draft.from, std::move(left), ""});
        return {};
    }

    void tell(const CellFate& fate) const {
        if (observer_) {
            observer_(fate);
        }
    }

    DerivedValues& derived() { return derived_; }
    Notes& notes() { return notes_; }
    std::vector<Cell>& cells() { return cells_; }
    const std::vector<std::string>& interleave_keys() const { return interleave_keys_; }

    void describe_axes(Expansion& out) const {
        const auto add = [&](Field field) {
            const AxisCount& count = counts_[static_cast<std::size_t>(field)];
            out.axes.emplace_back(to_string(field), static_cast<std::int64_t>(count.cells.size()));
            out.axis_values.push_back(count.cells);
        };
        for (const AxisGroup& group : matrix_.groups) {
            for (const Axis& axis : group.axes) {
                add(axis.field);
            }
        }
        if (!counts_[static_cast<std::size_t>(Field::repeat)].cells.empty()) {
            add(Field::repeat);
        }
    }

 private:
    // The path is no part of a key: two folders under one name would silently become one model.
    Status check_one_path(const ModelRef& model, const Value& said) {
        if (&said == checked_) {
            return {};
        }
        const std::string name = expand_text::lower_case(model.name);
        const auto [found, added] = paths_.try_emplace(name, model.path);
        if (added || found->second == model.path) {
            checked_ = &said;
            return {};
        }
        const auto shown = [](const std::string& path) {
            return path.empty() ? "its name" : "path `" + expand_text::shown(path) + "`";
        };
        return error_at(matrix_.file, said.at,
                        "two models are called `" + expand_text::shown(model.name) + "` (by " +
                            shown(found->second) + " and by " + shown(model.path) +
                            "): give one of them another `name`");
    }

    // The values of one field that reached a cell. Found by address first: a matrix has few values
    // and many cells.
    struct AxisCount {
        std::vector<std::pair<std::string, std::int64_t>> cells;
        std::unordered_map<const Value*, std::size_t> by_address;
        std::unordered_map<std::string, std::size_t> by_key;
        const Value* latest = nullptr;  // of a slow axis the next cell has the same
        std::size_t latest_index = 0;

        std::size_t index_of(const std::string& key) {
            const auto [found, added] = by_key.try_emplace(key, cells.size());
            if (added) {
                cells.emplace_back(key, 0);
            }
            return found->second;
        }
    };

    void count_axes(const Draft& draft) {
        for (const Field field : axis_fields_) {
            const Value* value = draft[field];
            AxisCount& count = counts_[static_cast<std::size_t>(field)];
            if (value == nullptr) {
                continue;
            }
            if (value != count.latest) {
                const auto [found, added] = count.by_address.try_emplace(value, 0);
                if (added) {
                    found->second = count.index_of(value->key);
                }
                count.latest = value;
                count.latest_index = found->second;
            }
            ++count.cells[count.latest_index].second;
        }
        AxisCount& repeats = counts_[static_cast<std::size_t>(Field::repeat)];
        const auto repeat = static_cast<std::size_t>(draft.repeat);
        while (repeats.cells.size() <= repeat) {
            repeats.cells.emplace_back(std::to_string(repeats.cells.size()), 0);
        }
        ++repeats.cells[repeat].second;
    }

    const Matrix& matrix_;
    DerivedValues derived_;
    const FateObserver& observer_;
    Notes notes_;
    std::vector<Cell> cells_;
    std::vector<std::string> interleave_keys_;
    Specs specs_{matrix_, notes_};
    CanonicalForms forms_;
    DigestIndex keys_;
    std::map<std::string, std::string> paths_;  // model's name in lower case -> path
    const Value* checked_ = nullptr;            // the model whose path was looked at last
    std::vector<Field> axis_fields_;
    std::array<AxisCount, field_count> counts_;
};

At origin_of(const Draft& draft, const Matrix& matrix) {
    const Value* method = draft[Field::method];
    return method != nullptr && method->at.line > 0 ? method->at : matrix.matrix_at;
}

// The product, thinned by exclude and extended by include.
Status add_product(const Matrix& matrix, const Draft& base, Collector& out,
                   std::vector<bool>& included) {
    std::vector<bool> excluded(matrix.excludes.size(), false);
    std::int64_t removed = 0;
    const Visit derive = [&](Draft& draft) { return out.derived().apply(draft); };
    TRY(for_each_combination(matrix, all_groups(matrix), base, derive, [&](Draft& draft) -> Status {
        drop_unread(draft, out.notes());
        draft.from = origin_of(draft, matrix);
        if (const Exclude* rule = TRY(exclusion_of(matrix, draft, excluded))) {
            ++removed;
            out.tell({CellFate::Kind::excluded, draft, rule->at, "", ""});
            return {};
        }
        extend_by_includes(matrix, draft, included);
        drop_unread(draft, out.notes());
        draft.from = origin_of(draft, matrix);  // an inclusion may bring the method
        return out.add(draft);
    }));
    if (removed > 0) {
        out.notes().count("excluded", removed);
    }
    for (std::size_t i = 0; i < excluded.size(); ++i) {
        if (!excluded[i]) {
            out.notes().count("the exclusion in " + expand_text::line_of(matrix.excludes[i].at) +
                                  " matches no cell",
                              0);
        }
    }
    return {};
}

// Inclusions that fit no cell of the matrix add one of their own.
Status add_included(const Matrix& matrix, const Draft& base, Collector& out,
                    const std::vector<bool>& included) {
    for (std::size_t i = 0; i < matrix.includes.size(); ++i) {
        if (included[i]) {
            continue;
        }
        const Include& include = matrix.includes[i];
        const Draft draft = draft_of(matrix, base, include);
        const auto groups = groups_left_by(matrix, include);
        const Visit derive = [&](Draft& one) { return out.derived().apply(one, include.values); };
        TRY(for_each_combination(matrix, groups, draft, derive, [&](Draft& one) -> Status {
            one.from = include.at;
            one.added = true;
            drop_unread(one, out.notes());
            return out.add(one);
        }));
    }
    return {};
}

void add_last_notes(const Matrix& matrix, std::int64_t cells, Notes& notes) {
    if (matrix.jobs && *matrix.jobs != cells && !matrix.overridden) {
        notes.count("the file says jobs: " + std::to_string(*matrix.jobs) + ", but it makes " +
                        std::to_string(cells) + " cells",
                    0);
    }
}

}  // namespace

std::size_t Notes::count(const std::string& what, std::int64_t cells) {
    const auto [found, added] = index_.try_emplace(what, notes_.size());
    if (added) {
        notes_.push_back({what, 0});
    }
    notes_[found->second].cells += cells;
    return found->second;
}

Result<Expansion> expand(const Matrix& matrix) {
    Expansion expansion = TRY(expand_and_tell(matrix, {}));
    if (expansion.cells.empty()) {
        return error_at(matrix.file, matrix.matrix_at,
                        "no cell is left: `exclude` and `where` remove them all");
    }
    return expansion;
}

Result<Expansion> expand_and_tell(const Matrix& matrix, const FateObserver& observer) {
    const Draft base = base_draft(matrix);
    const std::size_t count = TRY(check_count(matrix, base));
    Collector collector(matrix, observer, count);
    std::vector<bool> included(matrix.includes.size(), false);
    // A matrix of inclusions only has no product, not one of everything at its default.
    if (!matrix.groups.empty() || matrix.includes.empty()) {
        TRY(add_product(matrix, base, collector, included));
    }
    TRY(add_included(matrix, base, collector, included));
    const auto cells = static_cast<std::int64_t>(collector.cells().size());
    add_last_notes(matrix, cells, collector.notes());

    Expansion out;
    out.experiment = ExperimentName{matrix.experiment};
    out.question = matrix.question;
    out.hypothesis = matrix.hypothesis;
    out.cost = matrix.cost;
    out.bases = matrix.bases;
    out.max_fails = matrix.max_fails;
    out.tags.insert(matrix.tags.begin(), matrix.tags.end());
    collector.describe_axes(out);
    out.notes = collector.notes().take();
    const auto seed = matrix.order_seed.value_or(
        static_cast<std::uint64_t>(std::get<std::int64_t>(base[Field::seed]->data)));
    out.order = order_in_words(matrix, seed);
    out.cells = std::move(collector.cells());
    order_cells(matrix, seed, collector.interleave_keys(), out.cells);
    return out;
}

Result<Expansion> expand_yaml(const ExperimentText& text) {
    const Matrix matrix = TRY(parse_matrix(text));
    return expand(matrix);
}

Result<Expansion> expand_yaml(std::string_view yaml, const std::string& file,
                              const std::vector<std::pair<std::string, std::string>>& overrides) {
    const Matrix matrix = TRY(parse_matrix(yaml, file, overrides));
    return expand(matrix);
}

}  // namespace bitsweep
