#include "coordinator/cli/live_results.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "coordinator/cli/view_query.h"
#include "results/analysis/labels.h"
#include "results/analysis/summary.h"
#include "results/store/store.h"
#include "schemas/catalog/windows.h"

namespace bitsweep {

namespace {

using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr std::int64_t most_rows = 2'000;
// Making estimates may take this share of a core, however large the database and however fast
// results arrive: the coordinator works, and often measures, on the same machine.
constexpr double most_load = 0.05;

Json number(double value) {
    return std::isfinite(value) ? Json(value) : Json(nullptr);
}

std::string dumped(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// All repeats of one cell on one device.
struct LiveCell {
    std::string series, device_name;
    Json json;
};

// Cells that wait have no device yet: where one kind has one name they share it.
void name_devices(Table& rows, std::size_t device, std::size_t device_name) {
    std::map<std::string, std::string> names;
    for (const auto& row : rows.rows) {
        if (!row[device_name].text.empty()) {
            names.emplace(row[device].text, row[device_name].text);
        }
    }
    for (auto& row : rows.rows) {
        if (row[device_name].text.empty()) {
            row[device_name].text = names[row[device].text];
        }
    }
}

std::size_t column_of(const Table& table, std::string_view name) {
    const auto found = std::find(table.columns.begin(), table.columns.end(), name);
    ASSERT(found != table.columns.end());
    return static_cast<std::size_t>(found - table.columns.begin());
}

Result<Table> read_jobs(Store& store, const std::string& experiment) {
    Table rows = TRY(store.query(
        std::string("SELECT ") + policy_name_column +
        ", j.series, j.model, j.weights, j.kv, j.batch, j.prompt_tokens, j.new_tokens,"
        " j.protocol, j.threads, j.seed, j.spec ->> '$.prompt' AS prompt, j.method, j.threshold,"
        " j.head, j.numerics_revision, coalesce(r.device_kind, j.gpu) AS device,"
        " coalesce(r.device_name, '') AS device_name, j.state, count(*) AS jobs, min(e.id) AS first"
        " FROM experiment_jobs e JOIN jobs j ON j.id = e.job LEFT JOIN runs r ON r.id = j.result"
        " WHERE e.asked = 1 AND e.experiment = " +
        sql_text(experiment) + " GROUP BY 2, 17, 18, 19 ORDER BY first"));
    name_devices(rows, column_of(rows, "device"), column_of(rows, "device_name"));
    return rows;
}

std::vector<LiveCell> cells_of(const Table& rows) {
    const Labels labels(rows);
    std::set<std::string> heads;
    for (std::size_t i = 0; i < rows.rows.size(); ++i) {
        heads.insert(Row(rows, i).label("head"));
    }
    std::vector<LiveCell> cells;
    std::map<std::string, std::size_t> index;
    for (std::size_t i = 0; i < rows.rows.size(); ++i) {
        const Row row(rows, i);
        const std::string key = row.label("series") + "\n" + row.label("device_name");
        const auto [place, is_new] = index.try_emplace(key, cells.size());
        if (is_new) {
            const std::string head = heads.size() > 1 ? " head " + row.label("head") : "";
            cells.push_back({row.label("series"),
                             row.label("device_name"),
                             {{"model", labels.model(row)},
                              {"method", labels.method(row) + head},
                              {"gpu", labels.device(row)},
                              {"states", Json::object()},
                              {"estimate", nullptr}}});
        }
        cells[place->second].json["states"][row.label("state")] = row.integer("jobs");
    }
    return cells;
}

Json estimates_of(const Summary& summary) {
    Json rows = Json::array();
    for (const SummaryRow& row : summary.rows) {
        rows.push_back({{"series", row.series},
                        {"device_name", row.device_name},
                        {"decode", number(row.decode_tokens_per_s)},
                        {"low", number(row.decode_low)},
                        {"high", number(row.decode_high)},
                        {"disturbed", number(row.disturbed_tokens_per_s)},
                        {"perplexity", number(row.perplexity)}});
    }
    return {{"answer", summary.answer}, {"rows", std::move(rows)}};
}

// The order in which the summary reads, then that of the experiment.
Json merged(std::vector<LiveCell> cells, const Json& estimates) {
    Json all = Json::array();
    for (const Json& row : estimates["rows"]) {
        for (LiveCell& cell : cells) {
            if (cell.series == row["series"] && cell.device_name == row["device_name"]) {
                cell.json["estimate"] = row;
                cell.json["estimate"].erase("series");
                cell.json["estimate"].erase("device_name");
                all.push_back(cell.json);
            }
        }
    }
    for (LiveCell& cell : cells) {
        if (cell.json["estimate"].is_null()) {
            all.push_back(std::move(cell.json));
        }
    }
    return all;
}

// Estimates change with results and with what is asked, with nothing else.
Result<std::string> version_of(Store& store, const std::string& experiment) {
    const Table row =
        TRY(store.query("SELECT (SELECT max(id) FROM runs) || ' ' || count(*) || ' ' || sum(asked)"
                        " FROM experiment_jobs WHERE experiment = " +
                        sql_text(experiment)));
    return row.rows.front().front().text;
}

double seconds(Clock::duration time) {
    return std::chrono::duration<double>(time).count();
}

}  // namespace

Result<std::string> LiveResults::experiment(const std::string& name) {
    const auto store = TRY(Store::open(db_, OpenMode::read_only));
    const std::lock_guard<std::mutex> lock(mutex_);
    Estimates& kept = estimates_[name];
    const std::string version = TRY(version_of(*store, name));
    const Clock::time_point start = Clock::now();
    const bool rested = seconds(start - kept.made_at) > kept.made_s / most_load;
    if (kept.json.empty() || (version != kept.version && rested)) {
        Result<Summary> summary = summarize(*store, {name});
        if (!summary) {
            estimates_.erase(name);
            return std::move(summary).error();
        }
        const Clock::time_point end = Clock::now();
        kept = {version, dumped(estimates_of(*summary)), seconds(end - start), end};
    }
    const Json estimates = Json::parse(kept.json, nullptr, false);
    const Json all = {{"answer", estimates["answer"]},
                      {"cells", merged(cells_of(TRY(read_jobs(*store, name))), estimates)}};
    return dumped(all);
}

Result<std::string> LiveResults::windows() const {
    const auto store = TRY(Store::open(db_, OpenMode::read_only));
    // The newest 2,000 runs: a device that is measured has one among them.
    const Table rows =
        TRY(store->query("SELECT w.worker, w.device, max(w.id) AS run,"
                         " max(iif(m.metric = 'sm_clock_mean', m.value, NULL)) AS sm_clock_mhz,"
                         " max(iif(m.metric = 'temperature_max', m.value, NULL)) AS temperature_c,"
                         " max(iif(m.metric = 'mean_power', m.value, NULL)) AS power_w,"
                         " max(iif(m.metric IN (" +
                         window_flags_sql() +
                         "), m.value, 0)) AS flagged"
                         " FROM (SELECT worker, device, max(id) AS id FROM runs"
                         "  WHERE id > (SELECT max(id) FROM runs) - 2000 AND outcome = 'done'"
                         "  GROUP BY worker, device) w"
                         " LEFT JOIN measurements m ON m.run = w.id AND m.sample = 0"
                         " GROUP BY w.worker, w.device"));
    return format_table(rows, "json", 0);
}

Result<std::string> LiveResults::views() const {
    const auto store = TRY(Store::open(db_, OpenMode::read_only));
    Json known = {{"views", Json::array()}, {"experiments", Json::array()}};
    for (const auto& row : TRY(store->query(views_sql)).rows) {
        known["views"].push_back({{"view", row.at(0).text}, {"about", row.at(1).text}});
    }
    for (const auto& row : TRY(store->query("SELECT name FROM experiments ORDER BY 1")).rows) {
        known["experiments"].push_back(row.at(0).text);
    }
    return dumped(known);
}

Result<std::string> LiveResults::view(const std::string& name,
                                      const std::string& experiment) const {
    const auto store = TRY(Store::open(db_, OpenMode::read_only));
    const std::string select = TRY(select_view(*store, name, experiment));
    return format_table(TRY(store->query(select + " LIMIT " + std::to_string(most_rows))), "json",
                        0);
}

}  // namespace bitsweep
