#include "worker/inference/models/loader.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "schemas/catalog/edit_distance.h"
#include "worker/inference/weights.h"

namespace bitsweep {
namespace {

std::int64_t now_ns() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
    std::string text = "[";
    for (const std::int64_t size : shape) {
        text += (text.size() > 1 ? ", " : "") + std::to_string(size);
    }
    return text + "]";
}

// Values per share of a parallel read: about 1 ms of the random generator.
constexpr std::int64_t values_per_share = 64 << 10;

}  // namespace

std::int64_t Loader::Joint::out_features() const {
    std::int64_t sum = 0;
    for (const Piece& piece : pieces) {
        sum += piece.out_features;
    }
    return sum;
}

Result<MethodOptions> Loader::method_of(const std::string& name) const {
    if (options_.method.family != MethodFamily::mixed) {
        return MethodOptions{options_.method, options_.threshold};
    }
    const auto found = options_.layers.find(name);
    if (found == options_.layers.end()) {
        return make_error(ErrorCode::invalid_input, config_.name + ": the policy says nothing of " +
                                                        "layer " + name +
                                                        "; it must name every linear layer");
    }
    return MethodOptions{found->second.method, found->second.threshold};
}

Status Loader::check_layers(const std::vector<LinearInput>& inputs) const {
    for (const auto& [wanted, method] : options_.layers) {
        const bool known = std::ranges::any_of(
            inputs, [&](const LinearInput& input) { return input.name == wanted; });
        if (known || inputs.empty()) {
            continue;
        }
        // Bounded: a policy comes from a file.
        const std::string name = wanted.substr(0, 200);
        const auto nearest = std::ranges::min_element(inputs, {}, [&](const LinearInput& input) {
            return edit_distance(name, input.name);
        });
        return make_error(ErrorCode::invalid_input,
                          config_.name + ": the policy names layer " + name +
                              ", which this model does not have; did you mean " + nearest->name +
                              "?");
    }
    return {};
}

Status Loader::check_shape(const std::string& name, std::vector<std::int64_t> wanted) const {
    const std::vector<std::int64_t> shape = TRY(weights_.shape(name));
    if (shape != wanted) {
        return make_error(ErrorCode::corrupt, config_.name + ": tensor " + name + " has shape " +
                                                  shape_text(shape) + ", its config asks for " +
                                                  shape_text(wanted));
    }
    return {};
}

Result<std::vector<float>> Loader::read_vector(const std::string& name, std::int64_t width) {
    TRY(check_shape(name, {width}));
    std::vector<float> values(static_cast<std::size_t>(width));
    const std::int64_t start = now_ns();
    TRY(weights_.read_rows(name, 0, 1, values.data()));
    read_ns_ += now_ns() - start;
    if (!ops().all_finite(values.data(), width)) {
        return make_error(ErrorCode::invalid_numbers,
                          config_.name + ": tensor " + name + " holds NaN or infinity");
    }
    return values;
}

// The row of the joint matrix that becomes row `row` of the packed one.
std::int64_t Loader::source_row(const Joint& joint, std::int64_t row) const {
    if (joint.order == RowOrder::natural) {
        return row;
    }
    const std::int64_t run =
        joint.order == RowOrder::gate_up ? joint.out_features() : config_.head_dim;
    const std::int64_t inside = row % run;
    return row - inside + inside / 2 + inside % 2 * (run / 2);
}

Status Loader::read_joint(const Joint& joint, std::int64_t begin, std::int64_t end, float* dst) {
    std::int64_t first = 0;  // row of the joint matrix where this piece begins
    for (const Piece& piece : joint.pieces) {
        const std::int64_t from = std::max(begin, first) - first;
        const std::int64_t to = std::min(end, first + piece.out_features) - first;
        if (from < to) {
            TRY(weights_.read_rows(piece.name, from, to, dst));
            dst += (to - from) * joint.in_features;
        }
        first += piece.out_features;
    }
    return {};
}

