// The median of a resample, drawn as one number instead of as a resample.
//
// A resample of n values draws n of them with replacement; its median is an order statistic, whose
// distribution over the sorted values is known exactly (Efron, "Bootstrap methods: another look at
// the jackknife", Annals of Statistics 7(1), 1979, section 3; Maritz and Jarrett, JASA 73, 1978).
// A table of it, made once, gives a draw in constant time (Walker's aliases, ACM TOMS 3(3), 1977)
// and the mean and variance over all resamples without any draw.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "results/analysis/random.h"

namespace bitsweep {

// The logarithm of the median of a resample of positive, finite values; of none: always 0.
class MedianDraws {
 public:
    explicit MedianDraws(std::vector<double> values);

    double centre() const { return centre_; }  // logarithm of the median of the values themselves
    // Over all resamples. What is less likely than 1e-15 is left out.
    double mean() const { return mean_; }
    double variance() const { return variance_; }
    double draw(Random& random) const {
        if (table_.size() == 1) {
            return table_.front().value;
        }
        const auto [index, part] = random.index_and_part(table_.size());
        const Entry& entry = table_[index];
        return part < entry.own ? entry.value : table_[entry.other].value;
    }

 private:
    struct Entry {
        double value = 0, own = 1;  // its own share of its place in the table; the rest is other's
        std::uint32_t other = 0;
    };
    void add_odd(std::span<const double> sorted);
    void add_even(std::span<const double> sorted);
    void add(double median, double probability);
    void make_aliases();

    std::vector<Entry> table_;  // `own` holds the probability until make_aliases()
    double centre_ = 0, mean_ = 0, variance_ = 0;
};

}  // namespace bitsweep
