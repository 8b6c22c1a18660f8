#include "coordinator/cli/plan_time.h"

#include <array>
#include <cmath>
#include <cstdio>
#include <map>
#include <set>
#include <string_view>
#include <unordered_map>

#include "coordinator/scheduler/placement.h"
#include "schemas/catalog/shapes.h"

namespace bitsweep {
namespace {

struct Mean {
    double sum = 0;
    double count = 0;
    void add(double value, double weight) {
        sum += value * weight;
        count += weight;
    }
    bool known() const { return count > 0; }
    double value() const { return sum / count; }
};

// Closest first.
enum Basis { same_model_and_method, same_model, by_parameters, none };
constexpr std::array<const char*, 3> basis_words = {"as the same model and method took",
                                                    "as other methods of the model took",
                                                    "scaled by parameters from other models"};

// Seconds per job of one kind of device under one protocol. New tokens and batch are taken as they
// come: an estimate, and it says what it is from.
class History {
 public:
    static Result<History> read(Store& store) {
        // Whole jobs, loading included: that is what a device is busy with.
        // Summed up by what jobs share first, which sorts by a number instead of five texts.
        const Table table = TRY(
            store.query("SELECT t.kind, t.name, p.model, p.method, p.protocol,"
                        " SUM(t.ms) / 1000.0 / SUM(t.jobs), SUM(t.jobs) FROM"
                        " (SELECT c.shared AS shared, r.device_kind AS kind, r.device_name AS name,"
                        "  SUM(r.finished_unix_ms - r.started_unix_ms) AS ms, COUNT(*) AS jobs"
                        "  FROM runs r CROSS JOIN job_states s ON s.id = r.job AND s.result = r.id"
                        "  CROSS JOIN job_specs c ON c.id = s.id GROUP BY 1, 2, 3) t"
                        " JOIN shared_specs p ON p.id = t.shared GROUP BY 1, 2, 3, 4, 5"));
        History history;
        for (const auto& row : table.rows) {
            DeviceInfo device;
            device.kind = row[0].text;
            device.name = row[1].text;
            history.add(device, row[2].text, row[3].text, row[4].text, row[5].real,
                        static_cast<double>(row[6].integer));
        }
        return history;
    }

    const std::set<std::string>& kinds() const { return kinds_; }

    // The closest basis for this cell on a kind of device, and its seconds.
    std::pair<Basis, double> seconds(const JobSpec& spec, const std::string& kind) const {
        const std::string protocol(to_string(spec.protocol));
        std::array<Mean, 3> means;
        const ModelShape* shape = find_shape(spec.model.name);
        for (const Row& row : rows_) {
            if (row.protocol != protocol || !scheduler::kind_matches(kind, row.device)) {
                continue;
            }
            const bool model = scheduler::lower(row.model) == scheduler::lower(spec.model.name);
            if (model && row.method == spec.method) {
                means[same_model_and_method].add(row.seconds, row.jobs);
            }
            if (model) {
                means[same_model].add(row.seconds, row.jobs);
            } else if (const ModelShape* other = find_shape(row.model);
                       other != nullptr && shape != nullptr) {
                const double ratio =
                    static_cast<double>(shape->parameters) / static_cast<double>(other->parameters);
                // Start-up does not shrink with the model.
                means[by_parameters].add(row.seconds * std::max(1.0, ratio), row.jobs);
            }
        }
        for (const Basis basis : {same_model_and_method, same_model, by_parameters}) {
            if (means[basis].known()) {
                return {basis, means[basis].value()};
            }
        }
        return {none, 0};
    }

 private:
    struct Row {
        DeviceInfo device;
        std::string model;
        std::string method;
        std::string protocol;
        double seconds = 0;
        double jobs = 0;
    };

    void add(const DeviceInfo& device, std::string model, std::string method, std::string protocol,
             double seconds, double jobs) {
        kinds_.insert(device.kind);
        rows_.push_back(
            {device, std::move(model), std::move(method), std::move(protocol), seconds, jobs});
    }

