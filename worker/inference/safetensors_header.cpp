#include "worker/inference/safetensors_header.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string_view>

#include "worker/inference/json_file.h"
#include "worker/inference/untrusted.h"

namespace bitsweep {
namespace {

constexpr std::uint64_t max_header_bytes = 100'000'000;  // the limit of the reference reader
constexpr std::uint64_t max_index_bytes = 256ull << 20;
constexpr std::size_t max_dimensions = 16;

struct DtypeRow {
    std::string_view name;
    std::uint64_t bits;
};

constexpr std::array dtypes = {
    DtypeRow{"BOOL", 8},    DtypeRow{"U8", 8},      DtypeRow{"I8", 8},      DtypeRow{"F8_E5M2", 8},
    DtypeRow{"F8_E4M3", 8}, DtypeRow{"F8_E8M0", 8}, DtypeRow{"I16", 16},    DtypeRow{"U16", 16},
    DtypeRow{"F16", 16},    DtypeRow{"BF16", 16},   DtypeRow{"I32", 32},    DtypeRow{"U32", 32},
    DtypeRow{"F32", 32},    DtypeRow{"F64", 64},    DtypeRow{"I64", 64},    DtypeRow{"U64", 64},
    DtypeRow{"C64", 64},    DtypeRow{"F4", 4},      DtypeRow{"F6_E2M3", 6}, DtypeRow{"F6_E3M2", 6},
};

std::optional<std::uint64_t> dtype_bits(std::string_view name) {
    for (const DtypeRow& row : dtypes) {
        if (row.name == name) {
            return row.bits;
        }
    }
    return std::nullopt;
}

Error corrupt(const std::string& label, const std::string& what) {
    return make_error(ErrorCode::corrupt, label + ": " + what);
}

std::optional<std::uint64_t> offset_at(const Json& offsets, std::size_t index) {
    if (!offsets[index].is_number_unsigned()) {
        return std::nullopt;
    }
    return offsets[index].get<std::uint64_t>();
}

Result<std::vector<std::int64_t>> read_shape(const Json& shape, const std::string& what,
                                             const std::string& label) {
    if (!shape.is_array() || shape.size() > max_dimensions) {
        return corrupt(label, what + " has no 'shape' list of at most 16 numbers");
    }
    std::vector<std::int64_t> out;
    for (const Json& dimension : shape) {
        if (!dimension.is_number_unsigned() ||
            dimension.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX)) {
            return corrupt(label, what + " has a dimension that is not a whole number >= 0");
        }
        out.push_back(static_cast<std::int64_t>(dimension.get<std::uint64_t>()));
    }
    return out;
}

// One entry; begin and end still count from the start of the buffer.
Result<SafetensorsEntry> read_entry(const std::string& name, const Json& value,
                                    std::uint64_t buffer_bytes, const std::string& label) {
    const std::string what = "tensor " + show_name(name);
    if (!value.is_object() || !value.contains("dtype") || !value.contains("shape") ||
        !value.contains("data_offsets") || !value["dtype"].is_string()) {
        return corrupt(label, what + " lacks 'dtype', 'shape' or 'data_offsets'");
    }
    SafetensorsEntry entry;
    entry.name = name;
    entry.dtype = value["dtype"].get<std::string>();
    const auto bits = dtype_bits(entry.dtype);
    if (!bits) {
        return make_error(ErrorCode::unsupported, label + ": " + what + " has dtype " +
                                                      show_name(entry.dtype) +
                                                      "; F32, F16 and BF16 can be read");
    }
    entry.shape = TRY(read_shape(value["shape"], what, label));
    const Json& offsets = value["data_offsets"];
    if (!offsets.is_array() || offsets.size() != 2 || !offset_at(offsets, 0) ||
        !offset_at(offsets, 1)) {
        return corrupt(label, what + " has no 'data_offsets' pair of whole numbers");
    }
    entry.begin = *offset_at(offsets, 0);
    entry.end = *offset_at(offsets, 1);
    const std::string range =
        "[" + std::to_string(entry.begin) + ", " + std::to_string(entry.end) + ")";
    if (entry.begin > entry.end || entry.end > buffer_bytes) {
        return corrupt(label, what + " claims bytes " + range + " of a buffer of " +
                                  std::to_string(buffer_bytes) +
                                  "; the file is truncated or its header is wrong");
    }
    std::uint64_t elements = 0;
    std::uint64_t size_bits = 0;
    if (!element_count(entry.shape, &elements) || !multiply(elements, *bits, &size_bits) ||
        size_bits % 8 != 0 || size_bits / 8 != entry.end - entry.begin) {
        return corrupt(label, what + " of dtype " + entry.dtype + " and shape " +
                                  shape_text(entry.shape) + " does not take the " +
                                  std::to_string(entry.end - entry.begin) + " bytes of its range " +
                                  range);
    }
    return entry;
}

Status check_coverage(const std::vector<SafetensorsEntry>& entries, std::uint64_t buffer_bytes,
                      const std::string& label) {
    std::uint64_t covered = 0;
    const std::string* previous = nullptr;
    for (const SafetensorsEntry& entry : entries) {
        if (entry.begin < covered) {
            return corrupt(label, "tensors " + show_name(*previous) + " and " +
                                      show_name(entry.name) + " overlap at byte " +
                                      std::to_string(entry.begin) + " of the buffer");
        }
        if (entry.begin > covered) {
            return corrupt(label, "bytes [" + std::to_string(covered) + ", " +
                                      std::to_string(entry.begin) +
                                      ") of the buffer belong to no tensor");
        }
        covered = entry.end;
        previous = &entry.name;
    }
    if (covered != buffer_bytes) {
        return corrupt(label, "bytes [" + std::to_string(covered) + ", " +
                                  std::to_string(buffer_bytes) +
                                  ") of the buffer belong to no tensor");
    }
    return {};
}

// The JSON text of the header, and where the buffer starts.
Result<std::string_view> header_text(std::span<const std::byte> file, const std::string& label) {
    if (file.size() < 8) {
        return corrupt(label, "has " + std::to_string(file.size()) +
                                  " bytes; a safetensors file starts with 8 bytes of length");
    }
    std::uint64_t length = 0;
    std::memcpy(&length, file.data(), 8);
    if (length > max_header_bytes) {
        return corrupt(label, "header claims " + std::to_string(length) +
                                  " bytes; at most 100000000 are allowed, so this is not a "
                                  "safetensors file");
    }
    if (length > file.size() - 8) {
        return corrupt(label, "header claims " + std::to_string(length) + " bytes but only " +
                                  std::to_string(file.size() - 8) +
                                  " follow; the file is truncated");
    }
    const std::string_view text(reinterpret_cast<const char*>(file.data()) + 8, length);
    if (text.empty() || text.front() != '{') {
        return corrupt(label, "header does not start with '{'; this is not a safetensors file");
    }
    return text;
}

}  // namespace

