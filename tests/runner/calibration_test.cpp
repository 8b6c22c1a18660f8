// Calibrations by content: what names them, what is kept, which tokens they read.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "tests/runner/support.h"
#include "tests/temp_folder.h"
#include "worker/runner/calibrated_model.h"

namespace bitsweep {
namespace {

namespace fs = std::filesystem;

class CalibrationFolder : public ::testing::Test {
 protected:
    TempFolder folder_;
};

Calibration some_calibration() {
    Calibration calibration;
    calibration.weights["a.weight"] = {.columns = {1, 2},
                                       .rows = {0.5f},
                                       .clip = {3},
                                       .codes = {7, 9},
                                       .grid = {0.25f},
                                       .grid_width = 1,
                                       .group = 2,
                                       .offset = 8};
    calibration.vectors["norm.weight"] = {1, 2, 3};
    calibration.time_ns = 2'500'000'000;
    calibration.peak_bytes = 4096;
    return calibration;
}

TEST_F(CalibrationFolder, a_kept_calibration_reads_back_as_it_was) {
    const CalibrationStore store(folder_);
    EXPECT_EQ(ErrorCode::not_found, store.read("0123").error().code);
    const Calibration calibration = some_calibration();
    ASSERT_TRUE(store.write("0123", calibration).ok());
    const auto read = store.read("0123");
    ASSERT_TRUE(read.ok()) << read.error().message;
    const CalibratedWeight& weight = read->weights.at("a.weight");
    const CalibratedWeight& wanted = calibration.weights.at("a.weight");
    EXPECT_EQ(wanted.columns, weight.columns);
    EXPECT_EQ(wanted.rows, weight.rows);
    EXPECT_EQ(wanted.clip, weight.clip);
    EXPECT_EQ(wanted.codes, weight.codes);
    EXPECT_EQ(wanted.grid, weight.grid);
    EXPECT_EQ(1, weight.grid_width);
    EXPECT_EQ(2, weight.group);
    EXPECT_EQ(8, weight.offset);
    EXPECT_EQ(calibration.vectors, read->vectors);
    EXPECT_NEAR(2.5e9, static_cast<double>(read->time_ns), 1e3);
    EXPECT_EQ(4096u, read->peak_bytes);
}

TEST_F(CalibrationFolder, a_damaged_file_is_corrupt_whatever_byte_is_lost) {
    const CalibrationStore store(folder_);
    ASSERT_TRUE(store.write("0123", some_calibration()).ok());
    const fs::path file = folder_ / "0123.safetensors";
    const auto size = fs::file_size(file);
    for (const std::uintmax_t left : {std::uintmax_t{0}, std::uintmax_t{7}, size / 2, size - 1}) {
        fs::resize_file(file, left);
        EXPECT_EQ(ErrorCode::corrupt, store.read("0123").error().code) << left;
    }
}

TEST(CalibrationKey, changes_with_everything_that_changes_the_numbers) {
    const CalibrationIdentity identity{"model", "text", {}};
    const CalibrationOptions options{.method = *parse_method("gptq-int4-g64")};
    std::set<std::string> keys = {calibration_key(identity, options)};
    CalibrationIdentity other = identity;
    other.weights_digest = "model2";
    keys.insert(calibration_key(other, options));
    other = identity;
    other.text_digest = "text2";
    keys.insert(calibration_key(other, options));
    for (const CalibrationSpec& slice :
         {CalibrationSpec{.offset = 1}, CalibrationSpec{.tokens = 1}, CalibrationSpec{.window = 1},
          CalibrationSpec{.seed = 1}}) {
        keys.insert(calibration_key({"model", "text", slice}, options));
    }
    CalibrationOptions more = options;
    more.alpha = 0.25;
    keys.insert(calibration_key(identity, more));
    more = options;
    more.method = *parse_method("gptq-int3-g64");
    keys.insert(calibration_key(identity, more));
    EXPECT_EQ(9u, keys.size());
    more = options;
    more.threads = 7;
    EXPECT_TRUE(keys.contains(calibration_key(identity, more))) << "threads change no number";
}

TEST(CalibrationSlice, seed_0_takes_the_tokens_at_the_offset_and_another_draws_windows) {
    std::vector<std::int32_t> text(100);
    for (std::size_t i = 0; i < text.size(); ++i) {
        text[i] = static_cast<std::int32_t>(i);
    }
    CalibrationSpec slice{.offset = 20, .tokens = 30, .window = 10};
    const auto first = slice_of(text, slice);
    ASSERT_TRUE(first.ok());
    EXPECT_EQ(30u, first->size());
    EXPECT_EQ(20, first->front());
    EXPECT_EQ(49, first->back());

    slice.seed = 3;
    const auto drawn = slice_of(text, slice);
    ASSERT_TRUE(drawn.ok());
    EXPECT_EQ(*drawn, *slice_of(text, slice));
    EXPECT_NE(*drawn, *first);
    const std::set<std::int32_t> distinct(drawn->begin(), drawn->end());
    EXPECT_EQ(30u, distinct.size()) << "no window twice";
    EXPECT_GE(*distinct.begin(), 20);
    slice.seed = 4;
    EXPECT_NE(*drawn, *slice_of(text, slice));

    slice.tokens = 81;
    const auto beyond = slice_of(text, slice);
    ASSERT_FALSE(beyond.ok());
    EXPECT_EQ(
        "calibration asks for tokens 20 to 101 of heldout-fiction, which has 100: lower its "
        "offset or tokens",
        beyond.error().message);
}

}  // namespace
}  // namespace bitsweep
