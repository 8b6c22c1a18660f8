#include <cstring>
#include <functional>
#include <map>
#include <set>

#include "worker/inference/float_convert.h"
#include "worker/inference/mapped_file.h"
#include "worker/inference/safetensors_header.h"
#include "worker/inference/tensor_view.h"
#include "worker/inference/untrusted.h"
#include "worker/inference/weight_names.h"
#include "worker/inference/weights.h"

namespace bitsweep {
namespace {

constexpr char single_name[] = "model.safetensors";
constexpr char index_name[] = "model.safetensors.index.json";

enum class Dtype { f32, f16, bf16, other };

Dtype dtype_of(std::string_view name) {
    return name == "F32"    ? Dtype::f32
           : name == "F16"  ? Dtype::f16
           : name == "BF16" ? Dtype::bf16
                            : Dtype::other;
}

std::size_t bytes_of(Dtype dtype) {
    return dtype == Dtype::f32 ? 4 : 2;
}

void convert(Dtype dtype, const std::byte* src, float* dst, std::size_t count) {
    switch (dtype) {
        case Dtype::f32:
            std::memcpy(dst, src, count * sizeof(float));
            break;
        case Dtype::f16:
            f16_to_f32(src, dst, count);
            break;
        case Dtype::bf16:
            bf16_to_f32(src, dst, count);
            break;
        case Dtype::other:
            ASSERT(false);  // refused when the file was opened
    }
}

struct Tensor {
    std::shared_ptr<const MappedFile> file;
    const std::byte* data = nullptr;
    std::string dtype_name;
    Dtype dtype = Dtype::other;
    std::vector<std::int64_t> shape;  // logical
    bool is_transposed = false;       // stored [in, out]
};

using TensorMap = std::map<std::string, Tensor, std::less<>>;  // ordered: messages are stable

// Rows [begin, end) of a [out, in] matrix that is stored [in, out]. One stored row at a time, so
// that memory is read in its own order.
void read_transposed(const Tensor& tensor, std::int64_t begin, std::int64_t end, float* dst) {
    const std::int64_t out = tensor.shape[0];
    const std::int64_t in = tensor.shape[1];
    const std::int64_t count = end - begin;
    const std::size_t element = bytes_of(tensor.dtype);
    std::vector<float> stored(static_cast<std::size_t>(count));
    for (std::int64_t i = 0; i < in; ++i) {
        convert(tensor.dtype, tensor.data + static_cast<std::size_t>(i * out + begin) * element,
                stored.data(), stored.size());
        for (std::int64_t row = 0; row < count; ++row) {
            dst[row * in + i] = stored[static_cast<std::size_t>(row)];
        }
    }
}

class SafetensorsSource final : public WeightSource {
 public:
    SafetensorsSource(std::string label, TensorMap tensors)
        : label_(std::move(label)), tensors_(std::move(tensors)) {}

    bool contains(std::string_view name) const override { return find(name) != nullptr; }

    Result<std::vector<std::int64_t>> shape(std::string_view name) const override {
        const Tensor* tensor = find(name);
        if (tensor == nullptr) {
            return missing(name);
        }
        return tensor->shape;
    }

    Status read_rows(std::string_view name, std::int64_t begin, std::int64_t end,
                     float* dst) const override {
        const Tensor* tensor = find(name);
        if (tensor == nullptr) {
            return missing(name);
        }
        if (tensor->dtype == Dtype::other) {
            return make_error(ErrorCode::unsupported, label_ + ": tensor " + show_name(name) +
                                                          " has dtype " + tensor->dtype_name +
                                                          "; F32, F16 and BF16 can be read");
        }
        const RowLayout layout = row_layout(tensor->shape);
        TRY(check_rows(name, layout, begin, end));
        if (begin == end) {
            return {};
        }
        if (tensor->is_transposed) {
            read_transposed(*tensor, begin, end, dst);
            return {};
        }
        const auto first = static_cast<std::size_t>(begin * layout.columns);
        const auto count = static_cast<std::size_t>((end - begin) * layout.columns);
        convert(tensor->dtype, tensor->data + first * bytes_of(tensor->dtype), dst, count);
        return {};
    }

    std::string stored_type(std::string_view name) const override {
        const Tensor* tensor = find(name);
        return tensor == nullptr ? "" : tensor->dtype_name;
    }

 private:
    const Tensor* find(std::string_view name) const {
        const auto it = tensors_.find(name);
        return it == tensors_.end() ? nullptr : &it->second;
    }

    Error missing(std::string_view name) const {
        std::vector<std::string> known;
        for (const auto& [stored, tensor] : tensors_) {
            known.push_back(stored);
        }
        return no_such_tensor(label_, name, known);
    }

