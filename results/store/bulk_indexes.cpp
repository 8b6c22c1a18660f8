#include "results/store/bulk_indexes.h"

#include <utility>

#include "results/store/queries.h"

namespace bitsweep {
namespace {

// Below it, the sorting costs more than it saves.
constexpr std::int64_t fewest = 4'096;

}  // namespace

Status BulkIndexes::added(Connection& connection, std::int64_t row) {
    before_ = before_ < 0 ? row - 1 : before_;
    const std::int64_t added = row - before_;
    if (!dropped_.empty() || added < fewest || added < before_) {
        return {};
    }
    TRY(connection.exec(sql::huge_cache));
    std::vector<std::string> names;
    {
        Statement indexes = TRY(connection.prepare(sql::spec_indexes));
        while (TRY(indexes.step())) {
            names.push_back(indexes.text(0));
            dropped_.push_back(indexes.text(1));
        }
    }
    for (const std::string& name : names) {
        TRY(connection.exec(("DROP INDEX " + name).c_str()));
    }
    return {};
}

Status BulkIndexes::build(Connection& connection) {
    for (const std::string& index : std::exchange(dropped_, {})) {
        TRY(connection.exec(index.c_str()));
    }
    return {};
}

}  // namespace bitsweep
