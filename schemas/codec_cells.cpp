// The cells of a submission: what they share once, and a row for each (cell_rows.h). Neighbours of
// a matrix share all but numbers: 800 bytes a cell written in full, a dozen in rows.
#include <algorithm>
#include <array>
#include <bit>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "schemas/cell_rows.h"
#include "schemas/codec_read.h"

namespace bitsweep {

namespace {

constexpr std::size_t most_shared_bytes = 2'048;  // without its texts; 700 measured
constexpr std::size_t escaped = 6;                // bytes, of one byte of a text
constexpr std::size_t most_row_bytes = 100;       // 96 with every number at its longest
constexpr std::size_t unpacked_cell_bytes = 1'024;
// The other half is for the file (1 MiB, escaped) and the tags.
constexpr std::size_t most_rows_bytes = max_json_bytes / 2;

// Of those that may be long.
std::size_t text_bytes(const Cell& cell) {
    const JobSpec& spec = cell.spec;
    return spec.prompt.size() + spec.policy.size() + spec.model.name.size() +
           spec.model.path.size() + (cell.card_condition ? cell.card_condition->size() : 0);
}

}  // namespace

std::size_t unpacked_bytes(const Cell& cell) {
    return unpacked_cell_bytes + text_bytes(cell);
}

std::size_t unpacked_bytes(std::span<const Cell> cells) {
    return std::accumulate(
        cells.begin(), cells.end(), std::size_t{0},
        [](std::size_t sum, const Cell& cell) { return sum + unpacked_bytes(cell); });
}

std::size_t cells_of_a_message(std::span<const Cell> cells) {
    SharedCells shared;
    std::size_t written = 0;
    std::size_t unpacked = 0;
    std::size_t count = 0;
    for (const Cell& cell : cells) {
        const std::size_t known = shared.all().size();
        written += shared.index_of(cell) < known
                       ? most_row_bytes
                       : most_row_bytes + most_shared_bytes + escaped * text_bytes(cell);
        unpacked += unpacked_bytes(cell);
        if (count > 0 && (written > most_rows_bytes || unpacked > max_unpacked_bytes)) {
            break;
        }
        ++count;
    }
    return count;
}

namespace codec {

namespace {

constexpr std::size_t numbers_in_all = row_number_names.size();

std::string name_of(RowNumber number) {
    return std::string(row_number_names.at(static_cast<std::size_t>(number)));
}

// 0.0 and -0.0 differ: neither is lost.
bool same_number(const std::optional<double>& a, const std::optional<double>& b) {
    return a && b ? std::bit_cast<std::uint64_t>(*a) == std::bit_cast<std::uint64_t>(*b) : !a && !b;
}
template <class T>
requires std::is_integral_v<T>
bool same_number(T a, T b) {
    return a == b;
}

void write_number(std::string& out, const std::optional<double>& value) {
    value ? write(out, *value) : void(out += "null");
}
template <class T>
requires std::is_integral_v<T>
void write_number(std::string& out, T value) {
    write(out, value);
}

// Whether `in` has the named member next, and its schema.
const SchemaNode* next_member(Scanner& in, const SchemaNode& node, std::string_view wanted) {
    std::string_view name;
    const std::size_t member = node.find(wanted);
    const bool is_next = in.name(name) && name == wanted && in.take(':');
    return is_next && member < node.members.size() ? node.members[member].node : nullptr;
}

// The numbers of a row, each with the schema that it has in a cell.
class Columns {
 public:
    // False: no such number, or one twice.
    bool add(std::string_view name) {
        const auto known = std::ranges::find(row_number_names, name);
        const auto number = static_cast<RowNumber>(known - row_number_names.begin());
        if (known == row_number_names.end() ||
            std::ranges::find(numbers_, number) != numbers_.end()) {
            return false;
        }
        numbers_.push_back(number);
        schemas_.push_back(schema_of(number));
        return schemas_.back() != nullptr;
    }

    std::size_t size() const { return numbers_.size(); }
    RowNumber number(std::size_t i) const { return numbers_[i]; }
    const SchemaNode& schema(std::size_t i) const { return *schemas_[i]; }