    std::string label_;
    TensorMap tensors_;
};

// Adds the tensors of one file under their canonical names.
Status add_file(const std::filesystem::path& path, const ModelConfig& config, TensorMap* tensors,
                std::set<std::string>* file_names) {
    const auto file = TRY(MappedFile::open(path));
    const std::string label = path.string();
    for (SafetensorsEntry& entry : TRY(parse_safetensors_header(file->bytes(), label))) {
        std::string name = canonical_name(config.family, entry.name);
        file_names->insert(entry.name);
        Tensor tensor;
        tensor.file = file;
        tensor.data = file->bytes().data() + entry.begin;
        tensor.dtype = dtype_of(entry.dtype);
        tensor.dtype_name = std::move(entry.dtype);
        tensor.shape = std::move(entry.shape);
        if (is_conv1d_weight(config.family, name) && tensor.shape.size() == 2) {
            std::swap(tensor.shape[0], tensor.shape[1]);
            tensor.is_transposed = true;
        }
        const auto [it, is_new] = tensors->emplace(std::move(name), std::move(tensor));
        if (!is_new) {
            return make_error(ErrorCode::corrupt, label + ": tensor " + show_name(it->first) +
                                                      " is stored twice (also in " +
                                                      it->second.file->path().string() + ")");
        }
    }
    return {};
}

Status add_shards(const std::filesystem::path& folder, const ModelConfig& config,
                  TensorMap* tensors) {
    const std::filesystem::path index = folder / index_name;
    const auto shard_of = TRY(read_safetensors_index(index));
    std::map<std::string, std::set<std::string>> names_in;
    for (const auto& [name, shard] : shard_of) {
        names_in[shard];
    }
    for (auto& [shard, names] : names_in) {
        if (!std::filesystem::exists(folder / shard)) {
            return make_error(ErrorCode::not_found, (folder / shard).string() +
                                                        ": no such file, but " + index_name +
                                                        " lists it; the download is incomplete");
        }
        TRY(add_file(folder / shard, config, tensors, &names));
    }
    for (const auto& [name, shard] : shard_of) {
        if (!names_in[shard].contains(name)) {
            return make_error(ErrorCode::corrupt, (folder / shard).string() + ": tensor " +
                                                      show_name(name) + " is not in it, but " +
                                                      index_name + " says so");
        }
    }
    return {};
}

// Each tensor that the model reads is there with the shape of the config and a type that can be
// read, and no tensor inside a layer is left over.
Status check_tensors(const std::string& label, const ModelConfig& config,
                     const SafetensorsSource& source, const TensorMap& tensors) {
    std::set<std::string_view> wanted;
    const std::vector<TensorSpec> required = required_tensors(config);
    for (const TensorSpec& spec : required) {
        const auto stored = TRY(source.shape(spec.name));
        const Tensor& tensor = tensors.find(spec.name)->second;
        const std::string file = tensor.file->path().string();
        if (stored != spec.shape) {
            return shape_disagrees(file, spec.name, stored, spec.shape, "config.json");
        }
        if (tensor.dtype == Dtype::other) {
            return make_error(ErrorCode::unsupported, file + ": tensor " + show_name(spec.name) +
                                                          " has dtype " + tensor.dtype_name +
                                                          "; F32, F16 and BF16 can be read");
        }
        wanted.insert(spec.name);
    }
    for (const auto& [name, tensor] : tensors) {
        if (!wanted.contains(name) && is_layer_tensor(config.family, name) &&
            !is_ignored_tensor(config, name)) {
            return make_error(ErrorCode::unsupported,
                              label + ": tensor " + show_name(name) +
                                  " has no place in the model that config.json describes (" +
                                  std::to_string(config.layers) + " layers)");
        }
    }
    return {};
}

}  // namespace

Result<std::unique_ptr<WeightSource>> open_safetensors(const std::filesystem::path& folder,
                                                       const ModelConfig& config) {
    TensorMap tensors;
    std::string label = (folder / single_name).string();
    std::error_code ignored;
    if (std::filesystem::exists(folder / single_name, ignored)) {
        std::set<std::string> names;
        TRY(add_file(folder / single_name, config, &tensors, &names));
    } else if (std::filesystem::exists(folder / index_name, ignored)) {
        label = (folder / index_name).string();
        TRY(add_shards(folder, config, &tensors));
    } else {
        const bool has_pickle = std::filesystem::exists(folder / "pytorch_model.bin", ignored);
        return make_error(
            ErrorCode::not_found,
            folder.string() + ": neither " + single_name + " nor " + index_name +
                (has_pickle ? "; pytorch_model.bin is not read (pickle runs code): save it again "
                              "as safetensors"
                            : "; wanted a Hugging Face folder with safetensors weights"));
    }
    auto source = std::make_unique<SafetensorsSource>(label, tensors);
    TRY(check_tensors(label, config, *source, tensors));
    return std::unique_ptr<WeightSource>(std::move(source));
}

}  // namespace bitsweep
