#include "coordinator/cli/live_results.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "results/analysis/summary.h"
#include "results/store/store.h"

namespace bitsweep {

namespace {

using Json = nlohmann::json;

std::string sql_text(const std::string& value) {
    std::string quoted = "'";
    for (const char c : value) {
        quoted += c == '\'' ? "''" : std::string(1, c);
    }
    return quoted + "'";
}

Json number(double value) {
    return std::isfinite(value) ? Json(value) : Json(nullptr);
}

Result<Json> cells_of(Store& store, const std::string& experiment) {
    const Table rows = TRY(store.query(
        "SELECT j.model, j.method || CASE WHEN j.threshold IS NULL THEN '' ELSE ' T=' || "
        "printf('%g', j.threshold) END AS label, j.gpu, j.state, count(*), min(e.id) AS first "
        "FROM experiment_jobs e JOIN jobs j ON j.id = e.job WHERE e.asked = 1 AND e.experiment = " +
        sql_text(experiment) + " GROUP BY 1, 2, 3, 4 ORDER BY first"));
    Json cells = Json::array();
    for (const auto& row : rows.rows) {
        const auto same = [&row](const Json& cell) {
            return cell["model"] == row.at(0).text && cell["method"] == row.at(1).text &&
                   cell["gpu"] == row.at(2).text;
        };
        auto found = std::find_if(cells.begin(), cells.end(), same);
        if (found == cells.end()) {
            cells.push_back({{"model", row.at(0).text},
                             {"method", row.at(1).text},
                             {"gpu", row.at(2).text},
                             {"states", Json::object()}});
            found = cells.end() - 1;
        }
        (*found)["states"][row.at(3).text] = row.at(4).integer;
    }
    return cells;
}

}  // namespace

Result<std::string> live_results(const std::filesystem::path& db, const std::string& experiment) {
    const auto store = TRY(Store::open(db, OpenMode::read_only));
    const Summary summary = TRY(summarize(*store, {experiment}));
    Json estimates = Json::array();
    for (const SummaryRow& row : summary.rows) {
        estimates.push_back({{"model", row.model},
                             {"method", row.method},
                             {"device", row.device},
                             {"decode", number(row.decode_tokens_per_s)},
                             {"low", number(row.decode_low)},
                             {"high", number(row.decode_high)},
                             {"perplexity", number(row.perplexity)}});
    }
    const Json all = {{"cells", TRY(cells_of(*store, experiment))},
                      {"answer", summary.answer},
                      {"estimates", std::move(estimates)}};
    return all.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace bitsweep
