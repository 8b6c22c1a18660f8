// The values of an axis: one value, a list, {range}, {log, n}, {linear, n}, {each}.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "coordinator/expand/fields.h"
#include "coordinator/expand/text.h"

namespace bitsweep {
namespace {

using expand_text::error_at;
using expand_text::twelve_digits;
using yaml::Kind;
using yaml::Node;

constexpr std::array<std::string_view, 4> range_keys = {"range", "log", "linear", "n"};
constexpr std::array<std::string_view, 1> each_keys = {"each"};

bool has_any(const Node& node, std::span<const std::string_view> keys) {
    return std::ranges::any_of(keys, [&](std::string_view key) { return node.find(key); });
}

bool is_numeric(Field field) {
    const FieldType type = field_row(field).type;
    return type == FieldType::integer || type == FieldType::number;
}

struct Ends {
    std::vector<double> numbers;
};

Result<Ends> read_ends(const Node& node, std::string_view name, std::size_t least, std::size_t most,
                       const Files& file) {
    const std::string shape =
        "`" + std::string(name) + "` must be " +
        (most == 3 ? "[first, last] or [first, last, step]" : "[first, last]");
    if (node.kind != Kind::list || node.items.size() < least || node.items.size() > most) {
        return error_at(file, node.at, shape);
    }
    Ends ends;
    for (const Node& item : node.items) {
        double value = 0;
        const char* end = item.text.data() + item.text.size();
        const auto parsed = std::from_chars(item.text.data(), end, value);
        const bool number = item.kind == Kind::scalar && !item.quoted && !item.text.empty() &&
                            parsed.ec == std::errc{} && parsed.ptr == end && std::isfinite(value);
        if (!number) {
            return error_at(file, item.at, shape + " of numbers");
        }
        ends.numbers.push_back(value);
    }
    return ends;
}

Result<std::vector<double>> stepped(const Node& node, const Files& file) {
    const Ends ends = TRY(read_ends(node, "range", 2, 3, file));
    const double first = ends.numbers[0];
    const double last = ends.numbers[1];
    const double step = ends.numbers.size() == 3 ? ends.numbers[2] : last < first ? -1.0 : 1.0;
    if (step == 0 || (last - first) / step < 0) {
        return error_at(file, node.at,
                        "this range never reaches its end: give the step the sign of "
                        "last - first");
    }
    const double count = std::floor((last - first) / step + 1e-9) + 1;
    if (!(count <= static_cast<double>(max_cells))) {
        return error_at(file, node.at, "this range has more than 1000000 values");
    }
    std::vector<double> out;
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(count); ++i) {
        out.push_back(twelve_digits(first + static_cast<double>(i) * step));
    }
    return out;
}

Result<std::vector<double>> spaced(const Node& map, bool geometric, const Files& file) {
    const std::string_view name = geometric ? "log" : "linear";
    const Node& node = *map.find(name);
    const Ends ends = TRY(read_ends(node, name, 2, 2, file));
    const Node* n = map.find("n");
    if (n == nullptr) {
        return error_at(file, map.at,
                        "`" + std::string(name) + "` needs `n`, the number of values");
    }
    const std::int64_t count = TRY(read_integer("n", *n, 2, max_cells, file));
    const double first = ends.numbers[0];
    const double last = ends.numbers[1];
    if (geometric && !(first > 0 && last > 0)) {
        return error_at(file, node.at, "`log` is geometric: both ends must be above 0");
    }
    std::vector<double> out;
    for (std::int64_t i = 0; i < count; ++i) {
        const double share = static_cast<double>(i) / static_cast<double>(count - 1);
        const double value =
            geometric ? first * std::pow(last / first, share) : first + (last - first) * share;
        out.push_back(i == 0 ? first : i == count - 1 ? last : twelve_digits(value));
    }
    return out;
}

Result<std::vector<Value>> range_values(Field field, const Node& map, const Files& file) {
    TRY(check_keys(map, range_keys, file));
    const bool log = map.find("log") != nullptr;
    const bool linear = map.find("linear") != nullptr;
    const Node* range = map.find("range");
    if ((log ? 1 : 0) + (linear ? 1 : 0) + (range != nullptr ? 1 : 0) != 1) {
        return error_at(file, map.at,
                        "a range is one of {range: [first, last]}, "
                        "{log: [first, last], n: N} and {linear: [first, last], n: N}");
    }
    if (range != nullptr && map.find("n") != nullptr) {
        return error_at(file, map.find("n")->at,
                        "`range` takes a step, not `n`: "
                        "[first, last, step]");
    }
    const std::vector<double> numbers =
        range != nullptr ? TRY(stepped(*range, file)) : TRY(spaced(map, log, file));
    std::vector<Value> out;
    for (const double number : numbers) {
        Node node;
        node.kind = Kind::scalar;
        node.at = map.at;
        const bool whole = field_row(field).type == FieldType::integer;
        node.text = whole && range == nullptr ? std::to_string(std::llround(number))
                                              : expand_text::number_text(number);
        Value value = TRY(read_value(field, node, file));
        // Rounding to whole numbers may repeat one.
        if (out.empty() || out.back().key != value.key) {
            out.push_back(std::move(value));
        }
    }
    return out;
}

Result<std::vector<Value>> each_values(const Node& map, const Files& file) {
    TRY(check_keys(map, each_keys, file));
    const Node& each = *map.find("each");
    if (each.kind == Kind::list) {
        return read_values(Field::gpu, each, file);
    }
    if (each.kind != Kind::scalar || each.text != "any") {
        return error_at(file, each.at,
                        "`each` must be `any` or a list of kinds such as [T4, A100]");
    }
    return std::vector<Value>{Value{std::string("*"), "*", each.at}};
}

}  // namespace

bool is_dependent(Field field, const Node& node) {
    if (node.kind != Kind::map) {
        return false;
    }
    const FieldType type = field_row(field).type;
    const bool is_value = type == FieldType::model || type == FieldType::eval;
    const bool is_range = is_numeric(field) && has_any(node, range_keys);
    const bool is_each = type == FieldType::gpu && has_any(node, each_keys);
    return !is_value && !is_range && !is_each;
}

Result<std::vector<Value>> read_values(Field field, const Node& node, const Files& file) {
    if (node.kind == Kind::map && is_numeric(field)) {
        return range_values(field, node, file);
    }
    if (node.kind == Kind::map && field == Field::gpu) {
        return each_values(node, file);
    }
    if (node.kind != Kind::list) {
        std::vector<Value> out;
        out.push_back(TRY(read_value(field, node, file)));
        return out;
    }
    if (node.items.empty()) {
        return error_at(
            file, node.at,
            "`" + std::string(to_string(field)) + "` has no values: give one, or remove the line");
    }
    std::vector<Value> out;
    for (const Node& item : node.items) {
        if (item.kind == Kind::map && is_numeric(field)) {
            for (Value& value : TRY(range_values(field, item, file))) {
                out.push_back(std::move(value));
            }
        } else {
            out.push_back(TRY(read_value(field, item, file)));
        }
    }
    return out;
}

}  // namespace bitsweep
