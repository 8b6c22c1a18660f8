// The cells of a submission: what they share once, and a row of numbers for each.
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "schemas/cell_rows.h"
#include "schemas/codec_read.h"
#include "tests/schemas/peculiar_cell.h"

namespace bitsweep::codec {
namespace {

using testing::peculiar;

std::string written(const std::vector<Cell>& cells) {
    Submit submit;
    submit.experiment.value = "x";
    submit.cells = cells;
    return to_json(Message(submit));
}

// All that is known of a cell.
std::string told(const Cell& cell) {
    return written({cell});
}

std::vector<Cell> cells_of(const Message& message) {
    return std::get<Submit>(message).cells;
}

void expect_same(const std::vector<Cell>& read, const std::vector<Cell>& cells) {
    ASSERT_EQ(read.size(), cells.size());
    for (std::size_t i = 0; i < cells.size(); ++i) {
        ASSERT_EQ(told(read[i]), told(cells[i])) << i;
    }
}

// ---- what cells share

TEST(Rows, theNumbersOfARowAreWhatCellsMayDifferInAndShareTheRest) {
    for (std::size_t i = 0; i < row_number_names.size(); ++i) {
        const Cell one = peculiar(1);
        Cell other = one;
        with_number(
            static_cast<RowNumber>(i), [](auto& number) { number = {}; }, other);
        EXPECT_TRUE(same_but_numbers(one, other)) << row_number_names[i];
        EXPECT_EQ(HashButNumbers{}(one), HashButNumbers{}(other)) << row_number_names[i];
        EXPECT_NE(told(one), told(other)) << row_number_names[i];
    }
}

TEST(Rows, aDifferenceInAnyOtherFieldIsOneInWhatIsShared) {
    const std::vector<std::function<void(Cell&)>> changes = {
        [](Cell& c) { c.spec.model.name = "n"; },
        [](Cell& c) { c.spec.model.weights = WeightsSource::real; },
        [](Cell& c) { c.spec.model.weights_seed = 8; },
        [](Cell& c) { c.spec.model.path = "/"; },
        [](Cell& c) { c.spec.method = "fp16"; },
        [](Cell& c) { c.spec.calibration->offset = 9; },
        [](Cell& c) { c.spec.calibration.reset(); },
        [](Cell& c) { c.spec.alpha = 0.5; },
        [](Cell& c) { c.spec.policy = ""; },
        [](Cell& c) { c.spec.head_bits = 4; },
        [](Cell& c) { c.spec.kv = "16"; },
        [](Cell& c) { c.spec.gpu = "cpu"; },
        [](Cell& c) { c.spec.prompt = ""; },
        [](Cell& c) { c.spec.stop_at_eos = false; },
        [](Cell& c) { c.spec.warmup = 0; },
        [](Cell& c) { c.spec.protocol = Protocol::quick; },
        [](Cell& c) { c.spec.quality.mode = QualityMode::once; },
        [](Cell& c) { c.spec.quality.window = 97; },
        [](Cell& c) { c.identity.weights_digest = ""; },
        [](Cell& c) { c.identity.dataset_digest = ""; },
        [](Cell& c) { c.identity.numerics_revision = 5; },
        [](Cell& c) { c.policy.priority = 3; },
        [](Cell& c) { c.policy.timeout = {6}; },
        [](Cell& c) { c.card_condition.reset(); },
    };
    std::vector<Cell> all = {peculiar(1)};
    for (const auto& change : changes) {
        Cell other = peculiar(1);
        change(other);
        EXPECT_FALSE(same_but_numbers(all.front(), other)) << all.size();
        all.push_back(other);
    }
    SharedCells shared;
    for (int round = 0; round < 2; ++round) {
        for (std::size_t i = 0; i < all.size(); ++i) {
            EXPECT_EQ(shared.index_of(all[i]), i);
        }
    }
    EXPECT_EQ(shared.all().size(), all.size());
    expect_same(cells_of(message_from_json(written(all)).value()), all);
}

// ---- there and back

TEST(Rows, everyCellComesBackInItsPlaceAsItWas) {
    std::vector<Cell> cells;
    for (int i = 0; i < 300; ++i) {
        cells.push_back(peculiar(i));
        cells.back().identity.spec_key = std::string(64, 'f');
    }
    cells.push_back(cells.front());  // twice
    std::shuffle(cells.begin(), cells.end(), std::mt19937(5));
    const std::string text = written(cells);
    const std::optional<Message> quick = read_message(text);
    ASSERT_TRUE(quick);
    expect_same(cells_of(*quick), cells);
    EXPECT_EQ(cells_of(*quick).front().identity.spec_key, "") << "follows from the spec";
    expect_same(cells_of(decode_message(Json::parse(text))), cells);
    EXPECT_EQ(Json::parse(text).at("cells").at("shared").size(), 6u);
}

TEST(Rows, onlyNumbersThatDifferAreWritten) {
    std::vector<Cell> cells(3, peculiar(1));
    cells[1].spec.repeat = 7;
    cells[2].spec.threshold.reset();
    const Json rows = Json::parse(written(cells)).at("cells");
    EXPECT_EQ(rows.at("numbers"), Json({"repeat", "threshold"}));
    EXPECT_EQ(rows.at("rows").dump(), "[[0,399,0.0],[0,7,0.0],[0,399,null]]");
    EXPECT_EQ(Json::parse(written({})).at("cells").dump(),
              R"({"numbers":[],"rows":[],"shared":[]})");
}

TEST(Rows, aThresholdKeepsItsSignAndLosesWhatNoJsonHolds) {
    std::vector<Cell> cells(3, peculiar(1));
    cells[1].spec.threshold = -0.0;
    cells[2].spec.threshold = std::nan("");
    const std::vector<Cell> back = cells_of(message_from_json(written(cells)).value());
    EXPECT_FALSE(std::signbit(back[0].spec.threshold.value()));
    EXPECT_TRUE(std::signbit(back[1].spec.threshold.value()));
    EXPECT_FALSE(back[2].spec.threshold);
}

// ---- peers in other languages, and hostile ones

// A submission of `shared` equal cells whose members stand as a peer put them.
Json submission(int shared, const char* numbers, const char* rows) {
    Json json = Json::parse(told(peculiar(1)));
    Json& cells = json.at("cells");
    cells["shared"] = Json::array();
    for (int i = 0; i < shared; ++i) {
        cells["shared"].push_back(Json::parse(told(peculiar(i))).at("cells").at("shared").at(0));
    }
    cells["numbers"] = Json::parse(numbers);
    cells["rows"] = Json::parse(rows);
    return json;
}

TEST(Rows, membersInAnyOrderSharedCellsWithoutARowAndNumbersInAnyOrderAreRead) {
    const Json json = submission(3, R"(["yaml_line","batch"])", "[[2,5,6],[0,7,8]]");
    const std::string text = json.dump();  // "numbers", "rows", "shared"
    EXPECT_FALSE(read_message(text)) << "left to the library";
    const std::vector<Cell> cells = cells_of(message_from_json(text).value());
    ASSERT_EQ(cells.size(), 2u);
    EXPECT_EQ(cells[0].spec.model.name, "m2");
    EXPECT_EQ(cells[0].yaml_line, 5);
    EXPECT_EQ(cells[0].spec.batch, 6);
    EXPECT_EQ(cells[1].spec.model.name, "m0");
    EXPECT_EQ(cells[1].spec.repeat, 400) << "the shared cell's";
}

// With the members in the order of the quick reader.
std::string as_written(const Json& json) {
    const Json& cells = json.at("cells");
    const std::string inner = R"({"shared":)" + cells.at("shared").dump() + R"(,"numbers":)" +
                              cells.at("numbers").dump() + R"(,"rows":)" + cells.at("rows").dump() +
                              "}";
    Json rest = json;
    rest.erase("cells");
    rest.erase("protocol");
    rest.erase("type");
    return R"({"protocol":4,"type":"submit","cells":)" + inner + "," + rest.dump().substr(1);
}

TEST(Rows, aWrongRowIsRefusedWithItsPlaceWhatItIsAndWhatBelongsThere) {
    ASSERT_TRUE(read_message(as_written(submission(2, R"(["batch"])", "[[0,1],[1,4096]]"))));
    struct Wrong {
        const char* numbers;
        const char* rows;
        const char* words;
    };
    for (const auto& [numbers, rows, words] : std::vector<Wrong>{
             {"[\"batch\"]", "[[0,1],[2,1]]",
              "cells.rows[1][0]: there is no shared cell 2; there are 2, counted from 0"},
             {"[\"batch\"]", "[[-1,1]]", "cells.rows[0][0]: there is no shared cell -1"},
             {"[\"batch\"]", "[[0.5,1]]", "cells.rows[0][0]: there is no shared cell 0.5"},
             {"[\"batch\"]", "[[null,1]]", "cells.rows[0][0]: there is no shared cell null"},
             {"[\"batch\"]", "[[18446744073709551615,1]]", "cells.rows[0][0]: there is no shared"},
             {"[\"batch\"]", "[[4294967296,1]]", "cells.rows[0][0]: there is no shared cell"},
             {"[\"batch\"]", "[[0]]",
              "cells.rows[0]: 1 values; a row is the index of a shared cell and then one value for "
              "each of the 1 `numbers`"},
             {"[\"batch\"]", "[[0,1],[0,1,1]]", "cells.rows[1]: 3 values"},
             {"[\"batch\"]", "[[0,0]]",
              "cells.rows[0][1]: batch 0 is refused; it is an integer from 1 to 4096"},
             {"[\"batch\"]", "[[0,4097]]", "cells.rows[0][1]: batch 4097 is refused"},
             {"[\"batch\"]", "[[0,1.5]]", "cells.rows[0][1]: batch 1.5 is refused"},
             {"[\"batch\"]", "[[0,null]]", "cells.rows[0][1]: batch null is refused"},
             {"[\"seed\"]", "[[0,9007199254740992]]",
              "cells.rows[0][1]: seed 9007199254740992 is refused; it is an integer from 0 to "
              "9007199254740991"},
             {"[\"seed\"]", "[[0,-1]]", "cells.rows[0][1]: seed -1 is refused"},
             {"[\"threshold\"]", "[[0,-0.5]]",
              "cells.rows[0][1]: threshold -0.5 is refused; it is a number from 0.0 to 1e+30, or "
              "null"},
             {"[\"yaml_line\"]", "[[0,1048577]]", "cells.rows[0][1]: yaml_line 1048577 is refused"},
             {"[\"batch\",\"seed\",\"batch\"]", "[[0,1,1,1]]",
              "cells.numbers[2]: \"batch\" comes twice; name each number once"},
             {"[\"warmup\"]", "[[0,1]]", "cells.numbers[0]: \"warmup\" is refused"},
             {"[\"batch\"]", "[[0,\"1\"]]", "cells.rows[0][1]: \"1\" is refused"},
             {"[\"batch\"]", "[[]]", "cells.rows[0]: [] is refused"},
             {"[\"batch\"]", "[5]", "cells.rows[0]: 5 is refused"},
         }) {
        const Json json = submission(2, numbers, rows);
        EXPECT_FALSE(read_message(as_written(json))) << rows;
        for (const std::string& text : {json.dump(), as_written(json)}) {
            const Result<Message> read = message_from_json(text);
            ASSERT_FALSE(read) << rows;
            EXPECT_EQ(read.error().code, ErrorCode::invalid_input);
            EXPECT_NE(read.error().message.find(words), std::string::npos) << read.error().message;
        }
    }
}

TEST(Rows, aFewBytesDoNotBecomeMoreThanAMessageMayHoldInMemory) {
    Cell cell = peculiar(0);
    cell.spec.prompt = std::string(1u << 20, 'x');
    const std::vector<Cell> cells(128, cell);
    EXPECT_EQ(cells_of_a_message(cells), 127u) << "each has its KiB, too";
    const std::string text = written(cells);
    EXPECT_LT(text.size(), 2u << 20);
    EXPECT_FALSE(read_message(text));
    const Result<Message> read = message_from_json(text);
    ASSERT_FALSE(read);
    EXPECT_NE(read.error().message.find("cells.rows[127]: so many cells are more than 134217728 "
                                        "bytes; send them in pieces"),
              std::string::npos)
        << read.error().message;
}

// ---- pieces

// Cells that differ in all that a row may not say, with the longest numbers.
std::vector<Cell> strangers(std::size_t count, std::size_t prompt_bytes) {
    std::vector<Cell> cells;
    for (std::size_t i = 0; i < count; ++i) {
        Cell cell = peculiar(static_cast<int>(i % 300));
        cell.identity = {"", std::string(64, 'a'), std::string(64, 'b'), 1'000'000};
        cell.spec.model.weights_seed = 9'007'199'254'740'000 + i % 900;
        cell.spec.calibration->seed = 9'007'199'254'740'000 + i / 900;
        cell.spec.prompt.assign(prompt_bytes, '\x01');
        cells.push_back(std::move(cell));
    }
    return cells;
}

TEST(Rows, whatAMessageMayHoldIsReadAgain) {
    const std::vector<Cell> alike(150'000, peculiar(1));
    const std::string texts = "m1/somewhere{}sm >= 75" + alike[0].spec.prompt;
    EXPECT_EQ(unpacked_bytes(alike[0]), 1'024 + texts.size());
    EXPECT_EQ(cells_of_a_message(alike), max_unpacked_bytes / unpacked_bytes(alike[0]))
        << "much memory, short rows";
    for (const std::size_t prompt_bytes : {0u, 20'000u}) {
        std::vector<Cell> cells = strangers(16'000, prompt_bytes);
        const std::size_t most = cells_of_a_message(cells);
        EXPECT_LT(most, cells.size()) << "much text";
        cells.resize(most);
        const std::string text = written(cells);
        EXPECT_LT(text.size(), max_json_bytes / 2);
        EXPECT_GT(text.size(), max_json_bytes / 8);
        const std::optional<Message> read = read_message(text);
        ASSERT_TRUE(read);
        EXPECT_EQ(cells_of(*read).size(), most);
    }
}

TEST(Rows, oneCellAtLeastGoesWithEveryMessageAndNoneWithAnEmptyOne) {
    EXPECT_EQ(cells_of_a_message({}), 0u);
    std::vector<Cell> two(2, peculiar(1));
    for (Cell& cell : two) {
        cell.spec.policy = std::string(20u << 20, '{');
    }
    EXPECT_EQ(cells_of_a_message(two), 1u);
}

}  // namespace
}  // namespace bitsweep::codec
