// What `bitsweep status` leaves out where there is little room.
#include <gtest/gtest.h>

#include "coordinator/cli/tables.h"

namespace bitsweep {
namespace {

TEST(StatusTable, columnsThatSayNothingMakeRoomForThoseThatDo) {
    Table table;
    table.columns = {"experiment", "done", "failed", "cancelled", "failures", "left"};
    table.rows = {{cell("a"), cell(0), cell(0), cell(0), cell(""), cell("")},
                  {cell("b"), cell(0), cell(2), cell(0), cell("2 crash"), cell("")}};
    drop_idle_columns(table, 2);
    EXPECT_EQ(table.columns,
              (std::vector<std::string>{"experiment", "done", "failed", "failures"}));
    ASSERT_EQ(table.rows[1].size(), 4u);
    EXPECT_EQ(table.rows[1][3].text, "2 crash");
}

TEST(StatusTable, withoutRowsOnlyTheFirstColumnsAreLeft) {
    Table table;
    table.columns = {"experiment", "state", "failed"};
    drop_idle_columns(table, 2);
    EXPECT_EQ(table.columns, (std::vector<std::string>{"experiment", "state"}));
}

}  // namespace
}  // namespace bitsweep