Result<std::vector<SafetensorsEntry>> parse_safetensors_header(std::span<const std::byte> file,
                                                               const std::string& label) {
    const std::string_view text = TRY(header_text(file, label));
    const std::uint64_t buffer_start = 8 + text.size();
    const std::uint64_t buffer_bytes = file.size() - buffer_start;
    const Json header = TRY(parse_json(text, label + ": header"));
    std::vector<SafetensorsEntry> entries;
    for (const auto& [name, value] : header.items()) {
        if (name != "__metadata__") {
            entries.push_back(TRY(read_entry(name, value, buffer_bytes, label)));
        }
    }
    std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
        return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
    });
    TRY(check_coverage(entries, buffer_bytes, label));
    for (SafetensorsEntry& entry : entries) {
        entry.begin += buffer_start;
        entry.end += buffer_start;
    }
    return entries;
}

Result<std::map<std::string, std::string>> read_safetensors_index(
    const std::filesystem::path& index_json) {
    const std::string label = index_json.string();
    const Json root = TRY(read_json_file(index_json, max_index_bytes));
    if (!root.is_object() || !root.contains("weight_map") || !root["weight_map"].is_object() ||
        root["weight_map"].empty()) {
        return corrupt(label, "has no 'weight_map' object; wanted tensor names with their files");
    }
    std::map<std::string, std::string> shards;
    for (const auto& [name, value] : root["weight_map"].items()) {
        const std::string shard = value.is_string() ? value.get<std::string>() : "";
        const bool stays = !shard.empty() && shard.find('/') == std::string::npos &&
                           shard.find('\0') == std::string::npos && shard != "." && shard != "..";
        if (!stays) {
            return corrupt(label, "tensor " + show_name(name) + " is in " + show_name(shard) +
                                      "; wanted the name of a file in the same folder");
        }
        shards[name] = shard;
    }
    return shards;
}

}  // namespace bitsweep
