// YAML -> frozen cells. Pure: text in, cells or an error out; files are read by the caller.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "coordinator/expand/matrix.h"
#include "schemas/job.h"
#include "schemas/status.h"

namespace bitsweep {

// What an axis lost or a cell suffered on the way, for `plan`.
struct ExpansionNote {
    std::string what;  // "threshold dropped: fp16 does not read it"
    std::int64_t cells = 0;
};

struct Expansion {
    ExperimentName experiment;
    std::string question;
    std::string hypothesis;
    std::map<std::string, std::string> tags;
    std::vector<Cell> cells;  // in run order; gpu "*" marks a template of `{each: any}`
    std::vector<ExpansionNote> notes;
    std::vector<std::pair<std::string, std::int64_t>> axes;  // name, number of values
    // For each of `axes`, the cells of each of its values, in the order of first appearance.
    std::vector<std::vector<std::pair<std::string, std::int64_t>>> axis_values;
    std::string cost;                       // as the file says it
    BaseTexts bases;                        // what the file extends, nearest first
    std::string order;                      // "shuffled by seed 0 within each model"
    std::optional<std::int64_t> max_fails;  // as the file says it
};

struct ExperimentText {
    std::string_view yaml;
    std::string file;  // as messages name it; `extends` is looked up beside it
    std::vector<std::pair<std::string, std::string>> overrides;  // --set key=value
    BaseReader read_base;                                        // empty: `extends` is refused
};

Result<Expansion> expand_yaml(const ExperimentText& text);
Result<Matrix> parse_matrix(const ExperimentText& text);

// The same without bases. `file` is the name used in messages: "quickstart.yaml:12:7: unknown key
// `methd`; did you mean `method`?" `overrides` are --set key=value pairs. All errors are
// invalid_input.
Result<Expansion> expand_yaml(std::string_view yaml, const std::string& file,
                              const std::vector<std::pair<std::string, std::string>>& overrides);

// parse (matrix_yaml) and expand separately, for tests.
Result<Matrix> parse_matrix(std::string_view yaml, const std::string& file,
                            const std::vector<std::pair<std::string, std::string>>& overrides);
Result<Expansion> expand(const Matrix& matrix);

}  // namespace bitsweep
