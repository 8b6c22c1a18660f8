// A slowdown in words, and the split as a table.
#include <algorithm>
#include <cmath>
#include <set>

#include "results/analysis/latency.h"
#include "results/analysis/number_text.h"

namespace bitsweep {
namespace {

constexpr double worth_saying = 0.03;  // of the step's time

std::string us(double ns) {
    return ns < 1e7 ? significant(ns / 1e3, 3) + " us" : significant(ns / 1e6, 3) + " ms";
}

double known(double value) {
    return std::isnan(value) ? 0 : value;
}

const LatencySplit* baseline_of(const LatencyAnswer& answer, const LatencySplit& split) {
    for (const LatencySplit& other : answer.splits) {
        if (other.is_baseline && other.device == split.device && other.model == split.model) {
            return &other;
        }
    }
    return nullptr;
}

// What a part is called in a sentence; on a CPU there are no launches.
std::string noun_of(LatencyPart part, bool cpu) {
    switch (part) {
        case part_launches:
            return cpu ? "the fixed part of every product and row" : "launches";
        case part_host:
            return "the host's work between launches";
        case part_synchronise:
            return "waiting for the device";
        case part_tail:
            return "slow tokens (mean over median)";
        case part_rest:
            return "arithmetic, conversions and what is not stored";
        default:
            return std::string(name_of(part));
    }
}

std::string phrase(LatencyPart part, double difference, bool cpu) {
    const std::string amount = us(std::fabs(difference));
    if (part == part_bytes) {
        return difference < 0 ? "fewer bytes save " + amount : "more bytes cost " + amount;
    }
    const bool plural = part == part_tail || part == part_rest || (part == part_launches && !cpu);
    return noun_of(part, cpu) +
           (plural ? (difference > 0 ? " cost " : " save ")
                   : (difference > 0 ? " costs " : " saves ")) +
           amount;
}

Table table_of(const LatencyAnswer& answer) {
    std::vector<std::string> columns = {"device", "model", "method",  "step us",
                                        "low",    "high",  "x 16-bit"};
    for (std::size_t i = 0; i < latency_parts; ++i) {
        columns.push_back(std::string(name_of(static_cast<LatencyPart>(i))) + " us");
    }
    columns.emplace_back("bytes from");
    TableBuilder table(columns);
    for (const LatencySplit& split : answer.splits) {
        table.row().text(split.device).text(split.model).text(split.method);
        table.number(split.step_ns.centre / 1e3).number(split.step_ns.low / 1e3);
        table.number(split.step_ns.high / 1e3).number(split.speedup.centre, 3);
        for (const double ns : split.ns) {
            table.number(ns / 1e3, 3);
        }
        table.text(split.from_cache ? "cache" : "memory");
    }
    return table.take();
}

}  // namespace

std::string explain(const LatencySplit& split, const LatencySplit& base) {
    const double ratio = split.step_ns.centre / base.step_ns.centre;
    std::string sentence = "On " + split.model + ", " + split.device + ": " + split.method +
                           " takes " + us(split.step_ns.centre) + " per token, " +
                           ratio_text(ratio) + "x " + base.method + "'s " + us(base.step_ns.centre);
    if (split.speedup.known()) {
        sentence += " (speed-up 95 % " + ratio_text(split.speedup.low) + " to " +
                    ratio_text(split.speedup.high) + ")";
    }
    std::vector<std::pair<double, LatencyPart>> differences;
    for (std::size_t i = 0; i < latency_parts; ++i) {
        const double difference = known(split.ns[i]) - known(base.ns[i]);
        if (std::fabs(difference) > worth_saying * split.step_ns.centre) {
            differences.emplace_back(difference, static_cast<LatencyPart>(i));
        }
    }
    std::stable_sort(differences.begin(), differences.end(), [](const auto& a, const auto& b) {
        return std::fabs(a.first) > std::fabs(b.first);
    });
    std::string reasons;
    for (const auto& [difference, part] : differences) {
        reasons += (reasons.empty() ? ": " : "; ") +
                   phrase(part, difference, split.device.starts_with("cpu"));
    }
    return sentence + (reasons.empty() ? ": no part differs by more than 3 %" : reasons) + ".";
}

Finding latency_finding(const LatencyAnswer& answer, const std::string& method) {
    Finding finding;
    finding.title =
        method.empty() ? "Where a token's time goes" : "Where a token's time goes: " + method;
    std::vector<std::pair<double, std::string>> explained;  // the worst slowdown first
    for (const LatencySplit& split : answer.splits) {
        const LatencySplit* base = baseline_of(answer, split);
        const bool asked = method.empty() ? split.speedup.high < 1 : split.method == method;
        if (asked && base != nullptr && base != &split) {
            explained.emplace_back(split.speedup.centre, explain(split, *base));
        }
    }
    std::stable_sort(explained.begin(), explained.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    for (auto& [speedup, sentence] : explained) {
        finding.sentences.push_back(std::move(sentence));
    }
    if (finding.sentences.empty()) {
        finding.sentences.emplace_back(
            method.empty() ? "No method is resolved to be slower than its 16-bit baseline."
                           : "No 16-bit baseline was measured beside it, so nothing explains a "
                             "difference.");
    }
    finding.tables.push_back({"split of one decode step", table_of(answer)});
    finding.notes = {
        "bytes: bytes_per_token / read_bandwidth, the floor of this machine; outlier path: against "
        "the same method at threshold 0, paired by repeat; launches: on a CPU the fitted cost of "
        "products and rows, on a card launches and graph nodes times what each costs there; tail: "
        "mean minus "
        "median step; rest: what none of these explains, arithmetic and conversions first",
        "the host is part of every number: two machines with one kind of card differed by up to "
        "1.6x where the host takes part in every token"};
    std::set<std::string> hosts;
    for (const LatencySplit& split : answer.splits) {
        if (!split.host.empty() && hosts.insert(split.device + " on " + split.host).second) {
            finding.notes.push_back("measured: " + split.device + " on host " + split.host);
        }
    }
    finding.notes.insert(finding.notes.end(), answer.missing.begin(), answer.missing.end());
    return finding;
}

}  // namespace bitsweep
