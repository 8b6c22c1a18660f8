#include "worker/inference/gguf_reader.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "worker/inference/untrusted.h"

namespace bitsweep {
namespace {

constexpr std::uint64_t default_alignment = 32;
constexpr std::uint64_t max_alignment = 1ull << 20;
constexpr std::uint32_t max_dimensions = 4;              // GGML_MAX_DIMS
constexpr std::uint64_t max_name_bytes = 65535;          // of a metadata key, by the specification
constexpr std::uint64_t max_array_entries = 1ull << 24;  // vocabularies so far: below 300,000
constexpr std::uint64_t smallest_pair_bytes = 13;        // key length, type, one byte of value
constexpr std::uint64_t smallest_info_bytes = 32;        // name length, one dimension, type, offset

enum ValueType : std::uint32_t {
    type_u8,
    type_i8,
    type_u16,
    type_i16,
    type_u32,
    type_i32,
    type_f32,
    type_bool,
    type_string,
    type_array,
    type_u64,
    type_i64,
    type_f64,
    type_count
};
constexpr std::uint64_t type_bytes[type_count] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};

// A position in the file that cannot leave it. Messages say which thing was being read.
class Cursor {
 public:
    Cursor(std::span<const std::byte> bytes, std::string label)
        : bytes_(bytes), label_(std::move(label)) {}

    std::uint64_t position() const { return position_; }
    std::uint64_t remaining() const { return bytes_.size() - position_; }
    const std::string& label() const { return label_; }

    template <class T>
    Result<T> read(const std::string& what) {
        if (remaining() < sizeof(T)) {
            return truncated(what);
        }
        T value;
        std::memcpy(&value, bytes_.data() + position_, sizeof(T));
        position_ += sizeof(T);
        return value;
    }

    Result<std::string_view> string(const std::string& what) {
        const auto length = TRY(read<std::uint64_t>(what));
        if (length > remaining()) {
            return corrupt(what + " claims a string of " + std::to_string(length) +
                           " bytes but only " + std::to_string(remaining()) + " follow");
        }
        const std::string_view text(reinterpret_cast<const char*>(bytes_.data()) + position_,
                                    length);
        position_ += length;
        return text;
    }

    // Refuses a count whose smallest possible content is longer than the rest of the file.
    Status check_count(std::uint64_t count, std::uint64_t smallest, const std::string& what) const {
        if (count > remaining() / smallest) {
            return corrupt(what + " claims " + std::to_string(count) + " entries but only " +
                           std::to_string(remaining()) + " bytes follow");
        }
        return {};
    }

    Error corrupt(const std::string& what) const {
        return make_error(ErrorCode::corrupt, label_ + ": " + what);
    }

 private:
    Error truncated(const std::string& what) const {
        return corrupt("ends at byte " + std::to_string(bytes_.size()) + " inside " + what +
                       "; the file is truncated");
    }

