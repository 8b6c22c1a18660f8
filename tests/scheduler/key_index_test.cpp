#include "coordinator/scheduler/key_index.h"

#include <gtest/gtest.h>

#include <string>

namespace bitsweep::scheduler {
namespace {

Job job_of(const std::string& key) {
    return {PackedKey(key), {}, {}, 0};
}

TEST(KeyIndex, everyKeyIsFoundHoweverManyThereAreAndAnUnknownOneIsNot) {
    std::vector<Job> jobs;
    KeyIndex index;
    EXPECT_FALSE(index.find(PackedKey("0"), jobs));
    for (std::uint32_t i = 0; i < 5'000; ++i) {
        jobs.push_back(job_of(std::to_string(i)));
        ASSERT_TRUE(index.add(i, jobs));
    }
    for (std::uint32_t i = 0; i < 5'000; ++i) {
        ASSERT_EQ(index.find(PackedKey(std::to_string(i)), jobs), i);
    }
    EXPECT_FALSE(index.find(PackedKey("5000"), jobs));
    EXPECT_FALSE(index.find(PackedKey(""), jobs));
}

TEST(KeyIndex, aKeyThatIsThereIsNotAddedAgain) {
    std::vector<Job> jobs;
    jobs.push_back(job_of("a"));
    jobs.push_back(job_of("a"));
    KeyIndex index;
    EXPECT_TRUE(index.add(0, jobs));
    EXPECT_FALSE(index.add(1, jobs));
    EXPECT_EQ(index.find(PackedKey("a"), jobs), 0u);
}

}  // namespace
}  // namespace bitsweep::scheduler
