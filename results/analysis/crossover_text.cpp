// The crossover in words and in a table.
#include <algorithm>
#include <cmath>

#include "results/analysis/crossover.h"
#include "results/analysis/number_text.h"

namespace bitsweep {
namespace {

std::string width_text(double width) {
    return fixed_text(width, 0);
}

using SizeText = std::string (*)(double);

// One end of an interval: infinite ends are outside of what was measured.
std::string end_text(double end, const std::vector<CrossoverPoint>& points,
                     double CrossoverPoint::*size, SizeText text) {
    double smallest = INFINITY, largest = 0;
    for (const CrossoverPoint& point : points) {
        smallest = std::min(smallest, point.*size);
        largest = std::max(largest, point.*size);
    }
    return end <= 0          ? "below " + text(smallest)
           : std::isinf(end) ? "above " + text(largest)
                             : text(end);
}

std::string place_text(const CrossingPlace& place, const Crossover& crossover,
                       double CrossoverPoint::*size, SizeText text) {
    const std::string value = end_text(place.value, crossover.points, size, text);
    if (std::isnan(place.low)) {
        return value;
    }
    return value + " (95 %: " + end_text(place.low, crossover.points, size, text) + " to " +
           end_text(place.high, crossover.points, size, text) + ")";
}

std::string range_text(const Crossover& crossover) {
    double low = INFINITY, high = 0, small = INFINITY, large = 0;
    for (const CrossoverPoint& point : crossover.points) {
        low = std::min(low, point.width);
        high = std::max(high, point.width);
        small = std::min(small, point.parameters);
        large = std::max(large, point.parameters);
    }
    return "widths " + width_text(low) + " to " + width_text(high) + ", " + size_text(small) +
           " to " + size_text(large) + " parameters";
}

std::string model_text(const Estimate& width) {
    const auto text = [](double value) {
        return value == 0          ? std::string("every width")
               : std::isinf(value) ? std::string("no width")
               : std::isnan(value) ? std::string("-")
                                   : width_text(value);
    };
    if (std::isnan(width.value)) {
        return "";
    }
    if (std::isnan(width.low)) {
        return text(width.value);
    }
    return text(width.value) + " [" + text(width.low) + " to " + text(width.high) + "]";
}

// Behind at the largest size; it may have been ahead at a smaller one.
std::string never_text(const Crossover& crossover) {
    std::string ahead;
    for (const CrossoverPoint& point : crossover.points) {
        if (point.speedup.low > 1) {
            ahead += (ahead.empty() ? "" : ", ") + point.model + " (" +
                     ratio_text(point.speedup.centre) + "x)";
        }
    }
    return ahead.empty() ? " never beats " + crossover.b + " in the measured range"
                         : " leads " + crossover.b + " at " + ahead +
                               " only and is behind at the largest measured size";
}

// "from 494M (435M to 508M)", "never in the measured range"
std::string brief_text(const Crossover& crossover) {
    const CrossingPlace& place = crossover.parameters;
    const auto end = [&](double value) {
        return end_text(value, crossover.points, &CrossoverPoint::parameters, size_text);
    };
    const bool mixed = std::any_of(crossover.points.begin(), crossover.points.end(),
                                   [](const CrossoverPoint& p) { return p.speedup.low > 1; });
    switch (place.verdict) {
        case CrossoverClass::always:
            return "at every measured size";
        case CrossoverClass::never:
            return mixed ? "at smaller sizes only, not at the largest"
                         : "never in the measured range";
        case CrossoverClass::within:
            return "from " + end(place.value) + " (" + end(place.low) + " to " + end(place.high) +
                   ")";
        case CrossoverClass::unresolved:
            return "not resolved";
    }
    ASSERT(false);
}

std::string percent(double share) {
    if (std::isnan(share)) {
        return "";
    }
    return fixed_text(100 * share, 0) + " %";
}

// The same verdict as in `brief_text`: by parameters every model stands for itself, by width those
// of one width are averaged, which may hide one that is behind.
std::string crossing_sentence(const Crossover& crossover) {
    const std::string head = "On " + crossover.device +
                             (crossover.setting.empty() ? "" : " (" + crossover.setting + ")") +
                             ", " + crossover.a;
    const CrossingPlace& place = crossover.parameters;
    const std::string parameters =
        place_text(place, crossover, &CrossoverPoint::parameters, size_text) + " parameters.";
    switch (place.verdict) {
        case CrossoverClass::always:
            return head + " beats " + crossover.b + " at every measured size (" +
                   range_text(crossover) + ").";
        case CrossoverClass::never:
            return head + never_text(crossover) + " (" + range_text(crossover) + ").";
        case CrossoverClass::within:
            return head + " starts to beat " + crossover.b + " at " +
                   (crossover.width.verdict == CrossoverClass::within
                        ? "width " +
                              place_text(crossover.width, crossover, &CrossoverPoint::width,
                                         width_text) +
                              ", "
                        : "") +
                   parameters;
        case CrossoverClass::unresolved:
            if (std::isnan(place.inside)) {
                return head + " against " + crossover.b + " is not resolved: one process at a " +
                       "size has no interval (by the single values it is ahead from " +
                       end_text(place.value, crossover.points, &CrossoverPoint::parameters,
                                size_text) +
                       " parameters on); measure with `repeat: 3` or more.";
            }
            return head + " against " + crossover.b + " is not resolved: in " +
                   percent(place.inside) + " of the resamples it starts to be faster inside the " +
                   "measured range, in " + percent(place.always) + " it is ahead everywhere, in " +
                   percent(place.never) + " it is behind at the largest (" + range_text(crossover) +
                   "); more repeats or more sizes would tell.";
    }
    ASSERT(false);
}

}  // namespace

std::vector<std::string> crossing_answers(const std::vector<Crossover>& crossovers) {
    constexpr std::size_t least_sizes = 3;
    std::vector<std::string> places, sentences;
    for (const Crossover& crossover : crossovers) {
        if (crossover.points.size() < least_sizes) {
            continue;
        }
        const std::string place = "On " + crossover.device +
                                  (crossover.setting.empty() ? "" : " (" + crossover.setting + ")");
        const std::string head = place + ", of " + size_text(crossover.points.front().parameters) +
                                 " to " + size_text(crossover.points.back().parameters) +
                                 " parameters, faster than " + crossover.b + ": ";
        const auto known = std::find(places.begin(), places.end(), head);
        const std::string words = crossover.a + " " + brief_text(crossover);
        if (known == places.end()) {
            places.push_back(head);
            sentences.push_back(head + words);
        } else {
            sentences[static_cast<std::size_t>(known - places.begin())] += ", " + words;
        }
    }
    for (std::string& sentence : sentences) {
        sentence += " (95 % intervals).";
    }
    return sentences;
}

std::string sentence_of(const Crossover& crossover) {
    std::string words = crossing_sentence(crossover);
    if (!crossover.alone.empty()) {
        words += " Left out, as one pair of processes has no interval:";
        for (const CrossoverPoint& point : crossover.alone) {
            words += (&point == &crossover.alone.front() ? " " : ", ") + point.model;
        }
        words += ".";
    }
    return words;
}

Finding crossover_finding(const std::vector<Crossover>& crossovers) {
    Finding finding;
    finding.title = "Crossover: from which size a method is faster";
    TableBuilder table({"device", "setting", "A", "B", "crossing width", "crossing parameters",
                        "inside", "always", "never", "width by the physical fit"});
    TableBuilder points(
        {"device", "A", "B", "model", "width", "parameters", "speed-up", "low", "high"});
    for (const Crossover& crossover : crossovers) {
        finding.sentences.push_back(sentence_of(crossover));
        table.row().text(crossover.device).text(crossover.setting);
        table.text(crossover.a).text(crossover.b);
        table.text(place_text(crossover.width, crossover, &CrossoverPoint::width, width_text));
        table.text(
            place_text(crossover.parameters, crossover, &CrossoverPoint::parameters, size_text));
        table.text(percent(crossover.parameters.inside));
        table.text(percent(crossover.parameters.always)).text(percent(crossover.parameters.never));
        table.text(model_text(crossover.model_width));
        const auto add = [&](const CrossoverPoint& point) {
            points.row().text(crossover.device).text(crossover.a).text(crossover.b);
            points.text(point.model).number(point.width).number(point.parameters, 6);
            points.number(point.speedup.centre).number(point.speedup.low);
            points.number(point.speedup.high);
        };
        std::for_each(crossover.points.begin(), crossover.points.end(), add);
        std::for_each(crossover.alone.begin(), crossover.alone.end(), add);
    }
    finding.tables.push_back({"crossings", table.take()});
    finding.tables.push_back({"speed-up at every measured size", points.take()});
    finding.notes = {
        "crossing: where the line through the measured speed-ups (logarithms) rises above 1 for "
        "the "
        "last time; 95 % over resampled pairs of processes; the verdict is that over the "
        "parameters, as over the width models of one width are averaged; `below` and `above` mean "
        "outside of what was measured, never an extrapolation",
        "physical fit: d^2 = 4 x (cost of a product, A - B) / (weights of a layer / d^2 x (time of "
        "a weight's bytes, B - A)); depth cancels. It may lie outside the measured range",
        "what moves it, by that formula: the width grows with the square root of A's extra cost "
        "per "
        "product (half of it: x 0.71) and of the bandwidth (twice: x 1.41); a batch shares the "
        "bytes among its tokens, so measure it as another setting"};
    return finding;
}

}  // namespace bitsweep
