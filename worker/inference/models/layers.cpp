#include "worker/inference/models/layers.h"

#include <algorithm>
#include <chrono>

namespace bitsweep {
namespace {

// Rows per share: fewer are not worth a hand-over (a row takes about 1 us, a hand-over 1-2 us).
constexpr std::int64_t rows_per_share = 4;

std::int64_t now_ns() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

}  // namespace

Status Projection::apply(const Pass& pass, const float* x, float* y, std::int64_t rows,
                         float* scratch) const {
    if (pass.outliers != nullptr) {
        (*pass.outliers)[index].add(x, rows);
    }
    if (pass.observer != nullptr) {
        (*pass.observer)(index, x, rows);
    }
    const std::int64_t start = pass.clock != nullptr ? now_ns() : 0;
    std::int64_t column = 0;
    for (const Part& part : parts) {
        // One row's outputs are contiguous even side by side with others.
        const bool direct = parts.size() == 1 || rows == 1;
        float* to = direct ? y + column : scratch;
        const LinearCall call{.x = x,
                              .y = to,
                              .rows = rows,
                              .threads = pass.threads,
                              .workspace = pass.workspace,
                              .outliers = nullptr};
        TRY(part.linear->forward(call));
        for (std::int64_t row = 0; !direct && row < rows; ++row) {
            std::copy_n(scratch + row * part.out_features, part.out_features,
                        y + row * out_features + column);
        }
        column += part.out_features;
    }
    if (pass.clock != nullptr) {
        pass.clock->layers[index].ns.push_back(now_ns() - start);
    }
    return {};
}

std::uint64_t Projection::bytes_per_call() const {
    std::uint64_t bytes = 0;
    for (const Part& part : parts) {
        bytes += part.linear->bytes_per_call();
    }
    return bytes;
}

void Norm::apply(const Pass& pass, const float* x, float* y, std::int64_t rows) const {
    const Ops& kernels = ops();
    const float* weight = buffer ? buffer->as<float>() : nullptr;
    const auto body = [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t row = begin; row < end; ++row) {
            const float* from = x + row * width;
            float* to = y + row * width;
            if (kind == Kind::rms) {
                kernels.rms_norm(from, weight, to, width, eps);
            } else {
                kernels.layer_norm(from, weight, weight ? weight + width : nullptr, to, width, eps);
            }
        }
    };
    if (rows == 1) {
        body(0, 1);
    } else {
        pass.threads.parallel_for(rows, rows_per_share, std::cref(body));
    }
}

void Table::look_up(const Pass& pass, const std::int32_t* ids, std::int64_t rows, float* y) const {
    const auto body = [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t row = begin; row < end; ++row) {
            packed->dequantize_rows(ids[row], ids[row] + 1, y + row * width);
        }
    };
    pass.threads.parallel_for(rows, rows_per_share, std::cref(body));
}

void Table::look_up_positions(const Pass& pass, const Chunk& chunk, std::int64_t offset,
                              float* y) const {
    const auto body = [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t row = begin; row < end; ++row) {
            const std::int64_t position = chunk.position + row % chunk.tokens + offset;
            packed->dequantize_rows(position, position + 1, y + row * width);
        }
    };
    pass.threads.parallel_for(chunk.rows(), rows_per_share, std::cref(body));
}

void add_rows(const Pass& pass, float* x, const float* y, std::int64_t rows, std::int64_t width) {
    const Ops& kernels = ops();
    const auto body = [&](std::int64_t begin, std::int64_t end) {
        kernels.add(x + begin * width, y + begin * width, (end - begin) * width);
    };
    if (rows == 1) {
        body(0, 1);
    } else {
        pass.threads.parallel_for(rows, rows_per_share, std::cref(body));
    }
}

void activate_rows(const Pass& pass, Activation activation, float* x, std::int64_t rows,
                   std::int64_t width) {
    const Ops& kernels = ops();
    const auto body = [&](std::int64_t begin, std::int64_t end) {
        kernels.activate(activation, x + begin * width, (end - begin) * width);
    };
    if (rows == 1) {
        body(0, 1);
    } else {
        pass.threads.parallel_for(rows, rows_per_share, std::cref(body));
    }
}

void gate_rows(const Pass& pass, Activation activation, const float* gate_up, float* y,
               std::int64_t rows, std::int64_t ffn) {
    const Ops& kernels = ops();
    const auto body = [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t row = begin; row < end; ++row) {
            const float* gate = gate_up + row * 2 * ffn;
            kernels.gated(activation, gate, gate + ffn, y + row * ffn, ffn);
        }
    };
    if (rows == 1) {
        body(0, 1);
    } else {
        pass.threads.parallel_for(rows, rows_per_share, std::cref(body));
    }
}

}  // namespace bitsweep
