// A plain CSV of somebody's figures (RFC 4180): one header line, one configuration a line.
#include <charconv>
#include <cmath>
#include <map>
#include <set>

#include "results/store/external.h"
#include "schemas/catalog/edit_distance.h"

namespace bitsweep {
namespace {

constexpr CsvColumn columns[] = {
    {"model", "", "required: the model's name, best as in `bitsweep plan`"},
    {"method", "", "required: how its weights are stored, e.g. fp16, llm.int8, q4_0"},
    {"gpu", "", "required: the card, or cpu"},
    {"tool", "", "what measured it, with its version"},
    {"parameters", "", "of the model, e.g. 124439808"},
    {"weight_bits", "", "average bits of a weight, scales included"},
    {"threshold", "", "outlier threshold"},
    {"host", "", "CPU of the machine"},
    {"batch", "", "sequences at once; 1 where empty"},
    {"prompt_tokens", "", "tokens of the prompt"},
    {"new_tokens", "", "tokens generated"},
    {"measured", "", "when"},
    {"reference", "", "where it was published"},
    {"note", "", "anything a reader must know"},
    {"decode_tokens_per_s", "token/s", "decode rate"},
    {"prefill_tokens_per_s", "token/s", "prefill rate"},
    {"first_token_ns", "ns", "time to the first new token"},
    {"weights_bytes", "B", "size of the weights"},
    {"device_memory_bytes", "B", "memory in use on the device"},
    {"energy_per_token", "mJ/token", "energy of the card"},
    {"perplexity", "1", "of the text that the note names"},
};

struct Record {
    int line = 0;
    std::vector<std::string> fields;
};

// Quoted fields may hold commas, quotes (doubled) and line breaks.
Result<std::vector<Record>> records_of(std::string_view text) {
    if (text.starts_with("\xef\xbb\xbf")) {
        text.remove_prefix(3);
    }
    std::vector<Record> records;
    int line = 1;
    std::size_t i = 0;
    while (i < text.size()) {
        Record record{line, {""}};
        bool quoted = false, done = false;
        for (; i < text.size() && !done; ++i) {
            const char c = text[i];
            line += c == '\n' ? 1 : 0;
            if (quoted && c == '"' && i + 1 < text.size() && text[i + 1] == '"') {
                record.fields.back() += '"';
                ++i;
            } else if (c == '"') {
                quoted = !quoted;
            } else if (quoted) {
                record.fields.back() += c;
            } else if (c == ',') {
                record.fields.emplace_back();
            } else if (c == '\n') {
                done = true;
            } else if (c != '\r') {
                record.fields.back() += c;
            }
        }
        if (quoted) {
            return make_error(ErrorCode::invalid_input,
                              "line " + std::to_string(record.line) + ": a quote that never ends");
        }
        const bool comment = record.fields.front().starts_with('#');
        const bool blank = record.fields.size() == 1 && record.fields.front().empty();
        if (!comment && !blank) {
            records.push_back(std::move(record));
        }
    }
    return records;
}

const CsvColumn* find_column(std::string_view name) {
    for (const CsvColumn& column : columns) {
        if (column.name == name) {
            return &column;
        }
    }
    return nullptr;
}

std::string nearest_column(std::string_view name) {
    const CsvColumn* best = &columns[0];
    for (const CsvColumn& column : columns) {
        if (edit_distance(name.substr(0, 64), column.name) <
            edit_distance(name.substr(0, 64), best->name)) {
            best = &column;
        }
    }
    return std::string(best->name);
}

using Fields = std::map<std::string, std::string>;

Error mistake(int line, const std::string& column, const std::string& value,
              const std::string& wanted) {
    return make_error(ErrorCode::invalid_input, "line " + std::to_string(line) + ", " + column +
                                                    ": `" + value.substr(0, 60) + "` is not " +
                                                    wanted);
}

// A threshold of 0 is one, and no tokens of a prompt are what `v_summary` says of a prompt's text.
bool may_be_zero(const std::string& name) {
    return name == "threshold" || name == "prompt_tokens";
}

// Empty: no value. Otherwise the whole field must be one number above 0, or 0 where that says
// something.
Result<std::optional<double>> number(const Fields& fields, const std::string& name, int line) {
    const auto found = fields.find(name);
    if (found == fields.end() || found->second.empty()) {
        return std::optional<double>{};
    }
    const std::string& text = found->second;
    double value = 0;
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool whole = failed == std::errc() && end == text.data() + text.size();
    const bool allowed = std::isfinite(value) && (value > 0 || (value == 0 && may_be_zero(name)));
    if (!whole || !allowed) {
        return mistake(line, name, text,
                       std::string("a number ") + (may_be_zero(name) ? "from 0" : "above 0") +
                           ", written like 10.75");
    }
    return std::optional<double>{value};
}

Result<std::optional<std::int64_t>> whole(const Fields& fields, const std::string& name, int line) {
    const std::optional<double> value = TRY(number(fields, name, line));
    if (!value) {
        return std::optional<std::int64_t>{};
    }
    if (*value != std::floor(*value) || *value > 1e15) {
        return mistake(line, name, fields.at(name), "a whole number");
    }
    return std::optional<std::int64_t>{static_cast<std::int64_t>(*value)};
}

constexpr const char* required_columns[] = {"model", "method", "gpu"};

Status check_header(const Record& header) {
    std::set<std::string> seen;
    for (const std::string& name : header.fields) {
        if (find_column(name) == nullptr) {
            return make_error(ErrorCode::invalid_input,
                              "not llama-bench, not optimum-benchmark, and as CSV its column `" +
                                  name.substr(0, 60) + "` is unknown; the nearest is `" +
                                  nearest_column(name) + "` (`bitsweep import --help` lists them)");
        }
        if (!seen.insert(name).second) {
            return make_error(ErrorCode::invalid_input,
                              "line " + std::to_string(header.line) + ": the column `" + name +
                                  "` stands there twice; leave one of them");
        }
    }
    for (const char* required : required_columns) {
        if (!seen.contains(required)) {
            return make_error(ErrorCode::invalid_input, "line " + std::to_string(header.line) +
                                                            ": no column `" + required +
                                                            "`, and every row needs it");
        }
    }
    return {};
}

Result<ExternalRun> run_of(Fields fields, int line) {
    ExternalRun run;
    run.position = line;
    for (const char* required : required_columns) {
        if (fields[required].find_first_not_of(" \t") == std::string::npos) {
            return make_error(ErrorCode::invalid_input,
                              "line " + std::to_string(line) + ": " + required + " is empty");
        }
    }
    run.model = fields["model"];
    run.method = fields["method"];
    run.gpu = fields["gpu"];
    run.tool = fields["tool"].empty() ? "unknown" : fields["tool"];
    run.host = fields["host"];
    run.measured = fields["measured"];
    run.reference = fields["reference"];
    run.note = fields["note"];
    if (const auto parameters = TRY(whole(fields, "parameters", line))) {
        run.parameters = static_cast<double>(*parameters);
    }
    run.weight_bits = TRY(number(fields, "weight_bits", line));
    run.threshold = TRY(number(fields, "threshold", line));
    run.batch = TRY(whole(fields, "batch", line)).value_or(1);
    run.prompt_tokens = TRY(whole(fields, "prompt_tokens", line));
    run.new_tokens = TRY(whole(fields, "new_tokens", line));
    for (const CsvColumn& column : columns) {
        if (column.unit.empty()) {
            continue;
        }
        const std::string name(column.name);
        if (const auto value = TRY(number(fields, name, line))) {
            run.measurements.push_back({name, std::string(column.unit), *value, {}});
        }
    }
    if (run.measurements.empty()) {
        return make_error(ErrorCode::invalid_input,
                          "line " + std::to_string(line) +
                              ": no figure; fill decode_tokens_per_s or another metric");
    }
    return run;
}

}  // namespace

std::vector<CsvColumn> csv_columns() {
    return {std::begin(columns), std::end(columns)};
}

Result<std::vector<ExternalRun>> external_csv(std::string_view text) {
    const std::vector<Record> records = TRY(records_of(text));
    if (records.empty()) {
        return make_error(ErrorCode::invalid_input, "empty");
    }
    const Record& header = records.front();
    TRY(check_header(header));
    std::vector<ExternalRun> runs;
    for (std::size_t i = 1; i < records.size(); ++i) {
        const Record& record = records[i];
        if (record.fields.size() != header.fields.size()) {
            return make_error(ErrorCode::invalid_input, "line " + std::to_string(record.line) +
                                                            ": " +
                                                            std::to_string(record.fields.size()) +
                                                            " fields, the header has " +
                                                            std::to_string(header.fields.size()));
        }
        Fields fields;
        for (std::size_t j = 0; j < header.fields.size(); ++j) {
            fields[header.fields[j]] = record.fields[j];
        }
        runs.push_back(TRY(run_of(std::move(fields), record.line)));
    }
    return runs;
}

}  // namespace bitsweep
