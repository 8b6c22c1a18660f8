// The fronts in words and in a table.
#include <algorithm>
#include <cmath>

#include "results/analysis/number_text.h"
#include "results/analysis/pareto.h"

namespace bitsweep {
namespace {

constexpr double bytes_per_mib = 1048576;
constexpr double sure = 0.95;

std::string unit_of(Loss loss) {
    return loss == Loss::kl ? "nat KL" : "bits per byte";
}

std::string limits_of(const ParetoQuestion& question) {
    std::string text;
    if (question.most_loss) {
        text += " of at most " + small_text(*question.most_loss) + " " + unit_of(question.loss);
    }
    if (question.most_bytes) {
        text += (text.empty() ? " in " : " that fits in ") +
                significant(*question.most_bytes / bytes_per_mib, 4) + " MiB";
    }
    return text;
}

std::string name_of(const ParetoFront& front, const ParetoPoint& point) {
    const bool named = point.head_bits == 16 || point.method.find(" head ") != std::string::npos;
    return (front.model.empty() ? point.model + " " : "") + point.method +
           (named ? "" : " head " + std::to_string(point.head_bits));
}

std::string place_of(const ParetoFront& front) {
    return (front.model.empty() ? "On " : "On " + front.model + ", ") + front.device;
}

std::string nothing_sentence(const ParetoFront& front, const ParetoQuestion& question) {
    std::string wanted;
    if (question.most_loss) {
        wanted = "has a loss of at most " + small_text(*question.most_loss) + " " +
                 unit_of(question.loss);
    }
    if (question.most_bytes) {
        wanted += (wanted.empty() ? "fits in " : " and fits in ") +
                  significant(*question.most_bytes / bytes_per_mib, 4) + " MiB";
    }
    const bool unknown = std::all_of(front.points.begin(), front.points.end(),
                                     [](const ParetoPoint& p) { return std::isnan(p.loss); });
    if (question.most_loss && unknown) {
        return "no quality was measured, so nothing is known that " + wanted + ".";
    }
    return "nothing that was measured " + (wanted.empty() ? "has a speed" : wanted) + ".";
}

// "fastest under this loss of quality that fits in this memory"
std::string fastest_sentence(const ParetoFront& front, const ParetoQuestion& question) {
    const ParetoPoint *first = nullptr, *second = nullptr;
    for (const ParetoPoint& point : front.points) {
        if (!point.eligible) {
            continue;
        }
        if (first == nullptr || point.fastest > first->fastest) {
            second = first;
            first = &point;
        } else if (second == nullptr || point.fastest > second->fastest) {
            second = &point;
        }
    }
    const std::string limits = limits_of(question);
    if (first == nullptr) {
        return place_of(front) + ": " + nothing_sentence(front, question);
    }
    const bool single =
        std::any_of(front.points.begin(), front.points.end(),
                    [](const ParetoPoint& p) { return p.eligible && p.processes < 2; });
    if (single) {
        return place_of(front) + ": by single processes, without an interval, the fastest" +
               (limits.empty() ? " of all" : limits) + " is " + name_of(front, *first) + " at " +
               significant(first->rate.centre, 3) + " token/s; measure with `repeat: 3` or more.";
    }
    const bool settled = first->fastest >= sure;
    std::string sentence =
        place_of(front) + ": " + (settled ? "the fastest" : "probably the fastest") +
        (limits.empty() ? " of all" : limits) + " is " + name_of(front, *first) + " at " +
        significant(first->rate.centre, 3) + " token/s (95 % " + significant(first->rate.low, 3) +
        " to " + significant(first->rate.high, 3) + ")";
    if (!settled && second != nullptr) {
        sentence += ", in " + fixed_text(100 * first->fastest, 0) + " % of the resamples; " +
                    name_of(front, *second) + " in " + fixed_text(100 * second->fastest, 0) + " %";
    }
    return sentence + ".";
}

std::string verdict(const ParetoPoint& point) {
    return std::isnan(point.on_front)   ? "no quality measured"
           : point.on_front >= sure     ? "on the front"
           : point.on_front <= 1 - sure ? "dominated"
                                        : "open";
}

}  // namespace

Finding pareto_finding(const std::vector<ParetoFront>& fronts, const ParetoQuestion& question) {
    Finding finding;
    finding.title = "Pareto front: speed, " + unit_of(question.loss) + ", memory, energy";
    TableBuilder table({"device", "model", "method", "head", "verdict", "token/s", "low", "high",
                        question.loss == Loss::kl ? "KL nat" : "bits per byte", "MiB", "mJ/token",
                        "on the front", "fastest within limits", "mostly dominated by"});
    for (const ParetoFront& front : fronts) {
        finding.sentences.push_back(fastest_sentence(front, question));
        for (const ParetoPoint& point : front.points) {
            table.row().text(front.device).text(point.model).text(point.method);
            table.count(point.head_bits).text(verdict(point)).number(point.rate.centre);
            table.number(point.rate.low).number(point.rate.high).number(point.loss, 3);
            table.number(point.bytes / bytes_per_mib).number(point.energy_mj, 3);
            table.number(point.on_front, 3);
            table.number(point.eligible ? point.fastest : std::nan(""), 3);
            table.text(point.dominated_by);
        }
    }
    if (fronts.empty()) {
        finding.sentences.emplace_back("Nothing was measured.");
    }
    finding.tables.push_back({"points", table.take()});
    finding.notes = {
        "on the front: share of up to 1,000 resamples (processes, then samples) in which nothing "
        "is at "
        "least as good in all and better in one of speed, loss, memory and, where both have it, "
        "energy; from 0.95 on `on the front`, up to 0.05 `dominated`, between them `open`",
        "memory: all that the engine allocates (weights, KV cache, activations, workspace), else "
        "the weights",
        question.loss == Loss::kl
            ? "loss: KL divergence from the same model at fp32, a front for each model; "
              "--loss bits-per-byte puts models of different tokenizers on one front"
            : "loss: bits per byte of the scored text, which does not depend on the tokenizer"};
    return finding;
}

}  // namespace bitsweep