 private:
    static const SchemaNode* schema_of(RowNumber number) {
        static const SchemaNode* of_spec = compiled("/job");
        static const SchemaNode* of_cell = compiled("/message/definitions/cell");
        const SchemaNode* node = number == RowNumber::yaml_line ? of_cell : of_spec;
        const std::size_t member = node == nullptr ? 0 : node->find(name_of(number));
        return node == nullptr || member == node->members.size()
                   ? nullptr
                   : &node->members[member].node->target();
    }

    std::vector<RowNumber> numbers_;
    std::vector<const SchemaNode*> schemas_;
};

// Cells as they are made of rows, no more of them than there may be.
class Unpacker {
 public:
    Unpacker(const std::vector<Cell>& shared, std::vector<Cell>& out) : shared_(shared), out_(out) {
        out_.clear();
        bytes_of_.reserve(shared.size());
        for (const Cell& cell : shared) {
            bytes_of_.push_back(unpacked_bytes(cell));
        }
    }

    void expect(std::size_t cells) {
        out_.reserve(std::min(cells, max_unpacked_bytes / unpacked_cell_bytes));
    }
    bool knows(std::uint64_t index) const { return index < shared_.size(); }
    // nullptr: they have become too many, or too long.
    Cell* add(std::size_t index) {
        bytes_ += bytes_of_[index];
        return bytes_ > max_unpacked_bytes ? nullptr : &out_.emplace_back(shared_[index]);
    }

