#include "results/analysis/pareto.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

namespace bitsweep {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
// Each resample compares every pair of a front: 1,000 of them up to 140 points, and never so many
// that a front takes more than a second or two.
constexpr int most_resamples = 1000, least_resamples = 50;
constexpr std::size_t most_comparisons = 20'000'000;

int resamples_of(std::size_t points, const Resampling& how) {
    const auto affordable = static_cast<int>(
        std::min<std::size_t>(most_comparisons / (points * points), most_resamples));
    return std::min(how.resamples, std::max(least_resamples, affordable));
}

double first_known(double a, double b) {
    return std::isnan(a) ? b : a;
}

ParetoPoint point_of(const MeasuredCell& cell, const ParetoQuestion& question,
                     const Resampling& how) {
    ParetoPoint point{cell.model, cell.method, cell.head_bits};
    const ProcessSampler rate = cell.decode_rate();
    point.processes = rate.processes();
    point.rate = bootstrap_interval(rate, how);
    point.loss = cell.metric(question.loss == Loss::kl ? "kl_mean" : "bits_per_byte");
    point.bytes = first_known(cell.metric("allocated_bytes"), cell.metric("weights_bytes"));
    point.energy_mj =
        first_known(cell.metric("energy_per_token"), cell.metric("cpu_energy_per_token"));
    const bool loss_fits = !question.most_loss || point.loss <= *question.most_loss;
    const bool memory_fits = !question.most_bytes || point.bytes <= *question.most_bytes;
    point.eligible = loss_fits && memory_fits && std::isfinite(point.rate.centre);
    return point;
}

// The fixed part of "a is at least as good as b": all but speed. -1: worse, 0: equal, 1: better.
int compare_fixed(const ParetoPoint& a, const ParetoPoint& b) {
    int verdict = 0;
    const auto add = [&](double left, double right) {
        if (left > right) {
            verdict = -2;  // worse in one thing: nothing else counts
        } else if (left < right) {
            verdict = std::max(verdict, verdict == -2 ? -2 : 1);
        }
    };
    add(a.loss, b.loss);
    add(a.bytes, b.bytes);
    if (!std::isnan(a.energy_mj) && !std::isnan(b.energy_mj)) {
        add(a.energy_mj, b.energy_mj);
    }
    return verdict == -2 ? -1 : verdict;
}

struct Candidate {
    ParetoPoint point;
    ProcessSampler rate;
};

void resample(std::vector<Candidate>& candidates, const Resampling& how) {
    const std::size_t count = candidates.size();
    std::vector<std::vector<int>> fixed(count, std::vector<int>(count));
    for (std::size_t i = 0; i < count; ++i) {
        for (std::size_t j = 0; j < count; ++j) {
            fixed[i][j] = compare_fixed(candidates[j].point, candidates[i].point);
        }
    }
    const int draws = resamples_of(count, how);
    std::vector<std::vector<int>> beaten(count, std::vector<int>(count, 0));
    std::vector<int> on_front(count, 0), fastest(count, 0);
    Random random(how.seed);
    std::vector<double> rates(count);
    for (int draw = 0; draw < draws; ++draw) {
        std::size_t first = count;
        for (std::size_t i = 0; i < count; ++i) {
            rates[i] = candidates[i].rate.draw(random);
            if (candidates[i].point.eligible && (first == count || rates[i] > rates[first])) {
                first = i;
            }
        }
        fastest[first == count ? 0 : first] += first == count ? 0 : 1;
        for (std::size_t i = 0; i < count; ++i) {
            bool free = !std::isnan(candidates[i].point.loss);
            for (std::size_t j = 0; j < count; ++j) {
                const bool beats = i != j && !std::isnan(candidates[j].point.loss) &&
                                   (fixed[i][j] == 1 ? rates[j] >= rates[i]
                                                     : fixed[i][j] == 0 && rates[j] > rates[i]);
                beaten[i][j] += beats ? 1 : 0;
                free = free && !beats;
            }
            on_front[i] += free ? 1 : 0;
        }
    }
    for (std::size_t i = 0; i < count; ++i) {
        ParetoPoint& point = candidates[i].point;
        point.on_front = std::isnan(point.loss) ? nan : static_cast<double>(on_front[i]) / draws;
        point.fastest = static_cast<double>(fastest[i]) / draws;
        const auto worst = std::max_element(beaten[i].begin(), beaten[i].end());
        if (*worst * 2 > draws) {
            const ParetoPoint& by =
                candidates[static_cast<std::size_t>(worst - beaten[i].begin())].point;
            point.dominated_by = by.model == point.model ? by.method : by.model + " " + by.method;
        }
    }
}

}  // namespace

std::vector<ParetoFront> find_fronts(const Evidence& evidence, const ParetoQuestion& question,
                                     const Resampling& how) {
    std::vector<std::pair<std::string, std::string>> order;
    std::map<std::pair<std::string, std::string>, std::vector<Candidate>> groups;
    for (const MeasuredCell& cell : evidence.cells) {
        const auto key = std::pair(cell.device, question.loss == Loss::kl ? cell.model : "");
        if (groups.try_emplace(key).second) {
            order.push_back(key);
        }
        groups[key].push_back({point_of(cell, question, how), cell.decode_rate()});
    }
    std::vector<ParetoFront> fronts;
    for (const auto& key : order) {
        std::vector<Candidate>& candidates = groups[key];
        std::erase_if(candidates, [](const Candidate& c) { return c.rate.processes() == 0; });
        if (candidates.empty()) {
            continue;
        }
        resample(candidates, how);
        ParetoFront front{key.first, key.second, {}};
        for (Candidate& candidate : candidates) {
            front.points.push_back(std::move(candidate.point));
        }
        std::stable_sort(
            front.points.begin(), front.points.end(),
            [](const auto& a, const auto& b) { return a.rate.centre > b.rate.centre; });
        fronts.push_back(std::move(front));
    }
    return fronts;
}

}  // namespace bitsweep