Status Loader::read_ordered(const Joint& joint, std::int64_t begin, std::int64_t end, float* dst) {
    if (joint.order == RowOrder::natural) {
        return read_joint(joint, begin, end, dst);
    }
    for (std::int64_t row = begin; row < end; ++row, dst += joint.in_features) {
        const std::int64_t source = source_row(joint, row);
        TRY(read_joint(joint, source, source + 1, dst));
    }
    return {};
}

// What a calibrated source holds beside the weights (calibration/calibrated_weights.h).
Status Loader::add_calibration(const Joint& joint, DenseWeight& weight) {
    const std::string input = input_absmax_name(joint.pieces.front().name);
    if (weights_.contains(input)) {
        TRY(weights_.read_rows(input, 0, 1, &weight.input_absmax));
    }
    const std::string first = grid_name(joint.pieces.front().name);
    if (!weights_.contains(first)) {
        return {};
    }
    weight.grid_width = TRY(weights_.shape(first))[1];
    Joint grid = joint;
    grid.in_features = weight.grid_width;
    for (Piece& piece : grid.pieces) {
        piece.name = grid_name(piece.name);
        TRY(check_shape(piece.name, {piece.out_features, weight.grid_width}));
    }
    weight.grid = [this, grid](std::int64_t begin, std::int64_t end, float* dst) {
        return read_ordered(grid, begin, end, dst);
    };
    return {};
}

Result<std::unique_ptr<Linear>> Loader::pack(const Joint& joint, std::vector<float> bias,
                                             const MethodOptions& method) {
    DenseWeight weight;
    weight.name = joint.name;
    weight.in_features = joint.in_features;
    weight.out_features = joint.out_features();
    for (const Piece& piece : joint.pieces) {
        TRY(check_shape(piece.name, {piece.out_features, joint.in_features}));
    }
    weight.bias.resize(bias.size());
    for (std::size_t row = 0; row < bias.size(); ++row) {
        const std::int64_t source = source_row(joint, static_cast<std::int64_t>(row));
        weight.bias[row] = bias[static_cast<std::size_t>(source)];
    }
    TRY(add_calibration(joint, weight));
    const std::int64_t reading_before = read_ns_;
    weight.rows = [&](std::int64_t begin, std::int64_t end, float* dst) -> Status {
        const std::int64_t start = now_ns();
        std::unique_lock lock(reading_, std::try_to_lock);
        Status status;
        if (!lock.owns_lock()) {
            status = read_ordered(joint, begin, end, dst);
        } else {
            std::mutex failed;
            const auto body = [&](std::int64_t from, std::int64_t to) {
                Status part =
                    read_ordered(joint, begin + from, begin + to, dst + from * joint.in_features);
                if (!part.ok()) {
                    const std::lock_guard guard(failed);
                    status = std::move(part);
                }
            };
            const std::int64_t rows_per_share =
                std::max<std::int64_t>(1, values_per_share / joint.in_features);
            threads_.parallel_for(end - begin, rows_per_share, std::cref(body));
        }
        read_ns_ += now_ns() - start;
        return status;
    };
    const std::int64_t start = now_ns();
    auto packed = TRY(packer_(weight, method));
    pack_ns_ += now_ns() - start - (read_ns_ - reading_before);
    return packed;
}