    std::vector<Row> rows_;
    std::set<std::string> kinds_;
};

// What an estimate depends on; the texts are those of cells and kinds.
struct Asked {
    std::string_view kind;
    std::string_view model;
    std::string_view method;
    Protocol protocol = Protocol::standard;
    bool operator==(const Asked&) const = default;
};
struct AskedHash {
    std::size_t operator()(const Asked& asked) const {
        const std::hash<std::string_view> hash;
        return (hash(asked.kind) * 31 + hash(asked.model)) * 31 + hash(asked.method);
    }
};

bool will_run(const PlannedCell& cell) {
    return cell.state == "new" || cell.state == "waiting" || cell.state == "running";
}

std::string basis_in_words(const std::array<std::int64_t, 4>& counts) {
    std::string out;
    for (std::size_t i = 0; i < basis_words.size(); ++i) {
        if (counts[i] > 0) {
            out += (out.empty() ? "" : ", ") + std::to_string(counts[i]) + " " + basis_words[i];
        }
    }
    if (counts[none] > 0) {
        out += (out.empty() ? "" : ", ") + std::to_string(counts[none]) +
               " unlike anything measured here";
    }
    return out;
}

}  // namespace

Result<std::vector<TimeEstimate>> estimate_times(const std::vector<PlannedCell>& cells,
                                                 Store* store) {
    const History history = store != nullptr ? TRY(History::read(*store)) : History();
    using Counts = std::pair<TimeEstimate, std::array<std::int64_t, 4>>;
    std::map<std::string, Counts> kinds;
    struct Known {
        Basis basis = none;
        double seconds = 0;
        Counts* counts = nullptr;
    };
    std::unordered_map<Asked, Known, AskedHash> known;  // many cells ask the same
    const auto count = [&](const JobSpec& spec, const std::string& kind) {
        const auto [found, added] =
            known.try_emplace({kind, spec.model.name, spec.method, spec.protocol});
        Known& answer = found->second;
        if (added) {
            const auto [basis, seconds] = history.seconds(spec, kind);
            answer = {basis, seconds, &kinds[kind]};
        }
        auto& [estimate, counts] = *answer.counts;
        ++estimate.cells;
        ++counts[answer.basis];
        estimate.unknown += answer.basis == none ? 1 : 0;
        estimate.seconds += answer.seconds;
    };
    const std::string any = "any";
    for (const PlannedCell& one : cells) {
        const JobSpec& spec = one.cell.spec;
        if (!will_run(one)) {
            continue;
        }
        if (spec.gpu != "*") {
            count(spec, spec.gpu);
        } else if (history.kinds().empty()) {
            count(spec, any);
        }
        // A template becomes a cell of each kind that attaches: likely those that did before.
        for (const std::string& kind : history.kinds()) {
            if (spec.gpu == "*") {
                count(spec, kind);
            }
        }
    }
    std::vector<TimeEstimate> out;
    for (auto& [kind, entry] : kinds) {
        entry.first.kind = kind;
        entry.first.basis = basis_in_words(entry.second);
        out.push_back(std::move(entry.first));
    }
    return out;
}

std::string duration_in_words(double seconds) {
    const auto whole = static_cast<long long>(std::llround(seconds));
    char text[64];
    if (seconds < 1) {
        return "less than a second";
    }
    if (whole < 60) {
        std::snprintf(text, sizeof text, "%lld s", whole);
    } else if (whole < 3600) {
        std::snprintf(text, sizeof text, "%lld min %lld s", whole / 60, whole % 60);
    } else if (whole < 86'400) {
        std::snprintf(text, sizeof text, "%lld h %lld min", whole / 3600, whole % 3600 / 60);
    } else {
        std::snprintf(text, sizeof text, "%lld days %lld h", whole / 86'400, whole % 86'400 / 3600);
    }
    return text;
}

}  // namespace bitsweep
