#include "worker/runner/calibration_store.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <vector>

#include "worker/inference/mapped_file.h"
#include "worker/inference/safetensors_header.h"
#include "worker/runner/safetensors_writer.h"

namespace bitsweep {
namespace {

namespace fs = std::filesystem;

// Tensor names in the file: "<weight>|columns" and so on; a plain vector has no bar.
constexpr char bar = '|';

fs::path default_folder() {
    if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && cache[0] == '/') {
        return fs::path(cache) / "bitsweep" / "calibrations";
    }
    const char* home = std::getenv("HOME");
    return home != nullptr && home[0] == '/'
               ? fs::path(home) / ".cache" / "bitsweep" / "calibrations"
               : fs::path();
}

// The numbers of one weight, in the order of "<weight>|numbers".
struct Numbers {
    std::int32_t group = 0;
    std::int32_t offset = 0;
    std::int32_t grid_width = 0;
};

// What making it took, as float32: three digits are enough for a report.
struct Cost {
    float seconds = 0;
    float peak_bytes = 0;
};

class List {
 public:
    template <class T>
    void add(const std::string& name, const char* dtype, const std::vector<T>& values) {
        if (!values.empty()) {
            add(name, dtype, values.data(), values.size());
        }
    }
    template <class T>
    void add(const std::string& name, const char* dtype, const T* values, std::size_t count) {
        tensors_.push_back({name,
                            dtype,
                            {static_cast<std::int64_t>(count)},
                            std::as_bytes(std::span(values, count))});
    }
    const std::vector<TensorToWrite>& tensors() const { return tensors_; }

 private:
    std::vector<TensorToWrite> tensors_;
};

template <class T>
void copy_values(std::span<const std::byte> bytes, std::vector<T>& to) {
    to.resize(bytes.size() / sizeof(T));
    std::memcpy(to.data(), bytes.data(), to.size() * sizeof(T));
}

// One tensor of the file into its place; false: not one of ours.
bool take(const std::string& name, const std::string& dtype, std::span<const std::byte> bytes,
          Calibration& to) {
    const std::size_t at = name.find(bar);
    if (at == std::string::npos) {
        copy_values(bytes, to.vectors[name]);
        return dtype == "F32";
    }
    const std::string part = name.substr(at + 1);
    if (name.starts_with(bar)) {
        Cost cost;
        if (part != "cost" || bytes.size() != sizeof cost || dtype != "F32") {
            return false;
        }
        std::memcpy(&cost, bytes.data(), sizeof cost);
        to.time_ns = static_cast<std::int64_t>(static_cast<double>(cost.seconds) * 1e9);
        to.peak_bytes = static_cast<std::uint64_t>(cost.peak_bytes);
        return cost.seconds >= 0 && cost.seconds < 1e9f && cost.peak_bytes >= 0 &&
               cost.peak_bytes < 1e18f;
    }
    CalibratedWeight& weight = to.weights[name.substr(0, at)];
    if (part == "numbers") {
        Numbers numbers;
        if (bytes.size() != sizeof numbers || dtype != "I32") {
            return false;
        }
        std::memcpy(&numbers, bytes.data(), sizeof numbers);
        weight.group = numbers.group;
        weight.offset = numbers.offset;
        weight.grid_width = numbers.grid_width;
        return true;
    }
    if (part == "codes") {
        copy_values(bytes, weight.codes);
        return dtype == "U8";
    }
    for (const auto& [known, values] :
         {std::pair{"columns", &weight.columns}, std::pair{"rows", &weight.rows},
          std::pair{"clip", &weight.clip}, std::pair{"grid", &weight.grid}}) {
        if (part == known) {
            copy_values(bytes, *values);
            return dtype == "F32";
        }
    }
    return false;
}

}  // namespace

CalibrationStore::CalibrationStore(fs::path folder)
    : folder_(folder.empty() ? default_folder() : std::move(folder)) {}

fs::path CalibrationStore::file_of(const std::string& key) const {
    return folder_ / (key + ".safetensors");
}

Result<Calibration> CalibrationStore::read(const std::string& key) const {
    if (folder_.empty()) {
        return make_error(ErrorCode::not_found, "no folder to keep calibrations in");
    }
    const fs::path file = file_of(key);
    const auto mapped = TRY(MappedFile::open(file));
    Calibration calibration;
    for (const SafetensorsEntry& entry :
         TRY(parse_safetensors_header(mapped->bytes(), file.string()))) {
        const auto bytes = mapped->bytes().subspan(entry.begin, entry.end - entry.begin);
        if (!take(entry.name, entry.dtype, bytes, calibration)) {
            return make_error(ErrorCode::corrupt, file.string() + ": tensor " + entry.name +
                                                      " is no part of a calibration; delete it");
        }
    }
    return calibration;
}

Status CalibrationStore::write(const std::string& key, const Calibration& calibration) const {
    std::error_code failed;
    fs::create_directories(folder_, failed);
    if (failed) {
        return make_error(ErrorCode::io,
                          "cannot make " + folder_.string() + ": " + failed.message());
    }
    const Cost cost{static_cast<float>(calibration.time_ns) * 1e-9f,
                    static_cast<float>(calibration.peak_bytes)};
    std::vector<Numbers> numbers;
    numbers.reserve(calibration.weights.size());
    List list;
    list.add("|cost", "F32", &cost.seconds, 2);
    for (const auto& [name, weight] : calibration.weights) {
        const Numbers& own =
            numbers.emplace_back(Numbers{static_cast<std::int32_t>(weight.group), weight.offset,
                                         static_cast<std::int32_t>(weight.grid_width)});
        list.add(name + "|numbers", "I32", &own.group, 3);
        list.add(name + "|columns", "F32", weight.columns);
        list.add(name + "|rows", "F32", weight.rows);
        list.add(name + "|clip", "F32", weight.clip);
        list.add(name + "|codes", "U8", weight.codes);
        list.add(name + "|grid", "F32", weight.grid);
    }
    for (const auto& [name, values] : calibration.vectors) {
        list.add(name, "F32", values);
    }
    return write_safetensors(file_of(key), list.tensors(), {{"what", "bitsweep calibration"}});
}

}  // namespace bitsweep
