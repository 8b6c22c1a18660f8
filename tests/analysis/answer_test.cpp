#include "results/analysis/answer.h"

#include <gtest/gtest.h>

#include <cmath>

namespace bitsweep {
namespace {

SummaryRow row(const std::string& model, const std::string& method, double mib) {
    SummaryRow r;
    r.model = model;
    r.method = method;
    r.device = "cpu";
    r.repeats = 3;
    r.weights_mib = mib;
    r.weights_ratio = 1;
    r.pairs = 3;
    r.baseline = "fp16";
    return r;
}

SummaryRow baseline(const std::string& model, double mib) {
    SummaryRow r = row(model, "fp16", mib);
    r.is_baseline = true;
    r.speedup = r.speedup_low = r.speedup_high = 1;
    return r;
}

SummaryRow compared(const std::string& method, double centre, double low, double high,
                    const std::string& model = "big", double mib = 200) {
    SummaryRow r = row(model, method, mib / 2);
    r.weights_ratio = 0.5;
    r.speedup = centre;
    r.speedup_low = low;
    r.speedup_high = high;
    return r;
}

TEST(Answer, speaksOfTheLargestModelFastestMethodFirst) {
    Summary summary;
    summary.rows = {baseline("small", 10), compared("int8", 9, 8, 10, "small", 10),
                    baseline("big", 200), compared("nf4", 0.5, 0.4, 0.6),
                    compared("int8", 1.62, 1.58, 1.66)};
    EXPECT_EQ(answer_of(summary),
              "On big, int8 decodes 1.62x as fast as fp16 (95 % 1.58-1.66, 3 repeats), nf4 "
              "0.500x (95 % 0.400-0.600, 3 repeats).");
}

TEST(Answer, saysNotResolvedWhereTheIntervalSpansOne) {
    Summary summary;
    summary.rows = {baseline("big", 200), compared("int8", 1.05, 0.97, 1.12),
                    compared("nf4", 2, 1.9, 2.1)};
    EXPECT_EQ(answer_of(summary),
              "On big, nf4 decodes 2.00x as fast as fp16 (95 % 1.90-2.10, 3 repeats); not "
              "resolved, the interval spans 1: int8 (95 % 0.970-1.12, 3 repeats).");
    summary.rows.pop_back();
    EXPECT_EQ(answer_of(summary),
              "On big, not resolved, the interval spans 1: int8 (95 % 0.970-1.12, 3 repeats).");
}

TEST(Answer, doesNotTakeOneForAnIntervalsInside) {
    Summary summary;
    summary.rows = {baseline("big", 200), compared("int8", 1.1, 1.0, 1.2)};
    EXPECT_NE(answer_of(summary).find("not resolved"), std::string::npos);
}

TEST(Answer, withOneRepeatResolvesNothingHoweverLargeTheRatio) {
    Summary summary;
    summary.rows = {baseline("big", 200), compared("int8", 5, std::nan(""), std::nan(""))};
    summary.rows[1].pairs = 1;
    EXPECT_EQ(answer_of(summary),
              "On big, not resolved, one repeat has no interval: int8 (5.00x).");
}

TEST(Answer, withoutABaselineComparesNothing) {
    Summary summary;
    summary.rows = {compared("int8", std::nan(""), std::nan(""), std::nan(""))};
    summary.rows[0].pairs = 0;
    EXPECT_EQ(answer_of(summary), "On big, not resolved: no 16-bit baseline was measured.");
    EXPECT_EQ(answer_of(Summary{}), "not resolved: no cell has a result");
}

TEST(Answer, ofABaselineAloneSaysSo) {
    Summary summary;
    summary.rows = {baseline("big", 200)};
    EXPECT_EQ(answer_of(summary), "On big, nothing was measured beside fp16.");
}

TEST(Answer, namesTheDeviceAndTheHeadWhereThereAreSeveral) {
    Summary summary;
    summary.rows = {baseline("big", 200), compared("int8", 2, 1.9, 2.1), baseline("big", 200),
                    compared("int8", 0.5, 0.4, 0.6)};
    summary.rows[2].device = summary.rows[3].device = "H100";
    summary.rows[2].head_bits = summary.rows[3].head_bits = 8;
    EXPECT_EQ(answer_of(summary),
              "On big head 16 on cpu, int8 decodes 2.00x as fast as fp16 (95 % 1.90-2.10, 3 "
              "repeats). On big head 8 on H100, int8 decodes 0.500x as fast as fp16 (95 % "
              "0.400-0.600, 3 repeats).");
}

TEST(Answer, aHeadOfItsOwnIsNamedBesideItsMethod) {
    Summary summary;
    summary.rows = {baseline("big", 200), compared("int8", 2, 1.9, 2.1)};
    summary.rows[1].head_bits = 8;
    EXPECT_EQ(answer_of(summary),
              "On big head 16, int8 head 8 decodes 2.00x as fast as fp16 (95 % 1.90-2.10, 3 "
              "repeats).");
}

}  // namespace
}  // namespace bitsweep
