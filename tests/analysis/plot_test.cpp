// Axes, marks and numbers of plots; drift of a run; answers as text.
#include "results/analysis/plot.h"

#include <gtest/gtest.h>

#include <cmath>

#include "results/analysis/finding.h"
#include "schemas/catalog/windows.h"
#include "tests/analysis/synthetic.h"

namespace bitsweep::testing {
namespace {

std::string labels(const Axis& axis) {
    std::string text;
    for (const auto& [value, label] : ticks_of(axis)) {
        EXPECT_GE(value, axis.low - 1e-9);
        EXPECT_LE(value, axis.high);
        text += (text.empty() ? "" : " ") + label;
    }
    return text;
}

TEST(Ticks, areRoundNumbersThatFitTheRange) {
    EXPECT_EQ(labels({"", Scale::linear, 0, 10}), "0 2 4 6 8 10");
    EXPECT_EQ(labels({"", Scale::linear, -0.3, 0.31}), "-0.3 -0.2 -0.1 0 0.1 0.2 0.3");
    EXPECT_EQ(labels({"", Scale::logarithmic, 4e5, 8e9}), "1M 10M 100M 1B");
    EXPECT_EQ(labels({"", Scale::logarithmic, 0.4, 2.1}), "0.4 0.5 0.6 0.8 1 1.5 2");
    EXPECT_EQ(labels({"", Scale::logarithmic, 5, 500}), "5 10 20 50 100 200 500");
    EXPECT_EQ(labels({"", Scale::logarithmic, 1e-7, 1}),
              "1e-07 1e-06 1e-05 0.0001 0.001 0.01 0.1 1");
}

TEST(Plot, keepsMarksInsideAndLeavesOutWhatIsNoNumber) {
    Plot plot("d", {"x", Scale::linear, 0, 1}, {"y", Scale::linear, 0, 1});
    plot.point(0.5, 0.5, NAN, NAN, {0, false}, "a & b");
    plot.point(NAN, 0.5, NAN, NAN, {0, false}, "not drawn");
    plot.point(0.5, 99, NAN, NAN, {0, true}, "at the edge");
    const std::string svg = plot.svg();
    EXPECT_NE(svg.find("<title>a &amp; b</title>"), std::string::npos);
    EXPECT_EQ(svg.find("not drawn"), std::string::npos);
    EXPECT_NE(svg.find("cy=\"14\""), std::string::npos) << svg;  // the top margin
    EXPECT_EQ(svg.find("nan"), std::string::npos);
}

TEST(Plot, putsLabelsWhereTheyTouchNothingOrLeavesThemOut) {
    Plot plot("d", {"x", Scale::linear, 0, 1}, {"y", Scale::linear, 0, 1});
    for (int i = 0; i < 40; ++i) {
        plot.label(0.5, 0.5 + 0.0001 * i, "a label that is rather long");
    }
    const std::string svg = plot.svg();
    int drawn = 0;
    for (std::size_t at = svg.find("a label"); at != std::string::npos;
         at = svg.find("a label", at + 1)) {
        ++drawn;
    }
    EXPECT_GE(drawn, 4);
    EXPECT_LE(drawn, 10);
}

TEST(Plot, labelsKeepAwayFromLinesAndRules) {
    const auto heights = [](bool crossed) {
        Plot plot("d", {"x", Scale::linear, 0, 10}, {"y", Scale::linear, 0, 10}, 400, 300);
        if (crossed) {
            plot.rule(5);
            plot.line({{0, 5.4}, {10, 5.4}}, 1);
        }
        plot.point(5, 5, NAN, NAN, {}, "p");
        plot.label(5, 5, "the label");
        const std::string svg = plot.svg();
        const std::size_t at = svg.find("small\">the label");
        return at == std::string::npos ? -1.0 : std::stod(svg.substr(svg.rfind("y=\"", at) + 3));
    };
    EXPECT_GT(heights(false), 0);
    EXPECT_GT(std::fabs(heights(true) - heights(false)), 5);
}

TEST(Plot, longTicksMoveTheAxisAndNotEachOther) {
    const auto left = [](double high) {
        Plot plot("d", {"x", Scale::linear, 0, 10}, {"y", Scale::linear, 0, high}, 400, 300);
        plot.rule(high / 2);
        const std::string svg = plot.svg();
        return std::stod(svg.substr(svg.find("x1=\"", svg.find("class=\"rule\"")) + 4));
    };
    EXPECT_EQ(left(10), 64);
    EXPECT_GT(left(0.00106), 70);
}

TEST(StackedBars, giveEveryPartItsShareOfTheWidth) {
    const std::string svg =
        stacked_bars("d", {{"one", {1, 3, NAN, 0}, "x"}}, {"a", "b", "c", "d"}, "ms");
    EXPECT_NE(svg.find("one, a: 1.00 ms"), std::string::npos);
    EXPECT_NE(svg.find("width=\"190\""), std::string::npos) << svg;
    EXPECT_NE(svg.find("width=\"570\""), std::string::npos) << svg;
    EXPECT_EQ(svg.find("one, c"), std::string::npos);
}

TEST(Drift, findsAPlantedSlopeAndNotNoise) {
    Gauss gauss(5);
    int found = 0, alarms = 0;
    for (int trial = 0; trial < 100; ++trial) {
        std::vector<double> still = gauss.samples(100, 0, 0.01, 30);
        alarms += drift_of(still).p_value < 0.001 ? 1 : 0;
        for (std::size_t i = 0; i < still.size(); ++i) {
            still[i] *= 1 - 0.08 * static_cast<double>(i) / 29;
        }
        const Drift drift = drift_of(still);
        found += drift.p_value < 0.001 && std::fabs(drift.change + 0.08) < 0.03 ? 1 : 0;
    }
    EXPECT_EQ(alarms, 0);
    EXPECT_GE(found, 99);
}

TEST(Drift, saysNothingOfFewValues) {
    const std::vector<double> few = {1, 2, 3, 4};
    EXPECT_EQ(drift_of(few).p_value, 1);
}

TEST(Finding, standsInFullInAPipeAndWithinTheWidthOnATerminal) {
    Finding finding;
    finding.title = "Title";
    finding.sentences = {std::string(30, 'a') + " " + std::string(30, 'b')};
    finding.tables.push_back(
        {"numbers", TableBuilder({"name", "value"}).row().text("x").number(1.23456).take()});
    finding.notes = {"a note"};
    const std::string pipe = to_text(finding, 0);
    EXPECT_NE(pipe.find(std::string(30, 'a') + " " + std::string(30, 'b') + "\n"),
              std::string::npos);
    EXPECT_NE(pipe.find("1.235"), std::string::npos);
    const std::string terminal = to_text(finding, 40);
    EXPECT_NE(terminal.find(std::string(30, 'a') + "\n"), std::string::npos);
    EXPECT_NE(to_markdown(finding).find("| x"), std::string::npos);
    finding.sentences.assign(25, "said");
    EXPECT_NE(to_text(finding, 0).find("... and 5 more"), std::string::npos);
    EXPECT_EQ(to_markdown(finding).find("more;"), std::string::npos);
}

}  // namespace
}  // namespace bitsweep::testing