 private:
    const std::vector<Cell>& shared_;
    std::vector<Cell>& out_;
    std::vector<std::size_t> bytes_of_;
    std::size_t bytes_ = 0;
};

bool read_number(Scanner& in, const SchemaNode& node, std::optional<double>& out) {
    if ((node.types & SchemaNode::null_type) != 0 && in.literal("null")) {
        out.reset();
        return true;
    }
    return read(in, node, out.emplace());
}
template <class T>
requires std::is_integral_v<T>
bool read_number(Scanner& in, const SchemaNode& node, T& out) {
    return read(in, node, out);
}

bool read_row(Scanner& in, const Columns& columns, Unpacker& cells) {
    std::uint64_t index = 0;
    Cell* cell =
        in.take('[') && in.integer(index) && cells.knows(index) ? cells.add(index) : nullptr;
    if (cell == nullptr) {
        return false;
    }
    for (std::size_t i = 0; i < columns.size(); ++i) {
        const auto read_it = [&](auto& number) {
            return read_number(in, columns.schema(i), number);
        };
        if (!in.take(',') || !with_number(columns.number(i), read_it, *cell)) {
            return false;
        }
    }
    return in.take(']');
}

bool read_rows(Scanner& in, const SchemaNode& at, const Columns& columns, Unpacker& cells) {
    const SchemaNode& node = at.target();
    if (!node.understood || !in.take('[')) {
        return false;
    }
    std::size_t rows = 0;
    if (in.take(']')) {
        return true;
    }
    cells.expect(in.count_ahead('['));
    do {
        if (++rows > node.max_size || !read_row(in, columns, cells)) {
            return false;
        }
    } while (in.take(','));
    return in.take(']');
}

// ---- in words, of a row that the schema let through

std::string words_of(const SchemaNode& node) {
    if ((node.types & SchemaNode::number_type) != 0) {
        return "a number from " + Json(node.minimum).dump() + " to " + Json(node.maximum).dump() +
               ", or null";
    }
    return "an integer from " + std::to_string(static_cast<std::int64_t>(node.minimum)) + " to " +
           std::to_string(static_cast<std::int64_t>(node.maximum));
}

void decode_number(const Json& in, std::optional<double>& out) {
    out = in.is_null() ? std::nullopt : std::optional(in.get<double>());
}
template <class T>
requires std::is_integral_v<T>
void decode_number(const Json& in, T& out) {
    out = in.get<T>();
}

Columns decode_columns(const Json& in) {
    Columns columns;
    for (const Json& name : in) {
        if (!columns.add(name.get_ref<const std::string&>())) {
            throw BadValue("cells.numbers[" + std::to_string(columns.size()) + "]: " + name.dump() +
                           " comes twice; name each number once");
        }
    }
    return columns;
}

void decode_row(const Json& row, const std::string& at, const Columns& columns, std::size_t shared,
                Unpacker& cells) {
    if (row.size() != 1 + columns.size()) {
        throw BadValue(at + ": " + std::to_string(row.size()) +
                       " values; a row is the index of a shared cell and then one value for each "
                       "of the " +
                       std::to_string(columns.size()) + " `numbers`");
    }
    const Json& index = row.front();
    if (!index.is_number_integer() || index < 0 || !cells.knows(index.get<std::uint64_t>())) {
        throw BadValue(at + "[0]: there is no shared cell " + index.dump() + "; there are " +
                       std::to_string(shared) + ", counted from 0");
    }
    Cell* cell = cells.add(index.get<std::size_t>());
    if (cell == nullptr) {
        throw BadValue(at + ": so many cells are more than " + std::to_string(max_unpacked_bytes) +
                       " bytes; send them in pieces");
    }
    for (std::size_t i = 0; i < columns.size(); ++i) {
        const Json& value = row[i + 1];
        if (!columns.schema(i).accepts(value)) {
            throw BadValue(at + "[" + std::to_string(i + 1) + "]: " + name_of(columns.number(i)) +
                           " " + value.dump() + " is refused; it is " +
                           words_of(columns.schema(i)));
        }
        with_number(
            columns.number(i), [&](auto& number) { decode_number(value, number); }, *cell);
    }
}

}  // namespace

void write(std::string& out, const std::vector<Cell>& cells) {
    SharedCells shared;
    std::vector<std::size_t> kinds;
    kinds.reserve(cells.size());
    std::array<bool, numbers_in_all> differs{};
    for (const Cell& cell : cells) {
        kinds.push_back(shared.index_of(cell));
        const Cell& first = *shared.all()[kinds.back()];
        for (std::size_t i = 0; i < numbers_in_all; ++i) {
            const auto same = [](const auto& a, const auto& b) { return same_number(a, b); };
            differs[i] = differs[i] || !with_number(static_cast<RowNumber>(i), same, first, cell);
        }
    }
    std::vector<std::string> names;
    std::vector<RowNumber> numbers;
    for (std::size_t i = 0; i < numbers_in_all; ++i) {
        if (differs[i]) {
            numbers.push_back(static_cast<RowNumber>(i));
            names.emplace_back(row_number_names[i]);
        }
    }

    Writer writer(out);
    out += "\"shared\":[";
    for (const Cell* cell : shared.all()) {
        write(out, *cell);
        out += ',';
    }
    cells.empty() ? out.push_back(']') : void(out.back() = ']');
    out += ',';
    writer("numbers", names);
    out += "\"rows\":[";
    for (std::size_t i = 0; i < cells.size(); ++i) {
        out += '[';
        write(out, kinds[i]);
        for (const RowNumber number : numbers) {
            out += ',';
            with_number(
                number, [&](const auto& value) { write_number(out, value); }, cells[i]);
        }
        out += "],";
    }
    cells.empty() ? out.push_back(']') : void(out.back() = ']');
    out += '}';
}

// As write() orders it.
bool read(Scanner& in, const SchemaNode& at, std::vector<Cell>& out) {
    const SchemaNode& node = at.target();
    std::vector<Cell> shared;
    std::vector<std::string> names;
    const SchemaNode* member = nullptr;
    if (!node.understood || !in.take('{') ||
        (member = next_member(in, node, "shared")) == nullptr || !read<Cell>(in, *member, shared) ||
        !in.take(',') || (member = next_member(in, node, "numbers")) == nullptr ||
        !read(in, *member, names) || !in.take(',') ||
        (member = next_member(in, node, "rows")) == nullptr) {
        return false;
    }
    Columns columns;
    if (!std::ranges::all_of(names, [&](const std::string& name) { return columns.add(name); })) {
        return false;
    }
    Unpacker cells(shared, out);
    return read_rows(in, *member, columns, cells) && in.take('}');
}

void decode(const Json& in, std::vector<Cell>& out) {
    std::vector<Cell> shared;
    decode<Cell>(in.at("shared"), shared);
    const Columns columns = decode_columns(in.at("numbers"));
    Unpacker cells(shared, out);
    std::size_t number = 0;
    for (const Json& row : in.at("rows")) {
        decode_row(row, "cells.rows[" + std::to_string(number++) + "]", columns, shared.size(),
                   cells);
    }
}

}  // namespace codec
}  // namespace bitsweep