    std::span<const std::byte> bytes_;
    std::string label_;
    std::uint64_t position_ = 0;
};

// One number or bool of a metadata value.
Result<GgufValue> read_scalar(Cursor& cursor, std::uint32_t type, const std::string& what) {
    switch (type) {
        case type_u8:
            return GgufValue(std::uint64_t{TRY(cursor.read<std::uint8_t>(what))});
        case type_u16:
            return GgufValue(std::uint64_t{TRY(cursor.read<std::uint16_t>(what))});
        case type_u32:
            return GgufValue(std::uint64_t{TRY(cursor.read<std::uint32_t>(what))});
        case type_u64:
            return GgufValue(TRY(cursor.read<std::uint64_t>(what)));
        case type_i8:
            return GgufValue(std::int64_t{TRY(cursor.read<std::int8_t>(what))});
        case type_i16:
            return GgufValue(std::int64_t{TRY(cursor.read<std::int16_t>(what))});
        case type_i32:
            return GgufValue(std::int64_t{TRY(cursor.read<std::int32_t>(what))});
        case type_i64:
            return GgufValue(TRY(cursor.read<std::int64_t>(what)));
        case type_f32:
            return GgufValue(double{TRY(cursor.read<float>(what))});
        case type_f64:
            return GgufValue(TRY(cursor.read<double>(what)));
        case type_bool:
            return GgufValue(TRY(cursor.read<std::uint8_t>(what)) != 0);
        case type_string:
            return GgufValue(TRY(cursor.string(what)));
        default:
            return cursor.corrupt(what + " has the unknown value type " + std::to_string(type));
    }
}

Result<GgufValue> read_array(Cursor& cursor, const std::string& what) {
    const auto type = TRY(cursor.read<std::uint32_t>(what));
    const auto count = TRY(cursor.read<std::uint64_t>(what));
    if (type >= type_count) {
        return cursor.corrupt(what + " is an array of the unknown type " + std::to_string(type));
    }
    if (type == type_array) {
        return make_error(ErrorCode::unsupported, cursor.label() + ": " + what +
                                                      " is an array of arrays; no key that "
                                                      "bitsweep reads is one");
    }
    TRY(cursor.check_count(count, type_bytes[type], what));
    if (count > max_array_entries) {
        return cursor.corrupt(what + " claims " + std::to_string(count) +
                              " entries; at most 16777216 are read");
    }
    std::vector<std::string_view> strings;
    std::vector<std::int64_t> integers;
    std::vector<double> reals;
    for (std::uint64_t i = 0; i < count; ++i) {
        const GgufValue value = TRY(read_scalar(cursor, type, what));
        if (const auto* text = std::get_if<std::string_view>(&value)) {
            strings.push_back(*text);
        } else if (const auto* real = std::get_if<double>(&value)) {
            reals.push_back(*real);
        } else if (const auto* wide = std::get_if<std::uint64_t>(&value)) {
            integers.push_back(static_cast<std::int64_t>(*wide));
        } else if (const auto* flag = std::get_if<bool>(&value)) {
            integers.push_back(*flag ? 1 : 0);
        } else {
            integers.push_back(std::get<std::int64_t>(value));
        }
    }
    if (type == type_string) {
        return GgufValue(std::move(strings));
    }
    if (type == type_f32 || type == type_f64) {
        return GgufValue(std::move(reals));
    }
    return GgufValue(std::move(integers));
}

Status read_metadata(Cursor& cursor, std::uint64_t count, GgufFile* out) {
    TRY(cursor.check_count(count, smallest_pair_bytes, "the metadata"));
    for (std::uint64_t i = 0; i < count; ++i) {
        const std::string what = "metadata key " + std::to_string(i);
        const std::string_view key = TRY(cursor.string(what));
        if (key.empty() || key.size() > max_name_bytes) {
            return cursor.corrupt(what + " has a name of " + std::to_string(key.size()) +
                                  " bytes; wanted 1 to 65535");
        }
        const std::string named = "metadata " + show_name(key);
        const auto type = TRY(cursor.read<std::uint32_t>(named));
        GgufValue value =
            TRY(type == type_array ? read_array(cursor, named) : read_scalar(cursor, type, named));
        if (!out->metadata.emplace(std::string(key), std::move(value)).second) {
            return cursor.corrupt(named + " appears twice");
        }
    }
    return {};
}

struct TensorInfo {
    GgufTensor tensor;
    std::uint64_t offset = 0;
};

Result<TensorInfo> read_tensor_info(Cursor& cursor, std::uint64_t index) {
    const std::string_view name = TRY(cursor.string("tensor info " + std::to_string(index)));
    const std::string what = "tensor " + show_name(name);
    TensorInfo info;
    info.tensor.name = name;
    const auto dimensions = TRY(cursor.read<std::uint32_t>(what));
    if (dimensions < 1 || dimensions > max_dimensions) {
        return cursor.corrupt(what + " has " + std::to_string(dimensions) +
                              " dimensions; wanted 1 to 4");
    }
    for (std::uint32_t i = 0; i < dimensions; ++i) {
        const auto dimension = TRY(cursor.read<std::uint64_t>(what));
        if (dimension < 1 || dimension > static_cast<std::uint64_t>(INT64_MAX)) {
            return cursor.corrupt(what + " has a dimension of " + std::to_string(dimension));
        }
        info.tensor.shape.insert(info.tensor.shape.begin(), static_cast<std::int64_t>(dimension));
    }
    const auto type = TRY(cursor.read<std::uint32_t>(what));
    info.offset = TRY(cursor.read<std::uint64_t>(what));
    const GgufTypeRow* row = find_gguf_type(type);
    if (row == nullptr) {
        const std::string_view known = gguf_type_name(type);
        return make_error(ErrorCode::unsupported,
                          cursor.label() + ": " + what + " has type " +
                              (known.empty() ? std::to_string(type) : std::string(known)) + "; " +
                              std::string(readable_gguf_types()) + " can be read");
    }
    info.tensor.type = row->type;
    std::uint64_t elements = 0;
    std::uint64_t bytes = 0;
    const auto columns = static_cast<std::uint64_t>(info.tensor.shape.back());
    if (columns % row->block != 0 || !element_count(info.tensor.shape, &elements) ||
        !multiply(elements / row->block, row->block_bytes, &bytes)) {
        return cursor.corrupt(what + " of type " + std::string(row->name) + " cannot have shape " +
                              shape_text(info.tensor.shape));
    }
    info.tensor.bytes = bytes;
    return info;
}

Result<std::uint64_t> alignment_of(const GgufFile& file) {
    if (!file.has("general.alignment")) {
        return default_alignment;
    }
    const std::int64_t value = TRY(file.integer("general.alignment"));
    if (value < 1 || static_cast<std::uint64_t>(value) > max_alignment ||
        !std::has_single_bit(static_cast<std::uint64_t>(value))) {
        return make_error(ErrorCode::corrupt, file.label() + ": metadata 'general.alignment' is " +
                                                  std::to_string(value) +
                                                  "; wanted a power of two up to 1048576");
    }
    return static_cast<std::uint64_t>(value);
}

// Gives each tensor its bytes, and checks that they are inside the file and nobody else's.
Status place_tensors(Cursor& cursor, std::vector<TensorInfo> infos, std::uint64_t alignment,
                     GgufFile* out) {
    const std::span<const std::byte> bytes = out->file->bytes();
    // A file without tensors may end before the padding.
    const std::uint64_t data_start = std::min<std::uint64_t>(
        (cursor.position() + alignment - 1) / alignment * alignment, bytes.size());
    const std::uint64_t data_bytes = bytes.size() - data_start;
    std::sort(infos.begin(), infos.end(), [](const TensorInfo& a, const TensorInfo& b) {
        return std::pair(a.offset, a.tensor.bytes) < std::pair(b.offset, b.tensor.bytes);
    });
    std::uint64_t used = 0;
    std::string previous;
    for (TensorInfo& info : infos) {
        const std::string what = "tensor " + show_name(info.tensor.name);
        if (info.offset % alignment != 0) {
            return cursor.corrupt(what + " starts at offset " + std::to_string(info.offset) +
                                  ", not a multiple of the alignment " + std::to_string(alignment));
        }
        if (info.offset > data_bytes || info.tensor.bytes > data_bytes - info.offset) {
            return cursor.corrupt(what + " needs " + std::to_string(info.tensor.bytes) +
                                  " bytes at offset " + std::to_string(info.offset) +
                                  " but the data has " + std::to_string(data_bytes) +
                                  "; the file is truncated or its header is wrong");
        }
        if (info.offset < used) {
            return cursor.corrupt("tensors " + previous + " and " + show_name(info.tensor.name) +
                                  " overlap at offset " + std::to_string(info.offset));
        }
        used = info.offset + info.tensor.bytes;
        previous = show_name(info.tensor.name);
        info.tensor.data = bytes.data() + data_start + info.offset;
        std::string name = info.tensor.name;
        if (!out->tensors.emplace(std::move(name), std::move(info.tensor)).second) {
            return cursor.corrupt("tensor " + previous + " appears twice");
        }
    }
    return {};
}

Result<std::uint32_t> read_version(Cursor& cursor) {
    const auto magic = TRY(cursor.read<std::uint32_t>("the magic number"));
    if (magic != 0x46554747u) {  // "GGUF"
        char shown[4];
        std::memcpy(shown, &magic, 4);
        return cursor.corrupt("starts with " + show_name({shown, 4}) +
                              "; a GGUF file starts with 'GGUF'");
    }
    const auto version = TRY(cursor.read<std::uint32_t>("the version"));
    if (version != 2 && version != 3) {
        const std::uint32_t swapped = __builtin_bswap32(version);
        const bool is_big_endian = swapped == 2 || swapped == 3;
        return make_error(ErrorCode::unsupported,
                          cursor.label() + ": GGUF version " +
                              (is_big_endian ? std::to_string(swapped) + " in big-endian order"
                                             : std::to_string(version)) +
                              "; versions 2 and 3, little-endian, can be read");
    }
    return version;
}

Error absent(const GgufFile& file, std::string_view key) {
    return make_error(ErrorCode::not_found,
                      file.label() + ": metadata " + show_name(key) + " is missing");
}
Error mistyped(const GgufFile& file, std::string_view key, const char* wanted) {
    return make_error(ErrorCode::corrupt,
                      file.label() + ": metadata " + show_name(key) + " is not " + wanted);
}

}  // namespace

