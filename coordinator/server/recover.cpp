#include "coordinator/server/recover.h"

#include <unordered_map>

#include "coordinator/server/convert.h"

namespace bitsweep {

namespace {

using Bindings = std::map<std::string, std::string>;

Status read_bindings(Store& store, const std::string& kind, Bindings& bindings) {
    const Table table =
        TRY(store.query("SELECT name, digest FROM bindings WHERE kind = '" + kind + "'"));
    for (const auto& row : table.rows) {
        bindings[row.at(0).text] = row.at(1).text;
    }
    return {};
}

// Why attempts were done again, from the event log: job key -> (why -> count).
Result<std::unordered_map<std::string, std::map<std::string, std::int64_t>>> read_retries(
    Store& store) {
    const Table table = TRY(store.query(
        "SELECT json_extract(json, '$.key'), json_extract(json, '$.text'), count(*) FROM events "
        "WHERE kind = 'retry' GROUP BY 1, 2"));
    std::unordered_map<std::string, std::map<std::string, std::int64_t>> retries;
    for (const auto& row : table.rows) {
        retries[row.at(0).text][row.at(1).text] = row.at(2).integer;
    }
    return retries;
}

}  // namespace

Result<scheduler::Snapshot> recover(Store& store) {
    scheduler::Snapshot snapshot;
    for (const StoredJob& stored : TRY(store.jobs(ExperimentName{}))) {
        snapshot.jobs.push_back(TRY(from_stored(stored)));
    }
    TRY(read_bindings(store, "model", snapshot.bound_models));
    TRY(read_bindings(store, "text", snapshot.bound_texts));
    const auto retries = TRY(read_retries(store));
    for (StoredExperiment& stored : TRY(store.experiments())) {
        scheduler::Snapshot::Sweep sweep;
        sweep.name = stored.name;
        sweep.templates = std::move(stored.templates);
        for (const StoredJob& member : TRY(store.jobs(stored.name))) {
            sweep.jobs.push_back(member.key);
            const auto known = retries.find(member.key.value);
            if (known != retries.end()) {
                for (const auto& [why, count] : known->second) {
                    sweep.retries[why] += count;
                }
            }
        }
        snapshot.experiments.push_back(std::move(sweep));
    }
    return snapshot;
}

}  // namespace bitsweep
