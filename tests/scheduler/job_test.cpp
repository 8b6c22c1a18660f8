#include "coordinator/scheduler/job.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <string>

#include "coordinator/scheduler/queue.h"
#include "schemas/codec.h"
#include "tests/schemas/peculiar_cell.h"

namespace bitsweep::scheduler {
namespace {

TEST(PackedKey, gives_back_what_it_was_given_and_holds_no_other_long_text) {
    const std::string hex = "00ff" + std::string(58, 'a') + "9c";
    for (const std::string& key : {std::string(), std::string("a"), std::string(32, 'x'), hex}) {
        ASSERT_TRUE(PackedKey::holds(key));
        EXPECT_EQ(PackedKey(key).key().value, key);
    }
    EXPECT_FALSE(PackedKey::holds(std::string(33, 'a')));
    EXPECT_FALSE(PackedKey::holds(std::string(64, 'A')));
    EXPECT_FALSE(PackedKey::holds(std::string(63, 'a') + "g"));
    EXPECT_FALSE(PackedKey::holds(hex + "0"));
}

TEST(PackedKey, tells_the_bytes_of_digits_from_the_same_bytes_as_text) {
    EXPECT_FALSE(PackedKey(std::string(32, 'a')) == PackedKey("6161616161616161616161616161616161"
                                                              "616161616161616161616161616161"));
}

// With numbers beyond those of JSON.
Cell peculiar(int number) {
    Cell cell = testing::peculiar(number);
    cell.spec.new_tokens = (std::int64_t{1} << 40) + number;
    cell.spec.seed = 0xffff'ffff'ffff'0000u + static_cast<std::uint64_t>(number);
    return cell;
}

// Every field of a cell stands in its JSON.
Submit submit_of(const Cell& cell) {
    Submit submit;
    submit.cells = {cell};
    return submit;
}

TEST(CellTable, gives_every_cell_back_as_it_was_and_shares_what_is_equal) {
    CellTable table;
    std::vector<PackedCell> packed;
    for (int i = 0; i < 60; ++i) {
        Cell cell = peculiar(i);
        cell.identity.spec_key = "follows from the spec";
        packed.push_back(table.pack(cell));
    }
    for (int i = 0; i < 60; ++i) {
        const Cell cell = packed[static_cast<std::size_t>(i)].unpack();
        const Cell expected = peculiar(i);
        EXPECT_EQ(to_json(Message(submit_of(cell))), to_json(Message(submit_of(expected)))) << i;
        EXPECT_EQ(to_json(packed[static_cast<std::size_t>(i)].spec()), to_json(expected.spec));
    }
    EXPECT_EQ(table.size(), 6u) << "three models, two methods with a priority each";
}

TEST(Job, keeps_a_story_only_while_there_is_one) {
    CellTable table;
    Job job(PackedKey("a"), table.pack(peculiar(1)), {}, 0);
    job.open().attempt = Attempt{2};
    job.open().shown = Shown::valid;
    job.open().state = Done{};
    job.close();
    EXPECT_TRUE(std::holds_alternative<Done>(job.state()));
    EXPECT_EQ(job.attempt().value, 2u);
    EXPECT_EQ(job.record().shown, Shown::valid);
    EXPECT_EQ(job.record().attempt.value, 2u);

    job.open().state = Failed{OutcomeClass::crash, "died"};
    job.open().crashes = 4;
    job.open().last_message = "died";
    job.open().refused_by = {SessionId{"w1-1"}};
    job.close();
    EXPECT_EQ(std::get<Failed>(job.state()).message, "died");
    EXPECT_EQ(job.life().crashes, 4);
    EXPECT_EQ(job.life().last_message, "died");
    EXPECT_EQ(job.refused_by().size(), 1u);
    EXPECT_EQ(job.shown(), Shown::valid);
}

TEST(Job, takes_no_more_room_than_a_million_of_them_may) {
    EXPECT_LE(sizeof(Job), 144u);  // with queue, indexes and the store's rows: 215 MB a million
}

TEST(Queue, does_what_a_sorted_set_does) {
    std::mt19937 random(7);
    std::set<Queue::Entry> expected;
    Queue queue;
    for (int step = 0; step < 20'000; ++step) {
        const Queue::Entry entry{random() % 4'000, random() % 3};
        // Mostly it grows first and shrinks later.
        if (expected.contains(entry)) {
            expected.erase(entry);
            queue.erase(entry);
        } else if (step < 9'000 || random() % 4 == 0) {
            expected.insert(entry);
            queue.insert(entry);
        }
        ASSERT_EQ(queue.size(), expected.size());
        ASSERT_EQ(queue.empty(), expected.empty());
        if (!expected.empty()) {
            ASSERT_EQ(queue.front(), *expected.begin());
        }
        if (step % 500 == 0) {
            ASSERT_EQ(queue.entries(), std::vector(expected.begin(), expected.end()));
            ASSERT_EQ(queue.count_before(entry),
                      static_cast<std::size_t>(
                          std::distance(expected.begin(), expected.lower_bound(entry))));
        }
    }
    for (std::uint64_t order = 10'000; order < 13'000; ++order) {
        queue.insert({order, 0});
        expected.insert({order, 0});
    }
    while (!queue.empty()) {
        ASSERT_EQ(queue.front(), *expected.begin());
        queue.erase(queue.front());
        expected.erase(expected.begin());
    }
    EXPECT_TRUE(expected.empty());
}

}  // namespace
}  // namespace bitsweep::scheduler