Result<std::int64_t> GgufFile::integer(std::string_view key) const {
    const auto it = metadata.find(key);
    if (it == metadata.end()) {
        return absent(*this, key);
    }
    if (const auto* value = std::get_if<std::uint64_t>(&it->second);
        value != nullptr && *value <= static_cast<std::uint64_t>(INT64_MAX)) {
        return static_cast<std::int64_t>(*value);
    }
    if (const auto* value = std::get_if<std::int64_t>(&it->second)) {
        return *value;
    }
    return mistyped(*this, key, "an integer");
}

Result<double> GgufFile::number(std::string_view key) const {
    const auto it = metadata.find(key);
    if (it == metadata.end()) {
        return absent(*this, key);
    }
    if (const auto* value = std::get_if<double>(&it->second)) {
        return *value;
    }
    return mistyped(*this, key, "a floating-point number");
}

Result<std::string_view> GgufFile::text(std::string_view key) const {
    const auto it = metadata.find(key);
    if (it == metadata.end()) {
        return absent(*this, key);
    }
    if (const auto* value = std::get_if<std::string_view>(&it->second)) {
        return *value;
    }
    return mistyped(*this, key, "a string");
}

Result<bool> GgufFile::flag_or(std::string_view key, bool fallback) const {
    const auto it = metadata.find(key);
    if (it == metadata.end()) {
        return fallback;
    }
    if (const auto* value = std::get_if<bool>(&it->second)) {
        return *value;
    }
    return mistyped(*this, key, "a bool");
}

Result<GgufFile> read_gguf(const std::filesystem::path& path) {
    GgufFile out;
    out.file = TRY(MappedFile::open(path));
    Cursor cursor(out.file->bytes(), path.string());
    out.version = TRY(read_version(cursor));
    const auto tensor_count = TRY(cursor.read<std::uint64_t>("the tensor count"));
    const auto pair_count = TRY(cursor.read<std::uint64_t>("the metadata count"));
    TRY(read_metadata(cursor, pair_count, &out));
    TRY(cursor.check_count(tensor_count, smallest_info_bytes, "the tensor list"));
    std::vector<TensorInfo> infos;
    for (std::uint64_t i = 0; i < tensor_count; ++i) {
        infos.push_back(TRY(read_tensor_info(cursor, i)));
    }
    TRY(place_tensors(cursor, std::move(infos), TRY(alignment_of(out)), &out));
    return out;
}

}  // namespace bitsweep
