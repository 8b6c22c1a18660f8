#include "coordinator/server/resolve.h"

#include <algorithm>
#include <memory>
#include <unordered_map>
#include <vector>

#include "coordinator/server/pieces.h"
#include "schemas/catalog/canonical_forms.h"
#include "schemas/catalog/methods.h"
#include "schemas/codec.h"

namespace bitsweep {

namespace {

constexpr std::int64_t longest_timeout_ms = 30ll * 24 * 3600 * 1000;
constexpr int most_retries = 1'000;

bool is_digest(const std::string& text) {
    return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) {
               return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
           });
}

Error flaw(const Cell& cell, const std::string& what) {
    return make_error(ErrorCode::invalid_input, "cell " + cell.spec.model.name + " " +
                                                    cell.spec.method + " (line " +
                                                    std::to_string(cell.yaml_line) + "): " + what);
}

// The row of a method; nullptr: there is none. Cells of an experiment have few.
class MethodRows {
 public:
    const MethodRow* find(const std::string& method) {
        const auto [known, is_new] = rows_.try_emplace(method, nullptr);
        if (is_new) {
            const Result<MethodId> id = parse_method(method);
            known->second = id ? &method_row(*id) : nullptr;
        }
        return known->second;
    }

 private:
    std::unordered_map<std::string, const MethodRow*> rows_;
};

Status check_cell(const Cell& cell, const MethodRow* row) {
    const JobPolicy& policy = cell.policy;
    const CellIdentity& identity = cell.identity;
    if (cell.spec.model.name.empty() || cell.spec.gpu.empty()) {
        return flaw(cell, "a cell needs a model and a gpu");
    }
    if (row == nullptr) {
        return flaw(cell, parse_method(cell.spec.method).error().message);
    }
    if (policy.timeout.ms <= 0 || policy.timeout.ms > longest_timeout_ms) {
        return flaw(cell, "the timeout must be between 1 ms and 30 days");
    }
    if (policy.retries_crash < 0 || policy.retries_crash > most_retries ||
        policy.retries_fail < 0 || policy.retries_fail > most_retries) {
        return flaw(cell, "retries must be between 0 and 1000");
    }
    for (const std::string* digest : {&identity.weights_digest, &identity.dataset_digest}) {
        if (!digest->empty() && !is_digest(*digest)) {
            return flaw(cell, "a digest is 64 hex digits, not `" + digest->substr(0, 80) + "`");
        }
    }
    return {};
}

}  // namespace

Status check_cell(const Cell& cell) {
    return check_cell(cell, MethodRows().find(cell.spec.method));
}

Result<std::vector<scheduler::ResolvedCell>> resolve_cells(Store& store, std::vector<Cell> cells) {
    if (cells.size() > most_cells_of_a_submission) {
        return make_error(ErrorCode::invalid_input,
                          std::to_string(cells.size()) + " cells; the most is 1,000,000");
    }
    MethodRows rows;
    CanonicalForms forms;
    for (Cell& cell : cells) {
        const MethodRow* row = rows.find(cell.spec.method);
        TRY(check_cell(cell, row));
        cell.identity.spec_key = forms.key(cell.spec);
        cell.identity.numerics_revision =
            cell.spec.gpu == "cpu" ? row->numerics_cpu : row->numerics_cuda;
    }
    const std::vector<std::optional<KnownJob>> known = TRY(store.find(cells));
    std::vector<scheduler::ResolvedCell> resolved;
    resolved.reserve(cells.size());
    CellKeys keys;
    // Each cell is a share of all of them, which the last of them lets go.
    const auto all = std::make_shared<const std::vector<Cell>>(std::move(cells));
    for (std::size_t i = 0; i < all->size(); ++i) {
        const Cell& cell = (*all)[i];
        JobKey key = known[i] ? known[i]->key : keys.of(cell.identity);
        resolved.push_back({std::move(key), std::shared_ptr<const Cell>(all, &cell)});
    }
    return resolved;
}

}  // namespace bitsweep
