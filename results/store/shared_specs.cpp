#include "results/store/shared_specs.h"

#include "results/store/queries.h"
#include "schemas/codec.h"

namespace bitsweep {
namespace {

// Models x methods x thresholds of an experiment are dozens. Where every cell is of its own kind
// nothing is shared, and this must not grow with them.
constexpr std::size_t most_known = 4'096;

}  // namespace

Result<std::int64_t> SharedSpecs::row_of(Connection& connection, const Cell& cell,
                                         const StoredKeys& keys, const StoredForms& forms) {
    const CellIdentity& identity = cell.identity;
    const auto known = by_serial_.find(keys.serial);
    if (known != by_serial_.end() && known->second.revision == identity.numerics_revision &&
        known->second.weights_digest == identity.weights_digest &&
        known->second.dataset_digest == identity.dataset_digest) {
        return known->second.row;
    }
    if (by_text_.size() >= most_known || by_serial_.size() >= most_known) {
        by_text_.clear();
        by_serial_.clear();
    }
    const std::string spec = to_marked_json(cell.spec);
    const std::string canonical = forms.marked();
    std::string text = spec + "\n" + canonical + "\n" + identity.weights_digest + "\n" +
                       identity.dataset_digest + "\n" + std::to_string(identity.numerics_revision);
    const auto [entry, is_new] = by_text_.try_emplace(std::move(text), 0);
    if (is_new) {
        entry->second = TRY(add(connection, cell, spec, canonical));
    }
    by_serial_[keys.serial] = {identity.weights_digest, identity.dataset_digest,
                               identity.numerics_revision, entry->second};
    return entry->second;
}

Result<std::int64_t> SharedSpecs::add(Connection& connection, const Cell& cell,
                                      const std::string& spec, const std::string& canonical) {
    const JobSpec& shared = cell.spec;
    const CellIdentity& identity = cell.identity;
    TRY(TRY(connection.cached(sql::put_shared))
            ->execute(shared.model.name, to_string(shared.model.weights), shared.method,
                      shared.threshold, shared.head_bits, shared.kv, shared.gpu,
                      to_string(shared.protocol), shared.quality.text, identity.weights_digest,
                      identity.dataset_digest, identity.numerics_revision, spec, canonical));
    return connection.last_rowid();
}

}  // namespace bitsweep