Result<Projection> Loader::projection(const std::string& name, const std::string& prefix,
                                      std::vector<PartSpec> parts, std::int64_t in_features,
                                      Bias bias, RowOrder order) {
    Projection projection;
    projection.name = name;
    projection.in_features = in_features;
    projection.index = inputs_.size();
    inputs_.push_back({name, in_features});
    const MethodOptions method = TRY(method_of(name));
    const bool joined = joins_rows(method.method, in_features);
    const bool halves = order != RowOrder::head_halves || config_.head_dim % 2 == 0;
    projection.paired =
        options_.pair_rows == PairRows::yes && order != RowOrder::natural && joined && halves;
    Joint joint;
    joint.in_features = in_features;
    joint.order = projection.paired ? order : RowOrder::natural;
    std::vector<float> biases;
    for (const PartSpec& part : parts) {
        const std::string tensor = prefix + std::string(part.suffix);
        joint.name = joined ? name : tensor;
        joint.pieces.push_back({tensor + ".weight", part.out_features});
        projection.out_features += part.out_features;
        if (bias == Bias::yes) {
            const auto values = TRY(read_vector(tensor + ".bias", part.out_features));
            biases.insert(biases.end(), values.begin(), values.end());
        }
        const bool last = &part == &parts.back();
        if (!joined || last) {
            const std::int64_t rows = joint.out_features();
            auto packed = TRY(pack(joint, std::move(biases), method));
            projection.parts.push_back({std::move(packed), rows});
            joint.pieces.clear();
            biases.clear();
        }
    }
    return projection;
}

Result<Norm> Loader::norm(Norm::Kind kind, const std::string& name, std::int64_t vectors) {
    Norm norm;
    norm.kind = kind;
    norm.eps = config_.norm_eps;
    norm.width = config_.width;
    if (vectors == 0) {
        return norm;
    }
    const std::size_t bytes = static_cast<std::size_t>(config_.width) * sizeof(float);
    norm.buffer = TRY(backend_.allocate(bytes * static_cast<std::size_t>(vectors),
                                        MemoryCategory::other_weights));
    const auto weight = TRY(read_vector(name + ".weight", config_.width));
    TRY(backend_.copy_to_device(*norm.buffer, 0, weight.data(), bytes));
    if (vectors == 2) {
        const auto bias = TRY(read_vector(name + ".bias", config_.width));
        TRY(backend_.copy_to_device(*norm.buffer, bytes, bias.data(), bytes));
    }
    return norm;
}

Result<Norm> Loader::rms_norm(const std::string& name) {
    return norm(Norm::Kind::rms, name, 1);
}

Result<Norm> Loader::layer_norm(const std::string& name) {
    return norm(Norm::Kind::layer, name, config_.norm_affine ? 2 : 0);
}

Result<PositionTable> Loader::position_table(const std::string& name, std::int64_t rows,
                                             std::int64_t offset) {
    const MethodOptions method{head_method(options_.method, 16), 0, MemoryCategory::embeddings};
    PositionTable table;
    table.packed = TRY(pack(Joint{name, {{name, rows}}, config_.width}, {}, method));
    table.width = config_.width;
    table.offset = offset;
    table.row_bytes = table.packed->bytes_per_call() / static_cast<std::uint64_t>(rows);
    return table;
}

Result<Embeddings> Loader::embeddings(const std::string& token_table) {
    const MethodOptions method{head_method(options_.method, options_.head_bits), 0,
                               MemoryCategory::embeddings};
    const std::int64_t width = config_.embed_width;
    const std::string head = config_.tied_head ? token_table : "lm_head.weight";
    Embeddings made;
    made.head.name = "lm_head";
    made.head.out_features = config_.vocabulary;
    made.head.in_features = width;
    made.head.index = inputs_.size();
    inputs_.push_back({made.head.name, width});
    auto packed = TRY(pack(Joint{"lm_head", {{head, config_.vocabulary}}, width}, {}, method));
    made.tokens.width = width;
    made.tokens.packed = packed.get();
    made.head.parts.push_back({std::move(packed), config_.vocabulary});
    if (!config_.tied_head) {
        made.own_table =
            TRY(pack(Joint{token_table, {{token_table, config_.vocabulary}}, width}, {}, method));
        made.tokens.packed = made.own_table.get();
        made.row_bytes =
            made.own_table->bytes_per_call() / static_cast<std::uint64_t>(config_.vocabulary);
    }
    return made;
}

}  // namespace bitsweep
