// One stored tensor of a mapped file as float32 rows. Shared by the two readers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/status.h"

namespace bitsweep {

// [rows, columns] of a tensor: 1-D is one row, more than two dimensions fold into the rows.
struct RowLayout {
    std::int64_t rows = 1;
    std::int64_t columns = 1;
};
RowLayout row_layout(const std::vector<std::int64_t>& shape);

// invalid_input unless 0 <= begin <= end <= rows.
Status check_rows(std::string_view name, const RowLayout& layout, std::int64_t begin,
                  std::int64_t end);

// not_found that names the nearest of `known`.
Error no_such_tensor(const std::string& label, std::string_view name,
                     const std::vector<std::string>& known);

// "LABEL: tensor 'x' is [4, 8] but SOURCE says [8, 8]".
Error shape_disagrees(const std::string& label, std::string_view name,
                      const std::vector<std::int64_t>& stored,
                      const std::vector<std::int64_t>& expected, std::string_view source);

}  // namespace bitsweep
